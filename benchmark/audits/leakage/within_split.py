"""Find near copies within a split, which reduce its effective size; no crops, to be fast."""

from collections.abc import Iterator

import numpy as np

from ....tasks.images.perceptual_hash import BLANK
from ..contamination.alignment import _Floats, plain_correlations
from ..contamination.near_duplicate_search import CANDIDATES, RADIUS
from ..contamination.search import HashIndex, Ints, NeighborHits
from .match_types import NearCopies
from .near import SplitThumbnails, near_of

_AT_ONCE = 4096
"""Pairs whose details are in memory at once: some 50 MB."""


def near_within(looks: SplitThumbnails) -> Iterator[NearCopies]:
    """Search each split for near copies of its own images; both images of a pair are matches."""
    for split in looks.splits:
        shown = np.flatnonzero(looks.hashes[split] != BLANK)
        hashes = looks.hashes[split][shown]
        hits = HashIndex(hashes).nearest(hashes, RADIUS, CANDIDATES + 1)  # one of them is the image itself
        low, high = np.minimum(hits.query, hits.row), np.maximum(hits.query, hits.row)
        distinct = np.unique((low * len(shown) + high)[low != high])  # each pair once
        one, other = (shown[rows] for rows in np.divmod(distinct, max(1, len(shown))))
        correlation = _correlate_rows(looks.thumbnails[split], one, other)
        query, row = np.concatenate([one, other]), np.concatenate([other, one])
        both = NeighborHits(query, row, np.zeros_like(row))
        yield near_of(looks, (split, split), both, np.concatenate([correlation, correlation]))


def _correlate_rows(known: _Floats, one: Ints, other: Ints) -> _Floats:
    """Return the correlation of the details of each pair of rows: [pairs]."""
    found = np.empty(len(one), np.float32)
    for start in range(0, len(one), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        found[some] = plain_correlations(known[one[some]], known[other[some]])
    return found
