"""Influence of each test image on the AUC: its sampling error without resampling.

The AUC is a mean over pairs of images; one sort gives each image's share in it, its placement. The sum of
squared influences is DeLong's variance, that of the difference of two networks on the same images DeLong's
paired variance, and summed within groups first, Obuchowski's variance for clustered data. A bootstrap of the
images converges to the same value, which a test checks.

Sources: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; Obuchowski 1997, Biometrics 53:567.
"""

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


def auc_influence(truth: NDArray[np.bool_], scores: _Floats) -> tuple[_Floats, _Floats]:
    """Return the AUC of each network on the same images, and the influence of each image.

    Args:
        truth: [n] booleans, true for the positive images; both classes must occur.
        scores: [..., n], higher is more positive; ties count half.

    Returns:
        AUC [...], 0 to 1, and influence [..., n], whose squares sum to the variance of the AUC over draws of
        n images; NaN for a class with a single image, which has no variance.
    """
    placement = np.empty(scores.shape)
    networks = zip(scores.reshape(-1, len(truth)), placement.reshape(-1, len(truth)), strict=True)
    for ours, placed in networks:
        positive, negative = ours[truth], ours[~truth]
        placed[truth] = _share_below(positive, negative)
        placed[~truth] = 1 - _share_below(negative, positive)  # a negative image counts the scores above it
    auc = placement[..., truth].mean(axis=-1)
    size = np.where(truth, truth.sum(), (~truth).sum()).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        influence = (placement - auc[..., None]) / np.sqrt(size * (size - 1))
    return auc, influence


def _share_below(values: _Floats, others: _Floats) -> _Floats:
    """Return the share of `others` below each of `values`; ties count half."""
    others, order = np.sort(others), np.argsort(values)
    ascending = values[order]  # searchsorted is far faster on sorted values (memory locality)
    share = np.empty(len(values))
    share[order] = others.searchsorted(ascending, "left") + others.searchsorted(ascending, "right")
    return share / (2 * len(others))


def macro_auc_influence(truth: NDArray[np.bool_], scores: _Floats) -> tuple[_Floats, _Floats]:
    """Return the same for the mean over classes, one against the rest.

    Args:
        truth: [n, classes] booleans.
        scores: [..., n, classes]; a binary task passes the positive class alone.

    Raises:
        ValueError: a class has no positive or no negative image.
    """
    if (truth.all(axis=0) | ~truth.any(axis=0)).any():
        raise ValueError("a class has no positive, or no negative, test image")
    auc, influence = 0.0, 0.0
    for place in range(truth.shape[1]):
        of_class = auc_influence(truth[:, place], scores[..., place])
        auc, influence = auc + of_class[0], influence + of_class[1]
    return np.asarray(auc / truth.shape[1]), np.asarray(influence / truth.shape[1])


def sum_within_groups(
    influence: _Floats, groups: NDArray[np.generic] | None, truth: NDArray[np.bool_] | None = None
) -> _Floats:
    """Sum the influence [..., n] within groups, since images of one patient are not independent.

    Args:
        influence: of each image.
        groups: [n] names; None where every image is independent.
        truth: [n, classes] where the metric ranks classes: an image is then scaled by the number of groups on
            its side of a class (Obuchowski 1997), the fewest over classes, else by that of all. With all of
            22, two patients of one class seemed to have half of their variance.

    Returns:
        [..., groups], scaled for estimating a variance from that many groups; unchanged without groups.
    """
    if groups is None:
        return influence
    names, place = np.unique(groups, return_inverse=True)
    known = np.full(len(place), len(names))
    for side in _sides(truth) if truth is not None else ():
        known[side] = np.minimum(known[side], max(len(np.unique(place[side])), 2))
    flat = influence.reshape(-1, influence.shape[-1]) * np.sqrt(known / np.maximum(known - 1, 1))
    sums = np.stack([np.bincount(place, weights=row, minlength=len(names)) for row in flat]).astype(
        np.float64
    )
    return sums.reshape(*influence.shape[:-1], len(names))


def fewest_groups_of_a_side(truth: NDArray[np.bool_], groups: NDArray[np.generic]) -> int:
    """Return the number of groups of the positives or negatives of a class, the fewest; 1 has no variance."""
    return min(len(np.unique(groups[side])) for side in _sides(truth))


def _sides(truth: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Return the positives and the negatives [n] of each class."""
    return [side for column in truth.T for side in (column, ~column)]


def truth_of(labels: NDArray[np.generic], classes: int) -> NDArray[np.bool_]:
    """Return booleans [n, classes] from class indices [n] or multilabel 0/1 [n, classes]."""
    return labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(classes)  # type: ignore[operator]
