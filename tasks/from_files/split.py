"""Reproducible splits, stratified by class, that keep patients whole."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ..task import SPLITS
from .patient_ids import FILE_OWNER

MOST_PARTS = 20
FAR = 0.1
"""Deviation from a share, in parts of all images, above which it is reported."""


def split_by_patient(
    labels: NDArray[np.int64], groups: NDArray[np.int64], shares: Sequence[float], seed: int, what: str
) -> NDArray[np.int64]:
    """Return the split number of each image, [n], by scikit-learn's StratifiedGroupKFold.

    The data are cut into as many equal folds as the shares need (5 for 0.6, 0.2, 0.2).

    Args:
        labels: int64, [n] or [n, classes]; combinations of labels are strata.
        groups: [n]; images of one number stay together.
        shares: 2 or 3 shares that add up to 1.
        seed: random seed of the folds.
        what: the task, for messages.

    Raises:
        UserError: too few groups, or classes with too few, for every split to have some.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    parts, taken = _count_parts(shares)
    count = len(np.unique(groups))
    if count == 1:
        raise UserError(
            f"{what}: all {len(groups):,} images are of one patient or equal: another split needs others. "
            "Add patients, or correct the column or pattern that names them, or 'reader.group_by' where "
            "headers do."
        )
    if count < parts:
        raise UserError(
            f"{what}: its images are of {count} patients, and shares of {_format_shares(shares)} "
            f"need {parts} at least (equal images count as one): add patients, or change 'split.shares'."
        )
    strata = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    if np.bincount(strata).max() < parts:
        strata = np.zeros_like(strata)  # combinations so rare cannot be spread
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    result = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rare classes are reported by `missing_classes`
        for part, (_, rows) in enumerate(folds.split(np.zeros(len(labels)), strata, groups)):
            result[rows] = np.searchsorted(np.cumsum(taken), part, side="right")
    return result


def _format_shares(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.3g}" for share in shares)


def _count_parts(shares: Sequence[float]) -> tuple[int, list[int]]:
    """Return the least number of folds that meets each share to 1 %, and each split's folds."""
    for count in range(len(shares), MOST_PARTS + 1):
        others = [max(1, round(share * count)) for share in shares[1:]]
        taken = [count - sum(others), *others]
        off = max(abs(n / count - share) for n, share in zip(taken, shares, strict=True))
        if taken[0] > 0 and off < 0.01:
            return count, taken
    raise UserError(
        f"Shares of {_format_shares(shares)} cannot be made of {MOST_PARTS} parts: use multiples of 0.05."
    )


def share_deviations(
    splits: NDArray[np.int64], owners: Sequence[str], shares: Sequence[float]
) -> tuple[str, ...]:
    """Return a clause if splits deviate from their shares because patients are kept whole."""
    actual = np.bincount(splits, minlength=len(shares)) / len(splits)
    if np.abs(actual - shares).max() <= FAR:
        return ()
    got, wanted = (", ".join(f"{share:.0%}" for share in each) for each in (actual, shares))
    names = "the splits" if len(shares) == len(SPLITS) else "train and val"
    owner, most = Counter(owners).most_common(1)[0]
    who = "one file (with those of equal images)" if owner.startswith(FILE_OWNER) else "one patient"
    return (f"{names} hold {got} of the images, not {wanted}: {who} has {most:,} of {len(owners):,}",)


def missing_classes(
    labels: NDArray[np.int64], splits: NDArray[np.int64], classes: Sequence[str]
) -> dict[int, str]:
    """Return the first missing class of each split that lacks one."""
    found: dict[int, str] = {}
    for split in range(3):
        mine = labels[splits == split]
        for number, name in enumerate(classes):
            if split not in found and not (
                mine[:, number].any() if mine.ndim == 2 else (mine == number).any()
            ):
                found[split] = name
    return found


def split_hash(names: Sequence[str], splits: NDArray[np.int64]) -> str:
    """Hash the split of each image, to compare machines without revealing names."""
    digest = hashlib.sha256()
    for name, split in zip(names, splits.tolist(), strict=True):
        digest.update(f"{name}\0{split}\n".encode())
    return digest.hexdigest()
