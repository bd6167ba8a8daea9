"""Convergence speed: the first validation score close to the final one."""

from collections.abc import Sequence

import numpy as np

from .influence import _Floats

SHARE = 0.95


def first_within(
    scores: Sequence[float], final: float, share: float = SHARE, chance: float = 0.0
) -> int | None:
    """Return the index of the first score at least `share` of the way from `chance` to `final`.

    Args:
        scores: validation scores in order; NaN where undefined.
        final: score that the training ended with.
        share: 0 to 1.
        chance: start of the way; 0 for a share of the score itself.

    Returns:
        None where no score qualifies, or where `final` is not above `chance`.
    """
    if final <= chance:
        return None
    near = np.asarray(scores, dtype=float) >= chance + share * (final - chance)
    return int(near.argmax()) if near.any() else None


def speed_ratios(ours: dict[int, float], theirs: dict[int, float]) -> _Floats:
    """Return ours / theirs [n] for the seeds that both have, by ascending seed."""
    both = sorted(ours.keys() & theirs.keys())
    return np.array([ours[seed] / theirs[seed] for seed in both if theirs[seed] > 0])
