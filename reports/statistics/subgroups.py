"""Scores of parts of a test set: each with its interval, the gap between them, one against the others.

The largest minus the smallest of several estimates is never negative, and is above 0 where all parts are
truly alike: chance alone opens a gap, and the more so the smaller and the more numerous the parts are. Two
things keep that honest here. The interval of the gap comes from simultaneous intervals of all pairs of parts
(Bonferroni): it holds the true gap, whichever two parts lie farthest apart, and begins at 0 where no pair
differs. Beside it stands the gap that chance alone would open on average.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .influence import _Floats
from .paired import ALPHA, PairedDifference, paired_difference

CHANCE_DRAWS = 2000
"""Of the gap by chance, from a fixed seed: its mean is then known to 2 %."""


@dataclass(frozen=True, eq=False)
class SubgroupScore:
    """A score on a part of the test set, or the difference of two inits on it.

    Attributes:
        values: one per seed [seeds].
        influence: [seeds, units] over the units of the whole test set, 0 outside of the part; two parts that
            share a unit, as a patient with images of both, are then correlated as they should be.
    """

    values: _Floats
    influence: _Floats

    def minus(self, other: "SubgroupScore") -> "SubgroupScore":
        """Return the difference of two parts or of two inits."""
        return SubgroupScore(self.values - other.values, self.influence - other.influence)

    def measured(self) -> PairedDifference:
        """Return the mean over seeds and its errors; units that have no share in it do not count."""
        used = self.influence.any(axis=0) | self.exact
        return paired_difference(self.values, self.influence[:, used])

    @property
    def exact(self) -> bool:
        """Whether no image has a share in it, as in a perfect score: then its error is not known."""
        return not self.influence.any()


@dataclass(frozen=True)
class SubgroupGap:
    """The largest minus the smallest of several scores.

    Attributes:
        size: as measured; above 0 even where there is no true gap.
        low: lower end of the simultaneous 95 % interval of the true gap; 0 where none is shown.
        high: its upper end.
        by_chance: mean gap that test images and seeds would open by chance if all parts were alike.
    """

    size: float
    low: float
    high: float
    by_chance: float


def measure_gap(parts: Sequence[SubgroupScore], alpha: float = ALPHA) -> SubgroupGap:
    """Measure the gap between parts, at least two; with one seed only its size is known."""
    means = np.array([part.values.mean() for part in parts])
    size = float(np.ptp(means))
    if len(parts[0].values) < 2:
        return SubgroupGap(size, math.nan, math.nan, math.nan)
    pairs = [a.minus(b).measured() for a, b in itertools.combinations(parts, 2)]
    reaches = [(abs(pair.difference), pair.half_width(alpha / len(pairs))) for pair in pairs]
    low = max(0.0, *(distance - reach for distance, reach in reaches))
    high = max(distance + reach for distance, reach in reaches)
    return SubgroupGap(size, low, min(high, 1.0), gap_by_chance(parts))


def gap_by_chance(parts: Sequence[SubgroupScore]) -> float:
    """Return the mean gap of so many parts with these errors and no true difference between them."""
    values = np.stack([part.values for part in parts])
    images = np.stack([part.influence.mean(axis=0) for part in parts])
    covariance = images @ images.T + np.atleast_2d(np.cov(values)) / values.shape[1]
    size, direction = np.linalg.eigh(covariance)
    normal = np.random.default_rng(0).standard_normal((CHANCE_DRAWS, len(parts)))
    return float(np.ptp(normal @ (direction * np.sqrt(np.clip(size, 0, None))).T, axis=1).mean())


def against_the_others(parts: Sequence[SubgroupScore]) -> list[SubgroupScore]:
    """Return of each part its distance to the mean of the others; of two parts that is their difference."""
    values, influence = np.stack([p.values for p in parts]), np.stack([p.influence for p in parts])
    count = len(parts)

    def other(of: _Floats, place: int) -> _Floats:
        return (of.sum(axis=0) - of[place]) / (count - 1)

    return [
        SubgroupScore(part.values - other(values, place), part.influence - other(influence, place))
        for place, part in enumerate(parts)
    ]
