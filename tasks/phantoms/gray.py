"""Gray phantoms: chest radiographs with or without a nodule, abdominal CT crops by organ."""

import numpy as np

from .canvas import Canvas, Plane, SeededDraws, blend


def draw_chest(canvas: Canvas, patient: SeededDraws, dice: SeededDraws, label: int) -> Plane:
    """Draw a chest radiograph of about 0 to 1; label 1 has a nodule, often faint or over a rib.

    `patient` draws the anatomy, equal in all images of one patient; `dice` all else.
    """
    dx, dy = dice.between(-0.06, 0.06), dice.between(-0.06, 0.06)
    wide = patient.between(0.9, 1.08)
    air = patient.between(0.24, 0.34)
    picture = 0.1 + 0.5 * canvas.disc(dx, dy + 0.35, 0.98 * wide, 1.3)
    lungs = []
    for side in (-1, 1):
        cx, cy = dx + side * 0.42 * wide, dy + patient.between(-0.12, 0.02)
        rx, ry = patient.between(0.25, 0.31) * wide, patient.between(0.52, 0.64)
        lungs.append((cx, cy, rx, ry))
        picture = blend(picture, air, canvas.disc(cx, cy, rx, ry, side * patient.between(0.04, 0.14)))
    picture = _mediastinum(canvas, patient, picture, dx, dy)
    picture = _ribs_and_vessels(canvas, patient, dice, picture, lungs)
    cx, cy, rx, ry = lungs[dice.count(0, 1)]
    angle, far = dice.between(0, 2 * np.pi), dice.between(0.0, 0.72) ** 0.5
    x, y = cx + rx * far * np.cos(angle), cy + ry * far * np.sin(angle)
    if label:
        size, density = dice.between(0.1, 0.2), dice.between(0.12, 0.4)
        picture += density * canvas.disc(x, y, size, size * dice.between(0.8, 1.0), dice.between(0, 3))
    elif dice.chance(0.4):  # a scar: as dense, but drawn out
        slant, length = dice.between(0, np.pi), dice.between(0.12, 0.25)
        ends = (x - length * np.cos(slant), y - length * np.sin(slant))
        picture += dice.between(0.07, 0.25) * canvas.line(x, y, *ends, dice.between(0.03, 0.05))
    if dice.chance(0.3):  # a lead of the electrocardiogram
        picture += 0.18 * canvas.line(dice.between(-1, 1), -1, dice.between(-1, 1), 1, 0.012)
    return picture


def _mediastinum(canvas: Canvas, patient: SeededDraws, picture: Plane, dx: float, dy: float) -> Plane:
    white = patient.between(0.62, 0.72)
    picture = blend(picture, white - 0.06, canvas.disc(dx, dy, patient.between(0.1, 0.15), 1.2))
    heart = patient.between(0.24, 0.36)
    picture = blend(picture, white, canvas.disc(dx + 0.13, dy + 0.3, heart, heart * 0.95, 0.6))
    for side in (-1, 1):
        picture = blend(
            picture, white + 0.02, canvas.disc(dx + side * 0.45, dy + patient.between(0.82, 0.95), 0.46, 0.34)
        )
        picture += 0.1 * canvas.line(dx + side * 0.08, dy - 0.6, dx + side * 0.8, dy - 0.74, 0.035)
    return picture


def _ribs_and_vessels(
    canvas: Canvas,
    patient: SeededDraws,
    dice: SeededDraws,
    picture: Plane,
    lungs: list[tuple[float, float, float, float]],
) -> Plane:
    visible = patient.between(0.04, 0.1)
    for cx, cy, rx, ry in lungs:
        for rib in range(5):
            y = cy - ry * 0.9 + rib * ry * 0.42
            arc = canvas.ring(cx, y + 0.1, rx * 1.3, 0.2, 0.022)
            picture = picture + visible * arc * (canvas.y < y + 0.1)
        for _ in range(4):
            out = dice.between(-1.2, 1.2)
            reach = rx * dice.between(0.5, 1.3)
            root = cx - np.sign(cx) * rx * 0.9
            tip = (root + np.sign(cx) * reach * np.cos(out), cy + 0.05 + reach * 1.3 * np.sin(out))
            picture = picture + dice.between(0.04, 0.12) * canvas.line(root, cy + 0.05, *tip, 0.02)
        if dice.chance(0.5):  # a vessel seen end-on: a dot smaller than a nodule
            x, y = cx + dice.between(-0.6, 0.6) * rx, cy + dice.between(-0.6, 0.6) * ry
            picture = picture + dice.between(0.08, 0.2) * canvas.disc(x, y, dice.between(0.025, 0.045))
    return picture


ORGANS = ("bladder", "kidney", "liver", "pancreas", "spleen")


def draw_organ(canvas: Canvas, patient: SeededDraws, dice: SeededDraws, label: int) -> Plane:
    """Draw a CT crop of about 0 to 1 of organ `label` of `ORGANS`, among fat, bowel and bone."""
    fat, soft = patient.between(0.2, 0.32), patient.between(0.5, 0.62)
    x, y, turn = dice.between(-0.25, 0.25), dice.between(-0.25, 0.25), dice.between(-np.pi, np.pi)
    size = dice.between(0.8, 1.15)
    picture = fat + 0.03 * canvas.waves(dice, 8, 1, 4)
    picture = _neighbors(canvas, dice, picture, soft)
    tone = soft + dice.between(-0.08, 0.08)
    draw = (_bladder, _kidney, _liver, _pancreas, _spleen)[label]
    return draw(canvas, dice, picture, (x, y, turn, size * 0.9), tone)


OrganPose = tuple[float, float, float, float]
"""Center x and y, rotation in radians, size."""


def _neighbors(canvas: Canvas, dice: SeededDraws, picture: Plane, soft: float) -> Plane:
    for _ in range(dice.count(3, 5)):  # loops of bowel and muscle at the edge of the crop
        around = dice.between(0, 2 * np.pi)
        far = dice.between(0.75, 1.1)
        place = (far * np.cos(around), far * np.sin(around))
        radii = (dice.between(0.2, 0.45), dice.between(0.15, 0.35))
        picture = blend(picture, soft + dice.between(-0.1, 0.08), canvas.disc(*place, *radii, around))
        if dice.chance(0.3):
            picture = blend(picture, 0.05, canvas.disc(*place, radii[0] * 0.4, radii[1] * 0.5, around))
    if dice.chance(0.45):  # a vertebra or a rib
        around = dice.between(0, 2 * np.pi)
        place = (np.cos(around) * 0.9, np.sin(around) * 0.9)
        picture = blend(
            picture, 0.92, canvas.disc(*place, dice.between(0.12, 0.3), dice.between(0.08, 0.2), around)
        )
    return picture


def _bladder(canvas: Canvas, dice: SeededDraws, picture: Plane, pose: OrganPose, tone: float) -> Plane:
    x, y, turn, size = pose
    radii = (size * dice.between(0.45, 0.62), size * dice.between(0.36, 0.55))
    picture = blend(picture, tone, canvas.disc(x, y, radii[0] + 0.06, radii[1] + 0.06, turn))
    return blend(picture, tone - dice.between(0.02, 0.16), canvas.disc(x, y, *radii, turn))


def _kidney(canvas: Canvas, dice: SeededDraws, picture: Plane, pose: OrganPose, tone: float) -> Plane:
    x, y, turn, size = pose
    long, short = size * dice.between(0.5, 0.62), size * dice.between(0.34, 0.44)
    side = dice.sign()
    picture = blend(picture, tone + dice.between(0.0, 0.14), canvas.disc(x, y, short, long, turn))
    sinus = (x + side * short * 0.6 * np.cos(turn), y + side * short * 0.6 * np.sin(turn))
    return blend(picture, tone - dice.between(0.06, 0.25), canvas.disc(*sinus, short * 0.5, long * 0.4, turn))


def _liver(canvas: Canvas, dice: SeededDraws, picture: Plane, pose: OrganPose, tone: float) -> Plane:
    x, y, turn, size = pose
    right = canvas.disc(x - 0.25 * size, y, size * 0.6, size * dice.between(0.55, 0.7), turn)
    left = canvas.disc(x + 0.35 * size, y - 0.2 * size, size * 0.5, size * dice.between(0.25, 0.38), turn)
    picture = blend(picture, tone + dice.between(-0.02, 0.1), np.maximum(right, left))
    for _ in range(dice.count(1, 4)):
        branch = (x + dice.between(-0.6, 0.3) * size, y + dice.between(-0.4, 0.4) * size)
        picture += dice.between(-0.02, 0.1) * canvas.line(x, y, *branch, 0.03)
    return picture


def _pancreas(canvas: Canvas, dice: SeededDraws, picture: Plane, pose: OrganPose, tone: float) -> Plane:
    x, y, turn, size = pose
    cover = np.zeros_like(picture)
    for step in np.linspace(-1, 1, 7):  # lobules along a bent tube
        along = 0.6 * size * step
        across = 0.22 * size * (step * step - 0.4) + dice.between(-0.05, 0.05)
        place = (
            x + along * np.cos(turn) - across * np.sin(turn),
            y + along * np.sin(turn) + across * np.cos(turn),
        )
        cover = np.maximum(cover, canvas.disc(*place, size * dice.between(0.13, 0.22)))
    return blend(picture, tone + dice.between(-0.06, 0.06), cover)


def _spleen(canvas: Canvas, dice: SeededDraws, picture: Plane, pose: OrganPose, tone: float) -> Plane:
    x, y, turn, size = pose
    long, short = size * dice.between(0.55, 0.72), size * dice.between(0.36, 0.46)
    side = dice.sign()
    outer = canvas.disc(x, y, short, long, turn)
    bite = canvas.disc(
        x + side * short * 0.9 * np.cos(turn), y + side * short * 0.9 * np.sin(turn), short * 0.75, long
    )
    return blend(picture, tone + dice.between(-0.02, 0.1), outer * (1 - dice.between(0.5, 1.0) * bite))
