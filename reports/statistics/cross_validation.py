"""Metric of cross-validation: the mean over folds, and the influence of each image in its own fold."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .influence import _Floats, sum_within_groups

_Truth = NDArray[np.bool_]


def average_over_folds(
    compute: Callable[[_Truth, _Floats], tuple[_Floats, _Floats]],
    truth: _Truth,
    scores: _Floats,
    folds: NDArray[np.int64] | None,
    groups: NDArray[np.generic] | None,
    by_side: bool = True,
) -> tuple[_Floats, _Floats]:
    """Return the mean over folds of a metric per repeat [R], and the influence of each unit [R, units].

    Every fold has a network of its own, so that images are compared within folds alone (LeDell, Petersen &
    van der Laan 2015, EJS 9:1583): the influence of an image is that in its fold, divided by their number.

    Args:
        compute: truth [m, classes] and scores [R, m, classes] -> metric [R] and influence [R, m].
        truth: [n, classes] booleans.
        scores: [R, n, classes].
        folds: [R, n] fold in which each image was scored; groups are whole within folds. None for one test
            set, which is scored as a whole.
        groups: [n] names of patients or other groups, which are the units; None where images are.
        by_side: of one test set, groups are counted by side of a class, see `sum_within_groups`; those of a
            fold are not, since its variance is doubled anyway.

    Raises:
        ValueError: `compute` raises it, as where a class is absent from a fold.
    """
    if folds is None:
        values, influence = compute(truth, scores)
        return values, sum_within_groups(influence, groups, truth if by_side else None)
    names = np.arange(len(truth)) if groups is None else groups
    units, place = np.unique(names, return_inverse=True)
    values, influence = np.zeros(len(scores)), np.zeros((len(scores), len(units)))
    for repeat, fold_of in enumerate(folds):
        found = np.unique(fold_of)
        for fold in found:
            chosen = fold_of == fold
            value, shares = compute(truth[chosen], scores[repeat : repeat + 1, chosen])
            own = place[chosen]
            shares = sum_within_groups(shares, None if groups is None else own)
            values[repeat] += value[0] / len(found)
            influence[repeat, own if groups is None else np.unique(own)] += shares[0] / len(found)
    return values, influence
