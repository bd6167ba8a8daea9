"""Exact tests of whether a property of the files goes with the class.

A property is cut in two in each way that its values suggest: one value against the others, numbers also at
their median. Fisher's exact test compares each cut with each class. The limit of the p-values is Tarone's
(Biometrics 46, 1990): at most `level` of the sets without any association exceed it in any test, and a cut
that is too small to exceed it at all, such as a value of one file, does not lower it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

FEWEST_IMAGES = 10
"""Images of a class below which the audit does not try to predict it: it has the exact test alone."""
FEW_LEVEL, LEVEL = 0.05, 0.01
"""Share of false alarms, over all tests of a set: with classes that are too small to predict, and else."""
LEAST_DIFFERENCE = 0.2
"""Smallest difference of shares between a class and the others, an AUC of 0.6: less is of little use."""
_MOST_VALUES = 20
"""Most frequent values of a property that are compared, one by one."""
_SAME = 1 + 1e-7
"""Tolerance of equal probabilities, as in R and scipy."""


class ClassAssociation(msgspec.Struct, frozen=True, kw_only=True):
    """How one property of the files goes with the class; the smallest p-value of its cuts.

    Attributes:
        images: number of images, one of each patient or other unit.
        p: two-sided, of Fisher's exact test; 1 if no cut could pass the limit.
        limit: Tarone's, for all tests of the set.
        difference: of the shares of the cut between a class and the others.
    """

    trait: str
    images: int
    p: float
    limit: float
    difference: float

    @property
    def found(self) -> bool:
        """Whether the association is beyond chance, and of use to a network."""
        return self.p <= self.limit and self.difference >= LEAST_DIFFERENCE


def class_associations(
    traits: Mapping[str, NDArray[Any]], truth: NDArray[np.bool_]
) -> tuple[ClassAssociation, ...]:
    """Test the properties that differ between images against the classes.

    Args:
        traits: name -> text or numbers, [n]; "" and NaN if unknown.
        truth: whether each of n independent images is of each class, [n, classes].
    """
    n = len(truth)
    size = truth.sum(axis=0)
    truth, size = truth[:, (size > 0) & (size < n)], size[(size > 0) & (size < n)]
    if truth.shape[1] == 2 and (truth[:, 0] != truth[:, 1]).all():
        truth, size = truth[:, :1], size[:1]  # the second class tells nothing else
    masks, names = _distinct_cuts(traits, n)
    if not names or not len(size):
        return ()
    marked, both = masks.sum(axis=1), masks.astype(np.int64) @ truth
    level = FEW_LEVEL if min(size.min(), n - size.max()) < FEWEST_IMAGES else LEVEL
    least = _least_p(n, marked[:, None], size[None])
    limit = tarone_limit(least, level)
    p = np.ones_like(least)
    for cut, at in np.argwhere(least <= limit):
        p[cut, at] = fisher_p(int(both[cut, at]), int(marked[cut]), int(size[at]), n)
    gap = np.abs(both / size - (marked[:, None] - both) / (n - size))
    return tuple(_strongest(name, cuts, p, gap, n, limit) for name, cuts in names.items())


def tarone_limit(least: NDArray[np.float64], level: float) -> float:
    """Return Tarone's limit of p-values: `level` / the number of tests that could pass it.

    `least` are the smallest p-values that the margins of each test allow.
    """
    parts = level / np.arange(1, least.size + 1)
    passing = np.searchsorted(np.sort(least, axis=None), parts, side="right")
    return float(parts[np.argmax(passing <= np.arange(1, least.size + 1))])


@lru_cache(maxsize=4096)
def fisher_p(both: int, marked: int, of_class: int, images: int) -> float:
    """Return the two-sided p-value of Fisher's exact test of a 2 x 2 table, given by its margins."""
    possible = np.arange(max(0, marked + of_class - images), min(marked, of_class) + 1)
    chances = _chances(possible, np.array(marked), np.array(of_class), images)
    return min(1.0, float(chances[chances <= chances[both - possible[0]] * _SAME].sum()))


def _least_p(images: int, marked: NDArray[np.int64], of_class: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the smallest p-value of each table with these margins: that of a most extreme one."""
    ends = (np.maximum(0, marked + of_class - images), np.minimum(marked, of_class))
    low, high = (_chances(end, marked, of_class, images) for end in ends)
    return np.where(np.maximum(low, high) <= np.minimum(low, high) * _SAME, low + high, np.minimum(low, high))


def _chances(
    both: NDArray[np.int64], marked: NDArray[np.int64], of_class: NDArray[np.int64], images: int
) -> NDArray[np.float64]:
    """Return hypergeometric probabilities; scipy.stats takes far longer to check its arguments."""
    from scipy.special import gammaln

    def ways(of: NDArray[np.int64] | int, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        return gammaln(of + 1) - gammaln(taken + 1) - gammaln(of - taken + 1)

    return np.exp(ways(marked, both) + ways(images - marked, of_class - both) - ways(images, of_class))


def _distinct_cuts(
    traits: Mapping[str, NDArray[Any]], n: int
) -> tuple[NDArray[np.bool_], dict[str, list[int]]]:
    """Return the distinct cuts, [cuts, n], and those of each property.

    Properties that part the files in the same way share a cut, which is one test.
    """
    rows: dict[bytes, int] = {}
    masks: list[NDArray[np.bool_]] = []
    names: dict[str, list[int]] = {}
    for name, values in traits.items():
        for mask in _cuts(values):
            mask = mask ^ mask[0]  # a cut and its complement are the same
            if mask.any():
                at = rows.setdefault(mask.tobytes(), len(masks))
                if at == len(masks):
                    masks.append(mask)
                names.setdefault(name, []).append(at)
    return np.array(masks, bool).reshape(len(masks), n), names


def _cuts(values: NDArray[Any]) -> list[NDArray[np.bool_]]:
    """Return the cuts of one property, [n] each."""
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
    found = [code == place for place in common]
    if values.dtype.kind != "U" and np.isfinite(values).any():
        with np.errstate(invalid="ignore"):  # NaN is below no median
            found.append(values > np.nanmedian(values))
    return found


def _strongest(
    name: str, cuts: list[int], p: NDArray[np.float64], gap: NDArray[np.float64], n: int, limit: float
) -> ClassAssociation:
    """Return the smallest p-value of a property, first among the differences of use."""
    order = np.lexsort((p[cuts].ravel(), gap[cuts].ravel() < LEAST_DIFFERENCE))
    best, beside = (float(part[cuts].ravel()[order[0]]) for part in (p, gap))
    return ClassAssociation(trait=name, images=n, p=best, limit=limit, difference=round(beside, 4))
