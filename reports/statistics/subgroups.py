"""Scores of the parts of a test set: intervals, gap between them, contrast with the others.

The largest minus the smallest of several estimates is above 0 even where all parts are truly equal, the more
so the smaller and the more numerous the parts. Therefore the interval of the gap comes from simultaneous
intervals of all pairs of parts (Bonferroni), so that it covers the true gap whichever two parts lie farthest
apart and begins at 0 where no pair differs; and the mean gap by chance is given beside it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .influence import _Floats
from .paired import ALPHA, OVERLAP_FACTOR, PairedDifference, paired_difference

CHANCE_DRAWS = 2000
"""Draws for the mean gap by chance, which is then known to 2 %; from a fixed seed."""


@dataclass(frozen=True, eq=False)
class SubgroupScore:
    """A score on a part of the test set, or the difference of two inits on it.

    Attributes:
        values: one per seed [seeds].
        influence: [seeds, units] over the units of the whole test set, 0 outside of the part, so that parts
            that share a unit, such as a patient with images in both, are correlated.
        cross_validated: the seeds are repeats of a cross-validation.
    """

    values: _Floats
    influence: _Floats
    cross_validated: bool = False

    def minus(self, other: "SubgroupScore") -> "SubgroupScore":
        """Return this score minus `other`, of another part or init."""
        return replace(self, values=self.values - other.values, influence=self.influence - other.influence)

    def measure(self) -> PairedDifference:
        """Return the mean over seeds and its errors; units without influence do not count."""
        used = self.influence.any(axis=0) | self.exact
        return paired_difference(self.values, self.influence[:, used], self.cross_validated)

    @property
    def exact(self) -> bool:
        """Whether no image has influence, as in a perfect score; its error is then unknown."""
        return not self.influence.any()


@dataclass(frozen=True)
class SubgroupGap:
    """Largest minus smallest of several scores.

    Attributes:
        size: as measured; above 0 even where there is no true gap.
        low: lower end of the simultaneous 95 % interval of the true gap; 0 where none is shown.
        high: its upper end.
        by_chance: mean gap due to test images and seeds if all parts were equal.
    """

    size: float
    low: float
    high: float
    by_chance: float


def measure_gap(parts: Sequence[SubgroupScore], alpha: float = ALPHA) -> SubgroupGap:
    """Measure the gap between at least two parts; with one seed all but its size is NaN."""
    means = np.array([part.values.mean() for part in parts])
    size = float(np.ptp(means))
    if len(parts[0].values) < 2:
        return SubgroupGap(size, math.nan, math.nan, math.nan)
    pairs = [a.minus(b).measure() for a, b in itertools.combinations(parts, 2)]
    reaches = [(abs(pair.difference), pair.half_width(alpha / len(pairs))) for pair in pairs]
    low = max(0.0, *(distance - reach for distance, reach in reaches))
    high = max(distance + reach for distance, reach in reaches)
    return SubgroupGap(size, low, min(high, 1.0), gap_by_chance(parts))


def gap_by_chance(parts: Sequence[SubgroupScore]) -> float:
    """Return the mean gap of parts with these errors and no true difference."""
    values = np.stack([part.values for part in parts])
    images = np.stack([part.influence.mean(axis=0) for part in parts])
    factor = OVERLAP_FACTOR if parts[0].cross_validated else 1.0
    covariance = factor * images @ images.T + np.atleast_2d(np.cov(values)) / values.shape[1]
    size, direction = np.linalg.eigh(covariance)
    normal = np.random.default_rng(0).standard_normal((CHANCE_DRAWS, len(parts)))
    return float(np.ptp(normal @ (direction * np.sqrt(np.clip(size, 0, None))).T, axis=1).mean())


def contrast_with_others(parts: Sequence[SubgroupScore]) -> list[SubgroupScore]:
    """Return the difference of each part to the mean of the others."""
    values, influence = np.stack([p.values for p in parts]), np.stack([p.influence for p in parts])
    count = len(parts)

    def other(of: _Floats, place: int) -> _Floats:
        return (of.sum(axis=0) - of[place]) / (count - 1)

    return [
        replace(
            part,
            values=part.values - other(values, place),
            influence=part.influence - other(influence, place),
        )
        for place, part in enumerate(parts)
    ]
