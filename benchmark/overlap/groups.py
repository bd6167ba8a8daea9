"""Count patients, studies or other groups of images that occur in more than one split."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ...tasks.patients import few_have_several
from ...tasks.task import Split
from ..schema.split_overlap import SharedGroups

_PAIRS = (("test", "train"), ("test", "val"), ("val", "train"))


def shared_groups(splits: Mapping[str, Split]) -> tuple[SharedGroups, ...] | None:
    """Count groups that pairs of splits share; None if fewer than two splits have groups."""
    known = {name: known_groups(split) for name, split in splits.items()}
    return tuple(_shared_pairs(known)) if sum(len(groups) > 0 for groups in known.values()) > 1 else None


def in_several(splits: Mapping[str, Split]) -> int:
    """Count the groups that occur in more than one split."""
    known = [np.unique(known_groups(split)) for split in splits.values()]
    _, counts = np.unique(np.concatenate(known), return_counts=True)
    return int((counts > 1).sum())


def known_groups(split: Split) -> NDArray[np.int64]:
    """Return the groups of the images with a known group: [m]."""
    return np.empty(0, np.int64) if split.groups is None else split.groups[split.groups >= 0]


def patients_known(splits: Mapping[str, Split]) -> dict[str, int]:
    """Count the images of each split whose group is known to be a patient.

    A study or series is no patient. 0 where few groups have several images: these may number images.
    """
    groups = np.concatenate([known_groups(split) for split in splits.values()])
    _, sizes = np.unique(groups, return_counts=True)
    if few_have_several(int((sizes > 1).sum()), len(sizes)):
        return dict.fromkeys(splits, 0)
    return {name: _patients_known(split) for name, split in splits.items()}


def _patients_known(split: Split) -> int:
    if split.groups is None or split.patient_known is None:
        return len(known_groups(split))
    return int((split.patient_known & (split.groups >= 0)).sum())


def _shared_pairs(known: Mapping[str, NDArray[np.int64]]) -> Iterator[SharedGroups]:
    for split, against in _PAIRS:
        if split not in known or against not in known:
            continue
        mine = known[split]
        both = np.intersect1d(mine, known[against])
        if len(both):
            images = int(np.isin(mine, both).sum())
            yield SharedGroups(split=split, against=against, groups=len(both), images=images, known=len(mine))
