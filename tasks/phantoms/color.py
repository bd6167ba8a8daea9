"""Color phantoms: stained tissue by type, fundus photographs by grade of retinopathy."""

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Plane, SeededDraws, blend

RgbImage = NDArray[np.float64]
"""[size, size, 3], red, green and blue of about 0 to 1."""

TISSUES = ("lymphoid tissue", "stroma", "smooth muscle", "gland", "carcinoma")
_HAEMATOXYLIN, _EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
"""Optical densities of the two dyes in red, green and blue (Ruifrok and Johnston 2001)."""


def draw_tissue(canvas: Canvas, patient: SeededDraws, dice: SeededDraws, label: int) -> RgbImage:
    """Draw a stained section of tissue `label` of `TISSUES`, often beside another tissue."""
    nuclei, fibers = _texture(canvas, dice, label)
    if dice.chance(0.85):
        other = (label + dice.count(1, len(TISSUES) - 1)) % len(TISSUES)
        around, far = dice.between(0, 2 * np.pi), dice.between(0.6, 1.0)
        cover = canvas.disc(far * np.cos(around), far * np.sin(around), far - dice.between(-0.15, 0.2))
        beside = _texture(canvas, dice, other)
        nuclei, fibers = blend(nuclei, beside[0], cover), blend(fibers, beside[1], cover)
    dyes = (patient.between(0.5, 1.4), patient.between(0.5, 1.4))
    density = (
        nuclei[..., None] * (_HAEMATOXYLIN * dyes[0])
        + fibers[..., None] * (_EOSIN * dyes[1])
        + patient.between(0, 0.12) * np.array([0.2, 0.5, 0.3])
    )
    return np.exp(-density)


def _texture(canvas: Canvas, dice: SeededDraws, label: int) -> tuple[Plane, Plane]:
    """Return the amounts of haematoxylin and of eosin, [size, size] each."""
    draw = (_lymphoid, _stroma, _muscle, _gland, _carcinoma)[label]
    nuclei = np.zeros((canvas.size, canvas.size))
    fibers = draw(canvas, dice, nuclei)
    return np.clip(nuclei, 0, 2.2), np.clip(fibers, 0, 1.5)


def _anywhere(dice: SeededDraws) -> tuple[float, float]:
    return dice.between(-1, 1), dice.between(-1, 1)


def _lymphoid(canvas: Canvas, dice: SeededDraws, nuclei: Plane) -> Plane:
    for _ in range(dice.count(30, 80)):
        canvas.dab(nuclei, dice.between(0.8, 1.4), _anywhere(dice), dice.between(0.05, 0.085))
    return 0.22 + 0.05 * canvas.waves(dice, 6, 1, 4)


def _bands(canvas: Canvas, dice: SeededDraws, along: float, frequency: float, bend: float) -> Plane:
    """Return stripes that run in direction `along` (radians), with random curvature `bend`.

    A cosine of amplitude at most 1.
    """
    across = canvas.y * np.cos(along) - canvas.x * np.sin(along)
    wander = bend * canvas.waves(dice, 4, 0.4, 1.5)
    fade = np.exp(-0.25 * (frequency * np.pi * canvas.edge) ** 2)
    return fade * np.cos(frequency * np.pi * (across + wander))


def _spindles(
    canvas: Canvas, dice: SeededDraws, nuclei: Plane, count: int, along: float, spread: float
) -> None:
    for _ in range(count):
        angle = along + dice.between(-spread, spread)
        canvas.dab(nuclei, dice.between(0.7, 1.3), _anywhere(dice), dice.between(0.08, 0.15), 0.04, angle)


def _stroma(canvas: Canvas, dice: SeededDraws, nuclei: Plane) -> Plane:
    along = dice.between(0, np.pi)
    _spindles(canvas, dice, nuclei, dice.count(8, 20), along, 0.7)
    return 0.36 + 0.2 * _bands(canvas, dice, along, dice.between(2.5, 5), dice.between(0.08, 0.25))


def _muscle(canvas: Canvas, dice: SeededDraws, nuclei: Plane) -> Plane:
    along = dice.between(0, np.pi)
    _spindles(canvas, dice, nuclei, dice.count(12, 26), along, 0.2)
    return 0.46 + 0.15 * _bands(canvas, dice, along, dice.between(3, 6.5), dice.between(0.02, 0.12))


def _gland(canvas: Canvas, dice: SeededDraws, nuclei: Plane) -> Plane:
    fibers = 0.32 + 0.1 * canvas.waves(dice, 6, 1, 5)
    for _ in range(dice.count(2, 4)):
        x, y = _anywhere(dice)
        radius = dice.between(0.28, 0.45)
        fibers = blend(fibers, 0.42, canvas.disc(x, y, radius * 1.15))
        fibers = blend(fibers, 0.04, canvas.disc(x, y, radius * dice.between(0.3, 0.65)))
        steps = dice.count(10, 16)
        for step in range(steps):  # a row of nuclei at the outer edge
            turn = 2 * np.pi * step / steps + dice.between(-0.1, 0.1)
            place = (x + radius * np.cos(turn), y + radius * np.sin(turn))
            canvas.dab(nuclei, dice.between(0.7, 1.3), place, dice.between(0.06, 0.09), 0.045, turn)
    return fibers


def _carcinoma(canvas: Canvas, dice: SeededDraws, nuclei: Plane) -> Plane:
    for _ in range(dice.count(24, 44)):
        long = dice.between(0.065, 0.13)
        shape = (long, long * dice.between(0.55, 1.0), dice.between(0, 3))
        canvas.dab(nuclei, dice.between(0.4, 1.3), _anywhere(dice), *shape)
    return 0.36 + 0.1 * canvas.waves(dice, 6, 1, 4)


def draw_fundus(canvas: Canvas, patient: SeededDraws, dice: SeededDraws, label: int) -> RgbImage:
    """Draw a fundus photograph.

    Grade 0 none, 1 microaneurysms, 2 and 3 increasing haemorrhages and exudates, 4 also new vessels or a
    vitreous bleeding; lesion counts of neighboring grades overlap.
    """
    side = dice.sign()
    x, y = dice.between(-0.08, 0.08), dice.between(-0.08, 0.08)
    edge = canvas.disc(x * 0.5, y * 0.5, dice.between(0.92, 1.06))
    tint = np.array([patient.between(0.6, 0.85), patient.between(0.28, 0.42), patient.between(0.08, 0.2)])
    light = 1 + dice.between(-0.2, 0.2) * canvas.x + dice.between(-0.2, 0.2) * canvas.y
    light = light + 0.04 * canvas.waves(patient, 8, 0.5, 3)
    eye = (x + side * dice.between(0.42, 0.52), y + dice.between(-0.08, 0.08))  # the optic disc
    fovea = (x - side * 0.12, eye[1] + 0.04)
    light = light - 0.28 * canvas.glow(*fovea, patient.between(0.13, 0.2))
    blood = _vessels(canvas, patient, eye, fovea, side)
    pale = np.zeros((canvas.size, canvas.size))
    _lesions(canvas, dice, blood, pale, label, eye)
    picture = tint * np.maximum(light, 0.2)[..., None]
    disc = canvas.disc(*eye, patient.between(0.12, 0.16), patient.between(0.14, 0.18))
    picture = picture + disc[..., None] * (np.array([0.95, 0.8, 0.5]) - picture)
    picture = picture * np.exp(-np.clip(blood, 0, 1.6)[..., None] * np.array([0.35, 0.9, 0.7]))
    picture = picture + np.clip(pale, 0, 1)[..., None] * (np.array([0.95, 0.88, 0.5]) - picture)
    return picture * edge[..., None]


def _vessels(
    canvas: Canvas, patient: SeededDraws, eye: tuple[float, float], fovea: tuple[float, float], side: int
) -> Plane:
    """Return the amount of blood: arcades from the disc around the fovea, and straight branches."""
    blood = np.zeros((canvas.size, canvas.size))
    distance = np.abs(eye[0] - fovea[0])
    thin = np.clip(1.2 - 0.95 * np.abs(canvas.x - eye[0]), 0, 1)
    for height, width in ((patient.between(0.5, 0.62), 0.028), (patient.between(0.75, 0.95), 0.018)):
        blood += 0.7 * thin * canvas.ring(*fovea, distance, height, width)
    for _ in range(patient.count(4, 7)):
        turn = patient.between(-1.3, 1.3) + (0 if side > 0 else np.pi)
        length = patient.between(0.3, 0.6)
        tip = (eye[0] + length * np.cos(turn), eye[1] + length * np.sin(turn) * 1.5)
        blood = np.maximum(blood, 0.4 * canvas.line(*eye, *tip, 0.014))
    return blood


_COUNTS = {
    "dots": ((0, 0), (2, 6), (4, 10), (8, 16), (6, 14)),
    "blots": ((0, 0), (0, 0), (1, 4), (4, 10), (3, 9)),
    "exudates": ((0, 0), (0, 0), (0, 5), (2, 9), (2, 9)),
}
"""Fewest and most lesions of a kind, by grade."""


def _lesions(
    canvas: Canvas, dice: SeededDraws, blood: Plane, pale: Plane, grade: int, eye: tuple[float, float]
) -> None:
    """Add dark and bright lesions in place."""

    def spot() -> tuple[float, float]:
        around, far = dice.between(0, 2 * np.pi), dice.between(0.05, 0.75) ** 0.5 * 0.95
        return far * np.cos(around), far * np.sin(around)

    for _ in range(dice.count(*_COUNTS["dots"][grade])):
        canvas.dab(blood, dice.between(0.4, 0.9), spot(), dice.between(0.02, 0.035))
    for _ in range(dice.count(*_COUNTS["blots"][grade])):
        canvas.dab(blood, dice.between(0.5, 1.0), spot(), dice.between(0.05, 0.1), dice.between(0.04, 0.07))
    for _ in range(dice.count(*_COUNTS["exudates"][grade])):
        canvas.dab(pale, dice.between(0.3, 0.8), spot(), dice.between(0.025, 0.055))
    if grade == 4 and dice.chance(0.6):  # a bleeding into the vitreous
        canvas.dab(
            blood, dice.between(0.4, 1.0), spot(), dice.between(0.2, 0.4), dice.between(0.12, 0.25), 0.3
        )
    elif grade == 4:  # a tuft of new vessels at the disc
        for _ in range(dice.count(8, 14)):
            turn, length = dice.between(0, 2 * np.pi), dice.between(0.15, 0.35)
            blood += 0.5 * canvas.line(
                *eye, eye[0] + length * np.cos(turn), eye[1] + length * np.sin(turn), 0.014
            )
    for _ in range(dice.count(0, 2)):  # drusen and dust, in every grade
        canvas.dab(pale, dice.between(0.15, 0.4), spot(), dice.between(0.02, 0.035))
