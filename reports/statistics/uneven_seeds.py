"""Detect trainings of one init that spread unlike those of the other: skewed or unequal luck."""

from collections.abc import Sequence

import numpy as np

from .influence import _Floats
from .paired import ALPHA

LEAST_APART = 0.005
"""A score nearer to the median of its init is no outlier that matters, however close the others are."""


def seeds_are_uneven(values: _Floats, alpha: float = ALPHA) -> bool:
    """Return whether one score is an outlier, or one init spreads more than the other.

    Each of two exact tests of normal scores of equal spread takes half of `alpha`: the externally studentized
    deviation of every score from the others of its init, with the variance of both inits (Grubbs 1950), and
    the ratio of the two variances. Two or more low scores hide from the first, not from the second.

    Args:
        values: [2, seeds] scores of two inits.
        alpha: share of comparisons called uneven where scores are normal with equal spread.
    """
    seeds = values.shape[1]
    if seeds < 2:
        return False
    fixed = not np.ptp(values, axis=1).all()  # another flag says so
    if fixed or abs(farthest_seed(values)[2]) < LEAST_APART:
        return False
    squares = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return min(_outlier_p(values, squares), _ratio_p(squares, seeds)) < alpha / 2


def uneven_seeds_reason(values: _Floats, names: Sequence[str], seeds: Sequence[int]) -> str:
    """Return which seed of which of two `names` is far off, as a clause; "" where seeds are even."""
    if not seeds_are_uneven(values):
        return ""
    init, place, apart = farthest_seed(values)
    where = f"seed {seeds[place]} of {names[init]} is {abs(apart):.3f} {'below' if apart < 0 else 'above'}"
    far = f"one training is far off: {where} the median of its seeds"
    return f"{far}; such luck makes false verdicts frequent"


def farthest_seed(values: _Floats) -> tuple[int, int, float]:
    """Return (init, place of the seed, distance) of the score farthest from the median of its init."""
    apart = values - np.median(values, axis=1, keepdims=True)
    init, place = np.unravel_index(np.abs(apart).argmax(), values.shape)
    return int(init), int(place), float(apart[init, place])


def _outlier_p(values: _Floats, squares: _Floats) -> float:
    """Return the Bonferroni-corrected p-value of the largest studentized deviation."""
    from scipy.special import stdtr

    seeds = values.shape[1]
    apart = values - values.mean(axis=1, keepdims=True)
    rest = np.maximum(squares.sum() - seeds / (seeds - 1) * apart**2, 0)  # without this score
    freedom = 2 * seeds - 3
    with np.errstate(divide="ignore"):
        ratio = np.abs(apart) * np.sqrt(seeds / (seeds - 1) * freedom / rest)
    return min(1.0, 2 * values.size * float(stdtr(freedom, -ratio.max())))


def _ratio_p(squares: _Floats, seeds: int) -> float:
    """Return the two-sided p-value of the ratio of the two variances."""
    from scipy.special import fdtrc

    return min(1.0, 2 * float(fdtrc(seeds - 1, seeds - 1, squares.max() / squares.min())))
