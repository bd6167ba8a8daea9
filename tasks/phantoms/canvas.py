"""Drawing of soft shapes in continuous coordinates, with reproducible random draws.

Only IEEE arithmetic, a few elementary functions and uniform draws are used (no BLAS and no other distribution
of numpy, whose streams may change between versions), so that every machine draws the same images.
"""

import math

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
"""[size, size], one value per pixel."""

Point = tuple[float, float]
"""x and y."""


class SeededDraws:
    """Reproducible draws, one stream (key) per patient and per image: images are independent."""

    def __init__(self, *key: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def between(self, low: float, high: float) -> float:
        """Draw uniformly from [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.between(0, 1) < probability

    def count(self, low: int, high: int) -> int:
        """Draw a whole number from low to high, both included."""
        return int(self.between(low, high + 1))

    def sign(self) -> int:
        """Return -1 or 1."""
        return 1 if self.chance(0.5) else -1

    def order(self, n: int) -> NDArray[np.int64]:
        """Return a permutation of 0 .. n-1."""
        return np.argsort(self._generator.random(n), kind="stable")

    def noise(self, *shape: int) -> NDArray[np.float64]:
        """Draw nearly normal values of mean 0 and variance 1: sums of four uniform draws."""
        return (self._generator.random((4, *shape)).sum(axis=0) - 2) * 3**0.5


class Canvas:
    """A square from -1 to 1 in x (rightwards) and y (downwards), sampled at `size` pixels.

    Args:
        size: side in pixels.
        blur: half width of every edge; at least half a pixel, so that small shapes fade rather than flicker
            between sizes.
    """

    def __init__(self, size: int, blur: float = 0.0) -> None:
        self.size = size
        ticks = (np.arange(size) + 0.5) / size * 2 - 1
        self.x, self.y = ticks[None, :], ticks[:, None]
        self.edge = max(blur, 1 / size)

    def disc(self, cx: float, cy: float, rx: float, ry: float | None = None, angle: float = 0.0) -> Plane:
        """Cover an ellipse: 1 inside, 0 outside, below 1 everywhere if thinner than the blur."""
        ry = rx if ry is None else ry
        return self._cover(self.radius(cx, cy, rx, ry, angle), min(rx, ry))

    def radius(self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Plane:
        """Return the distance from a center in units of an ellipse's radii: 1 on its outline."""
        return _radius(self.x - cx, self.y - cy, rx, ry, angle)

    def ring(self, cx: float, cy: float, rx: float, ry: float, width: float, angle: float = 0.0) -> Plane:
        """Cover the outline of an ellipse with a line of half width `width`."""
        away = np.abs(self.radius(cx, cy, rx, ry, angle) - 1) * min(rx, ry)
        return self._stroke(away, width)

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float) -> Plane:
        """Cover the segment between two points with a line of half width `width`."""
        dx, dy = x1 - x0, y1 - y0
        along = ((self.x - x0) * dx + (self.y - y0) * dy) / max(dx * dx + dy * dy, 1e-12)
        along = np.clip(along, 0, 1)
        away = np.sqrt((self.x - x0 - along * dx) ** 2 + (self.y - y0 - along * dy) ** 2)
        return self._stroke(away, width)

    def glow(self, cx: float, cy: float, rx: float, ry: float | None = None, angle: float = 0.0) -> Plane:
        """Return a Gaussian of height 1 with these standard deviations."""
        blurred = [(r**2 + self.edge**2) ** 0.5 for r in (rx, rx if ry is None else ry)]
        return np.exp(-0.5 * self.radius(cx, cy, blurred[0], blurred[1], angle) ** 2)

    def dab(
        self, picture: Plane, amount: float, place: Point, rx: float, ry: float = 0.0, angle: float = 0.0
    ) -> None:
        """Add `amount` times a small disc (round if `ry` is 0) in place, from nearby pixels only."""
        cx, cy = place
        ry = ry or rx
        reach = max(rx, ry) + 4 * self.edge
        left, right, top, bottom = (
            min(max(int((end + 1) / 2 * self.size + 0.5), 0), self.size)
            for end in (cx - reach, cx + reach, cy - reach, cy + reach)
        )
        radius = _radius(self.x[:, left:right] - cx, self.y[top:bottom] - cy, rx, ry, angle)
        picture[top:bottom, left:right] += amount * self._cover(radius, min(rx, ry))

    def waves(self, dice: SeededDraws, waves: int, low: float, high: float) -> Plane:
        """Return a smooth random pattern of about unit variance, `low` to `high` periods per side."""
        pattern = np.zeros((self.size, self.size))
        for _ in range(waves):
            direction, phase = dice.between(0, 2 * np.pi), dice.between(0, 2 * np.pi)
            frequency = dice.between(low, high) * np.pi
            # a pixel averages over its width, and blur over more: fine waves fade
            fade = np.exp(-0.25 * (frequency * self.edge) ** 2)
            where = self.x * np.cos(direction) + self.y * np.sin(direction)
            pattern += fade * np.cos(frequency * where + phase)
        return pattern * (2 / waves) ** 0.5

    def _cover(self, radius: Plane, thin: float) -> Plane:
        unit = thin / self.edge
        return (np.tanh((1 - radius) * unit) + np.tanh((1 + radius) * unit)) / 2

    def _stroke(self, away: Plane, width: float) -> Plane:
        return (np.tanh((width - away) / self.edge) + np.tanh((width + away) / self.edge)) / 2


def _radius(x: Plane, y: Plane, rx: float, ry: float, angle: float) -> Plane:
    cos, sin = math.cos(angle), math.sin(angle)
    u, v = x * (cos / rx) + y * (sin / rx), y * (cos / ry) - x * (sin / ry)
    return np.sqrt(u * u + v * v)


def blend(below: Plane, above: Plane | float, cover: Plane) -> Plane:
    """Replace `below` by `above` where `cover` is 1."""
    return below + (above - below) * cover


def to_uint8_image(
    picture: NDArray[np.float64], dice: SeededDraws, noise: float, gain: float = 1.0, lift: float = 0.0
):
    """Convert [size, size(, 3)] from 0 to 1 to uint8, with contrast, brightness and noise.

    `noise` is a standard deviation, drawn last, since it alone depends on the size.
    """
    values = (picture - 0.5) * gain + 0.5 + lift + noise * dice.noise(*picture.shape)
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
