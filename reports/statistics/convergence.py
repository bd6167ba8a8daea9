"""How fast a training converges: where its validation score first comes close to what it ends with."""

from collections.abc import Sequence

import numpy as np

from .influence import _Floats

SHARE = 0.95


def first_within(
    scores: Sequence[float], final: float, share: float = SHARE, chance: float = 0.0
) -> int | None:
    """Return the place of the first score that is at least `share` of the way from `chance` to `final`.

    Args:
        scores: of the validations in their order; NaN where undefined.
        final: what the training ended with.
        share: how close is close.
        chance: where the way begins: 0 for a share of the score itself.

    Returns:
        None where there is none, or where `final` is not above `chance`.
    """
    if final <= chance:
        return None
    near = np.asarray(scores, dtype=float) >= chance + share * (final - chance)
    return int(near.argmax()) if near.any() else None


def speed_ratios(ours: dict[int, float], theirs: dict[int, float]) -> _Floats:
    """Return ours / theirs for each seed [n] that both have, in the order of the seeds."""
    both = sorted(ours.keys() & theirs.keys())
    return np.array([ours[seed] / theirs[seed] for seed in both if theirs[seed] > 0])
