"""Of whom each image is, by all that a table, a path and a header tell: whoever is known by one is whole."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..pseudonymize import group_number

FILE_OWNER = "\0"
"""Begins an owner that is a file, as no patient's name does."""


def wider_ids(wide: Sequence[str], narrow: Sequence[str]) -> tuple[str, ...]:
    """Return the wider key of each image, as its patient, else the narrower, as its study.

    An image of which only the narrower is known takes the wider that the others of its study have: else a
    gap in one column would part a patient. Where those are of several patients, the numbers of studies
    come again from patient to patient and tell nothing.

    Args:
        wide: [n], "" where it is not known.
        narrow: [n], likewise.
    """
    held: dict[str, set[str]] = {}
    for one, other in zip(wide, narrow, strict=True):
        if one and other:
            held.setdefault(other, set()).add(one)
    only = {other: next(iter(ones)) for other, ones in held.items() if len(ones) == 1}
    return tuple(one or only.get(other, other) for one, other in zip(wide, narrow, strict=True))


def merge_equal_images(owners: Sequence[str], marks: Sequence[bytes]) -> dict[str, str]:
    """Return the first owner of those whose images are equal, a patient before a file, for each owner.

    Args:
        owners: [n].
        marks: [n] hashes of the images; b"" for one that is no evidence, as of a black frame.
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
    """Tell whether an owner is a file, since no patient is known."""
    return owner.startswith(FILE_OWNER)


def pseudonym_numbers(owners: tuple[str, ...], salt: bytes, task: str) -> NDArray[np.int64]:
    """Return the number of each image's patient, [n]; below -1 where none is known, of its file."""
    numbers = (group_number(salt, task, owner) for owner in owners)
    return np.array(
        [~number if _is_file(owner) else number for number, owner in zip(numbers, owners, strict=True)]
    )


def rank_owners(owners: tuple[str, ...], marks: tuple[bytes, ...]) -> NDArray[np.int64]:
    """Return the place of each image's owner among the owners, [n]: files first, as their numbers are.

    The least hash of their images puts them in order: the order of the names would tell whoever has a list
    of the patients roughly which number is whose, since hashes in order are nearly evenly spaced.
    """
    least: dict[str, tuple[bool, bytes, str]] = {}
    for owner, mark in zip(owners, marks, strict=True):
        mine = (not _is_file(owner), mark, owner)
        least[owner] = min(mine, least.get(owner, mine))
    place = {owner: rank for rank, (_, _, owner) in enumerate(sorted(least.values()))}
    return np.array([place[owner] for owner in owners], np.int64)
