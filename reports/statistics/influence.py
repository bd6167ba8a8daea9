"""How much each test image moves the AUC: its sampling error without a single resample.

The AUC is a mean over pairs of images, and the share of each image in it, its placement, is known from one
sort. The sum of squared shares is DeLong's variance; that of the difference of two networks on the same
images is DeLong's paired variance; summed within groups first, it is Obuchowski's for clustered data. It is
what a bootstrap of the images converges to, and a test holds it against one.

Sources: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; Obuchowski 1997, Biometrics 53:567.
"""

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


def auc_influence(truth: NDArray[np.bool_], scores: _Floats) -> tuple[_Floats, _Floats]:
    """Return the AUC of each network on the same images, and what each image adds to its error.

    Args:
        truth: [n] booleans, true for the positive images; both classes occur.
        scores: [..., n], higher is more positive; ties count half.

    Returns:
        The AUC [...] in 0 to 1, and the influence [..., n], whose squares sum to the variance of the AUC
        over draws of n images. A class with a single image has no variance: its influence is NaN.
    """
    placement = np.empty(scores.shape)
    networks = zip(scores.reshape(-1, len(truth)), placement.reshape(-1, len(truth)), strict=True)
    for ours, placed in networks:
        positive, negative = ours[truth], ours[~truth]
        placed[truth] = _below(positive, negative)
        placed[~truth] = 1 - _below(negative, positive)  # of a negative image, what lies above
    auc = placement[..., truth].mean(axis=-1)
    size = np.where(truth, truth.sum(), (~truth).sum()).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        influence = (placement - auc[..., None]) / np.sqrt(size * (size - 1))
    return auc, influence


def _below(values: _Floats, others: _Floats) -> _Floats:
    """Return which share of `others` lies below each of `values`, ties half."""
    others, order = np.sort(others), np.argsort(values)
    ascending = values[order]  # neighbors are then looked up in the same place: far faster for many images
    share = np.empty(len(values))
    share[order] = others.searchsorted(ascending, "left") + others.searchsorted(ascending, "right")
    return share / (2 * len(others))


def macro_auc_influence(truth: NDArray[np.bool_], scores: _Floats) -> tuple[_Floats, _Floats]:
    """Do the same for the mean over classes, one against the rest.

    Args:
        truth: [n, classes] booleans.
        scores: [..., n, classes]; of a binary task give the positive class alone.

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


def summed_within(influence: _Floats, groups: NDArray[np.generic] | None) -> _Floats:
    """Sum the influence [..., n] within groups: images of one patient are not independent draws.

    Returns:
        [..., groups], widened for estimating a variance from that many groups; unchanged without groups.
    """
    if groups is None:
        return influence
    names, place = np.unique(groups, return_inverse=True)
    flat = influence.reshape(-1, influence.shape[-1])
    sums = np.stack([np.bincount(place, weights=row, minlength=len(names)) for row in flat])
    widen = np.sqrt(len(names) / max(len(names) - 1, 1))
    return widen * sums.reshape(*influence.shape[:-1], len(names))
