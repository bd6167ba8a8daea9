"""Gray multilabel phantoms: axial head slices with any number of findings."""

from collections.abc import Sequence

import numpy as np

from .canvas import Canvas, Plane, SeededDraws, blend

FINDINGS = ("haemorrhage", "infarct", "mass", "hydrocephalus")


def draw_head(canvas: Canvas, patient: SeededDraws, dice: SeededDraws, labels: Sequence[int]) -> Plane:
    """Draw a head CT slice of about 0 to 1; `labels` are one 0 or 1 per finding of `FINDINGS`."""
    bleed, infarct, mass, wide = labels
    x, y, tilt = dice.between(-0.05, 0.05), dice.between(-0.05, 0.05), dice.between(-0.2, 0.2)
    rx, ry = patient.between(0.66, 0.76), patient.between(0.78, 0.9)
    brain = patient.between(0.42, 0.52)
    thick = patient.between(0.05, 0.09)
    picture = 0.03 + 0.22 * canvas.disc(x, y, rx + 0.06, ry + 0.06, tilt)
    picture = blend(picture, patient.between(0.85, 0.98), canvas.disc(x, y, rx, ry, tilt))
    inside = canvas.disc(x, y, rx - thick, ry - thick, tilt)
    folds = 0.025 * canvas.waves(patient, 14, 3, 7)
    picture = blend(picture, brain + folds, inside)
    pose = (x, y, tilt)
    shift = dice.sign() * dice.between(0.02, 0.1) if mass else 0.0
    picture = _midline(canvas, patient, picture, pose, ry - thick, shift)
    picture = _ventricles(canvas, dice, picture, pose, wide, shift)
    reach = (rx - thick, ry - thick)
    if infarct:
        picture = _infarct(canvas, dice, picture, pose, reach, inside)
    if mass:
        spot = _somewhere(dice, pose, reach, 0.35, 0.65)
        picture = _mass(canvas, dice, picture, brain, spot, inside)
    if bleed:
        picture = _bleed(canvas, dice, picture, pose, reach, inside)
    if dice.chance(0.35):  # an incidental calcification
        spot = _somewhere(dice, pose, reach, 0.0, 0.6)
        picture += dice.between(0.15, 0.35) * canvas.disc(*spot, dice.between(0.02, 0.045)) * inside
    return picture


HeadPose = tuple[float, float, float]
"""Center x and y, rotation in radians."""


def _at(pose: HeadPose, u: float, v: float) -> tuple[float, float]:
    """Convert head coordinates (u rightwards, v downwards) to canvas coordinates."""
    x, y, tilt = pose
    return x + u * np.cos(tilt) - v * np.sin(tilt), y + u * np.sin(tilt) + v * np.cos(tilt)


def _somewhere(
    dice: SeededDraws, pose: HeadPose, reach: tuple[float, float], near: float, far: float
) -> tuple[float, float]:
    around, out = dice.between(0, 2 * np.pi), dice.between(near, far)
    return _at(pose, out * reach[0] * np.cos(around), out * reach[1] * np.sin(around))


def _midline(
    canvas: Canvas, patient: SeededDraws, picture: Plane, pose: HeadPose, long: float, shift: float
) -> Plane:
    faint = patient.between(0.04, 0.12)
    for end in (-1, 1):
        picture = picture + faint * canvas.line(
            *_at(pose, 0, end * long), *_at(pose, shift, end * 0.3), 0.012
        )
    return picture


def _ventricles(
    canvas: Canvas, dice: SeededDraws, picture: Plane, pose: HeadPose, wide: int, shift: float
) -> Plane:
    """Draw the pair of horns; the widths of healthy and wide ones overlap."""
    width = dice.between(0.085, 0.16) if wide else dice.between(0.04, 0.11)
    length = dice.between(0.22, 0.32) + (0.03 if wide else 0)
    for side in (-1, 1):
        for end in (-1, 1):
            place = _at(pose, side * (0.06 + width * 0.9) + shift, end * length * 0.55)
            cover = canvas.disc(*place, width, length * 0.62, pose[2] - side * end * 0.35)
            picture = blend(picture, 0.17, cover)
    return picture


def _infarct(
    canvas: Canvas,
    dice: SeededDraws,
    picture: Plane,
    pose: HeadPose,
    reach: tuple[float, float],
    inside: Plane,
) -> Plane:
    """Darken a wedge of one hemisphere that reaches the surface."""
    around = dice.between(-0.9, 0.9) + (np.pi if dice.chance(0.5) else 0)
    tip = _at(pose, 0.45 * reach[0] * np.cos(around), 0.45 * reach[1] * np.sin(around))
    base = _at(pose, 0.95 * reach[0] * np.cos(around), 0.95 * reach[1] * np.sin(around))
    cover = np.maximum(
        canvas.disc(*base, dice.between(0.26, 0.4)), canvas.line(*tip, *base, dice.between(0.1, 0.16))
    )
    return picture - dice.between(0.12, 0.3) * cover * inside


def _mass(
    canvas: Canvas, dice: SeededDraws, picture: Plane, brain: float, spot: tuple[float, float], inside: Plane
) -> Plane:
    """Draw a bright ring in a dark halo."""
    size = dice.between(0.12, 0.2)
    picture = blend(picture, brain - dice.between(0.04, 0.14), canvas.glow(*spot, size * 1.3) * inside)
    white = dice.between(0.1, 0.28)
    return picture + white * canvas.ring(*spot, size, size * 0.85, 0.035, dice.between(0, 3)) * inside


def _bleed(
    canvas: Canvas,
    dice: SeededDraws,
    picture: Plane,
    pose: HeadPose,
    reach: tuple[float, float],
    inside: Plane,
) -> Plane:
    """Brighten a sickle under the skull or a blot in the brain."""
    white = dice.between(0.16, 0.45)
    if dice.chance(0.5):
        around = dice.between(0, 2 * np.pi)
        u, v = reach[0] * np.cos(around), reach[1] * np.sin(around)
        patch = canvas.disc(*_at(pose, u, v), dice.between(0.3, 0.45))
        hollow = canvas.disc(*_at(pose, 0, 0), reach[0] - dice.between(0.1, 0.2), reach[1] - 0.14, pose[2])
        return picture + white * patch * (1 - hollow) * inside
    spot = _somewhere(dice, pose, reach, 0.25, 0.65)
    blot = canvas.disc(*spot, dice.between(0.13, 0.22), dice.between(0.1, 0.16), dice.between(0, 3))
    return picture + white * blot * inside
