"""Find near copies across splits by perceptual hash, confirmed by correlation of details."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ....core.hardware import allowed_cpus
from ....tasks.images.perceptual_hash import BLANK
from ....tasks.task import Split
from ...overlap.exact import Digests, comparable_label
from ..contamination.alignment import _Floats, thumbnail
from ..contamination.near_duplicate_search import (
    CORRELATION,
    CROPS,
    RADIUS,
    nearest_candidates,
    pair_correlations,
    share_interval,
)
from ..contamination.search import NeighborHits, _Hashes
from .match_types import NearCopies, NearestCopy

_LOOKED_FOR = {"test": ("train", "val"), "val": ("train",)}
"""Splits that are searched for the images of a split."""
_SHARE = 250
"""Images per thread."""


@dataclass(frozen=True)
class SplitThumbnails:
    """Images of each split and their hashes and details, by split name.

    Attributes:
        images: of 8 bits, [n, h, w(, 3)].
        hashes: [n] perceptual hashes.
        marks: [n] `image_digests`, equal for equal images.
        thumbnails: [n, 784] details; 3 KiB for each image.
    """

    splits: Mapping[str, Split]
    images: Mapping[str, NDArray[np.uint8]]
    hashes: Mapping[str, _Hashes]
    marks: Mapping[str, Digests]
    thumbnails: Mapping[str, _Floats]


def thumbnails(images: NDArray[np.uint8]) -> _Floats:
    """Return the details of each image [n, h, w(, 3)]: [n, 784]."""
    return np.stack([thumbnail(image) for image in images])


def near_copies(looks: SplitThumbnails) -> Iterator[NearCopies]:
    """Search for test images in train and val, and for val images in train, where present."""
    for split, others in _LOOKED_FOR.items():
        if split in looks.splits:
            yield from (_near_across(looks, split, other) for other in others if other in looks.splits)


def _near_across(looks: SplitThumbnails, split: str, other: str) -> NearCopies:
    asked = np.flatnonzero(looks.hashes[split] != BLANK)
    images = looks.images[split][asked]
    hits = nearest_candidates(images, looks.hashes[other], RADIUS, CROPS)
    correlation = _correlate_pairs(images, hits, looks.thumbnails[other])
    return near_of(
        looks, (split, other), NeighborHits(asked[hits.query], hits.row, hits.distance), correlation
    )


def _correlate_pairs(images: NDArray[np.uint8], hits: NeighborHits, known: _Floats) -> _Floats:
    """Correlate every pair, in threads, since numpy releases Python's lock."""
    cuts = np.searchsorted(hits.query, np.arange(0, len(images) + _SHARE, _SHARE))
    parts = [
        NeighborHits(hits.query[low:high], hits.row[low:high], hits.distance[low:high])
        for low, high in pairwise(cuts)
    ]
    # the matrix products are small: threads inside BLAS would only wait for each other
    with threadpool_limits(1), ThreadPoolExecutor(min(4, allowed_cpus())) as pool:
        found = list(pool.map(lambda part: pair_correlations(images, part, lambda rows: known[rows]), parts))
    return np.concatenate([np.empty(0, np.float32), *found])


def near_of(
    looks: SplitThumbnails, names: tuple[str, str], pairs: NeighborHits, correlation: _Floats
) -> NearCopies:
    """Return the near copies of the images of one split in another, or in the same one.

    Args:
        names: split whose images were searched for, and split that was searched.
        correlation: [pairs] of their details; below `CORRELATION` they are no copies.
    """
    split, other = names
    exact = looks.marks[split][pairs.query] == looks.marks[other][pairs.row]
    order = np.lexsort((pairs.row, -correlation, ~exact, pairs.query))
    order = order[correlation[order] >= CORRELATION]
    first = order[np.diff(pairs.query[order], prepend=-1) != 0]
    matches = tuple(
        NearestCopy(
            row=(row := int(pairs.query[at])),
            other=(copy := int(pairs.row[at])),
            correlation=round(min(1.0, float(correlation[at])), 4),
            exact=bool(exact[at]),
            conflict=comparable_label(looks.splits, (split, row))
            != comparable_label(looks.splits, (other, copy)),
        )
        for at in first
    )
    checked = int((looks.hashes[split] != BLANK).sum())
    interval = share_interval(len(matches), checked)
    return NearCopies(split=split, against=other, checked=checked, matches=matches, interval=interval)
