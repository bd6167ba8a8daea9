"""Find images that are equal in every pixel and show something, within a split and across splits."""

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ...tasks.images.bit_depth import Levels
from ...tasks.images.one_value import have_one_value
from ...tasks.task import Split
from ..schema.split_overlap import EqualImages, ImagePlace

Digests = NDArray[np.uint64]
ONE_VALUE = 0
"""Digest of images of one value, which are no copies of each other."""


def image_digests(images: Levels) -> Digests:
    """Return 64 bits of BLAKE2b of each image [n, h, w(, 3)], or `ONE_VALUE`: [n].

    The chance of a collision among a million different images is 1 in 37 million.
    """
    shape = str(images.shape[1:]).encode()
    parts = (blake2b(image.tobytes(), digest_size=8, person=shape[:16]) for image in images)
    found = np.fromiter((int.from_bytes(part.digest(), "little") for part in parts), np.uint64, len(images))
    found[have_one_value(images)] = ONE_VALUE
    return found


def equal_groups(splits: Mapping[str, Split], marks: Mapping[str, Digests]) -> tuple[EqualImages, ...]:
    """Return every group of equal images, by `image_digests` of each split, in order.

    The order of the splits decides the order of places.
    """
    places = [(name, row) for name in splits for row in range(len(splits[name]))]
    digests = np.concatenate([marks[name] for name in splits])
    order = np.argsort(digests, kind="stable")
    starts = np.flatnonzero(np.diff(digests[order], prepend=~digests[order][:1]))
    parts = np.split(order, starts[1:])
    sets = (part for part in parts if len(part) > 1 and digests[part[0]] != ONE_VALUE)
    found = sorted(sets, key=lambda part: int(part[0]))
    groups = (tuple(places[at] for at in part) for part in found)
    return tuple(
        EqualImages(places=group, conflict=len({comparable_label(splits, place) for place in group}) > 1)
        for group in groups
    )


def comparable_label(splits: Mapping[str, Split], place: ImagePlace) -> tuple[int, ...]:
    """Return the label or findings of an image as a tuple, which can be compared."""
    name, row = place
    return tuple(np.atleast_1d(splits[name].labels[row]).tolist())
