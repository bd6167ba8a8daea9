"""Splits that keep patients whole and classes in proportion, the same every time."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...benchmark.errors import UserError
from .spec import Rule

MOST_PARTS = 20
FAR = 0.1
"""Of all images: a split that misses its share by more is told."""


def made(labels: NDArray[np.int64], groups: NDArray[np.int64], rule: Rule, what: str) -> NDArray[np.int64]:
    """Return 0, 1 or 2 (train, val, test) per image, by scikit-learn's StratifiedGroupKFold.

    The data are cut into as many equal parts as the shares need (5 for 0.6, 0.2, 0.2), of which each split
    takes its share.

    Args:
        labels: int64, [n] or [n, classes]; of several labels the combination is a stratum.
        groups: [n]; images of one number stay together.
        rule: shares and seed.
        what: the task, for messages.

    Raises:
        UserError: there are too few groups, or classes of too few, for every split to have some.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    parts, taken = _parts(rule)
    count = len(np.unique(groups))
    if count == 1:
        raise UserError(
            f"{what}: all {len(groups):,} images are of one patient: a test needs others. Add patients, or "
            "correct the column or pattern that names them, or 'reader.group_by' where headers do."
        )
    if count < parts:
        raise UserError(
            f"{what}: its images are of {count} patients, and shares of {', '.join(map(str, rule.shares))} "
            f"need {parts} at least: add patients, or change 'split.shares'."
        )
    strata = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    if np.bincount(strata).max() < parts:
        strata = np.zeros_like(strata)  # combinations so rare cannot be spread
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=rule.seed)
    result = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a rare class, which `lacking` tells better
        for part, (_, rows) in enumerate(folds.split(np.zeros(len(labels)), strata, groups)):
            result[rows] = np.searchsorted(np.cumsum(taken), part, side="right")
    return result


def _parts(rule: Rule) -> tuple[int, tuple[int, int, int]]:
    """Return the least number of equal parts that gives each split its share to 1 %, and each one's parts."""
    for count in range(3, MOST_PARTS + 1):
        val, test = (max(1, round(share * count)) for share in rule.shares[1:])
        train = count - val - test
        off = max(abs(n / count - share) for n, share in zip((train, val, test), rule.shares, strict=True))
        if train > 0 and off < 0.01:
            return count, (train, val, test)
    raise UserError(
        f"Shares of {', '.join(map(str, rule.shares))} cannot be made of {MOST_PARTS} parts: use multiples "
        "of 0.05."
    )


def astray(splits: NDArray[np.int64], owners: Sequence[str], rule: Rule) -> tuple[str, ...]:
    """Say in a clause where splits that were made miss their shares, since patients are kept whole."""
    held = np.bincount(splits, minlength=3) / len(splits)
    if np.abs(held - rule.shares).max() <= FAR:
        return ()
    got, wanted = (", ".join(f"{share:.0%}" for share in shares) for shares in (held, rule.shares))
    most = Counter(owners).most_common(1)[0][1]
    return (
        f"the splits hold {got} of the images, not {wanted}: one patient has {most:,} of {len(owners):,}",
    )


def lacking(labels: NDArray[np.int64], splits: NDArray[np.int64], classes: Sequence[str]) -> dict[int, str]:
    """Return, per split that misses one, the first class of which it has no image."""
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
    """Hash which image is in which split; the hash tells whether two machines split alike, and no name."""
    digest = hashlib.sha256()
    for name, split in zip(names, splits.tolist(), strict=True):
        digest.update(f"{name}\0{split}\n".encode())
    return digest.hexdigest()
