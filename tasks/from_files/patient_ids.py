"""Patient ids from table, path and DICOM header, merged for the same patient."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..pseudonymize import group_number

FILE_OWNER = "\0"
"""Prefix of an owner that is a file, not a patient."""


def wider_ids(wide: Sequence[str], narrow: Sequence[str]) -> tuple[str, ...]:
    """Return each image's wider id, such as its patient, else the narrower, such as its study.

    Both are [n], "" if unknown. An image with a study only takes the patient of that study's other images, so
    that a gap in a column does not part a patient. If those have several patients, study numbers repeat
    between patients and are ignored.
    """
    by_narrow: dict[str, set[str]] = {}
    for one, other in zip(wide, narrow, strict=True):
        if one and other:
            by_narrow.setdefault(other, set()).add(one)
    only = {other: next(iter(ones)) for other, ones in by_narrow.items() if len(ones) == 1}
    return tuple(one or only.get(other, other) for one, other in zip(wide, narrow, strict=True))


def merge_equal_images(owners: Sequence[str], marks: Sequence[bytes]) -> dict[str, str]:
    """Return for each owner the first owner with an equal image, patients before files.

    `marks` are [n] hashes of the images; b"" for one that is no evidence, e.g. a black frame.
    """
    above: dict[str, str] = {}
    first: dict[bytes, str] = {}

    def top(owner: str) -> str:
        while owner in above:
            above[owner] = above.get(above[owner], above[owner])
            owner = above[owner]
        return owner

    for owner, mark in zip(owners, marks, strict=True):
        pair = {top(owner), top(first.setdefault(mark, owner) if mark else owner)}
        if len(pair) > 1:
            one, other = sorted(pair, key=lambda name: (_is_file(name), name))
            above[other] = one
    return {owner: top(owner) for owner in set(owners)}


def _is_file(owner: str) -> bool:
    return owner.startswith(FILE_OWNER)


def pseudonym_numbers(owners: tuple[str, ...], salt: bytes, task: str) -> NDArray[np.int64]:
    """Return the number of each image's patient, [n]; below -1 for a file of unknown patient."""
    numbers = (group_number(salt, task, owner) for owner in owners)
    return np.array(
        [~number if _is_file(owner) else number for number, owner in zip(numbers, owners, strict=True)]
    )


def rank_owners(owners: tuple[str, ...], marks: tuple[bytes, ...]) -> NDArray[np.int64]:
    """Return the rank of each image's owner, [n]; files first, then by least image hash.

    Ranking by name would reveal to anyone with a patient list roughly which number is which patient.
    """
    least: dict[str, tuple[bool, bytes, str]] = {}
    for owner, mark in zip(owners, marks, strict=True):
        mine = (not _is_file(owner), mark, owner)
        least[owner] = min(mine, least.get(owner, mine))
    place = {owner: rank for rank, (_, _, owner) in enumerate(sorted(least.values()))}
    return np.array([place[owner] for owner in owners], np.int64)
