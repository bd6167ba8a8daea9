"""How fast a training converges: where its validation score first comes close to what it ends with."""

from collections.abc import Sequence

import numpy as np

from .influence import Floats

SHARE = 0.95


def first_within(scores: Sequence[float], final: float, share: float = SHARE) -> int | None:
    """Return the place of the first score of at least ``share * final``; None where there is none.

    Args:
        scores: of the validations in their order; NaN where undefined.
        final: what the training ended with.
        share: how close is close.
    """
    near = np.asarray(scores, dtype=float) >= share * final
    return int(near.argmax()) if near.any() else None


def ratios(ours: dict[int, float], theirs: dict[int, float]) -> Floats:
    """Return ours / theirs for each seed [n] that both have, in the order of the seeds."""
    both = sorted(ours.keys() & theirs.keys())
    return np.array([ours[seed] / theirs[seed] for seed in both if theirs[seed] > 0])
