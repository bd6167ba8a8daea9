"""Exact nearest neighbors among millions of 64-bit hashes, in bounded memory.

Multi-index hashing (Norouzi, Punjani and Fleet 2012): hashes that differ in at most 4r + 3 bits differ in at
most r bits in one of four blocks of 16 bits, so that only hashes with a near block need be compared. A block
is every fourth bit: neighboring frequencies of one kind of image are alike, which would crowd a few buckets.
A query with `most` neighbors is left out of the next, wider round, since similar images have very many.

Up to a quarter of a million hashes a full scan is faster, above all where they are crowded.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ....core.hardware import allowed_cpus

_Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]

BLOCKS, WIDTH = 4, 16
LARGEST_DISTANCE = 11
"""Largest distance in bits of an exact search; three rounds, of 0, 1 and 2 bits in a block."""

_QUERIES = 1 << 16
"""Queries per call; with `_PAIRS` and `_MOST_HITS` this bounds the memory."""
_PAIRS = 1 << 20
"""Pairs that are compared at once."""
_MOST_HITS = 1 << 21
"""Hits in memory before all but each query's nearest are dropped."""
SCANNED = 1 << 18
"""Number of hashes up to which each query is compared with all of them."""
_SHARE = 1000
"""Queries per thread."""

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class NeighborHits:
    """Near neighbors, sorted by query, then distance, then row.

    Attributes:
        query: [n] number of the query.
        row: [n] row of the index.
        distance: [n] in bits.
    """

    query: Ints
    row: Ints
    distance: Ints

    def __len__(self) -> int:
        return len(self.query)

    def nearest(self, most: int) -> "NeighborHits":
        """Keep at most `most` hits per query, nearest first, each row once; ties by ascending row."""
        order = np.lexsort((self.distance, self.row, self.query))
        query, row = self.query[order], self.row[order]
        order = order[(np.diff(query, prepend=-1) != 0) | (np.diff(row, prepend=-1) != 0)]
        order = order[np.lexsort((self.distance[order], self.query[order]))]  # stable: rows stay ascending
        query = self.query[order]
        order = order[np.arange(len(query)) - np.searchsorted(query, query) < most]
        return NeighborHits(self.query[order], self.row[order], self.distance[order])


@dataclass(frozen=True, eq=False)
class _Block:
    """Index of hashes by one block of their bits.

    Rows whose block equals k are order[start[k]:start[k + 1]].
    """

    hashes: _Hashes
    order: NDArray[np.uint32]
    start: Ints


class HashIndex:
    """Search index of hashes [n]; takes 50 bytes per hash, or 8 if few enough to scan."""

    def __init__(self, hashes: _Hashes) -> None:
        self.size = len(hashes)
        self._scanned = hashes if self.size <= SCANNED else None
        self._blocks = (
            () if self.size <= SCANNED else tuple(_sorted_block(hashes, block) for block in range(BLOCKS))
        )

    def nearest(self, queries: _Hashes, radius: int, most: int = 64) -> NeighborHits:
        """Return the `most` nearest rows of each query [q] within `radius` bits; ties: lower row.

        `ValueError` where `radius` is not within 0 to `LARGEST_DISTANCE`.
        """
        if not 0 <= radius <= LARGEST_DISTANCE:
            raise ValueError(f"A radius is 0 to {LARGEST_DISTANCE} bits, not {radius}.")
        if self._scanned is not None:
            return _scan(self._scanned, queries, radius, most)
        starts = range(0, len(queries), _QUERIES)
        parts = [self._search(queries[at : at + _QUERIES], radius, most) for at in starts]
        return _concatenate(
            [replace(part, query=part.query + at) for part, at in zip(parts, starts, strict=True)]
        )

    def _search(self, queries: _Hashes, radius: int, most: int) -> NeighborHits:
        found = NeighborHits(_NONE, _NONE, _NONE)
        open_ = np.arange(len(queries))
        for flips in sorted({min(radius // BLOCKS, 1), radius // BLOCKS}):
            reach = min(radius, BLOCKS * flips + BLOCKS - 1)
            for number, block in enumerate(self._blocks):
                hits = _look_up(block, number, queries, open_, flips, reach, most)
                found = _concatenate([found, hits]).nearest(most)
            full = np.bincount(found.query, minlength=len(queries)) >= most
            open_ = np.flatnonzero(~full)
        return found


def _scan(hashes: _Hashes, queries: _Hashes, radius: int, most: int) -> NeighborHits:
    """Compare every query with every hash, in threads, since numpy releases Python's lock."""

    def scan_share(start: int) -> NeighborHits:
        unlike, distance = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.uint8)
        found = []
        for query in range(start, min(start + _SHARE, len(queries))):
            np.bitwise_count(np.bitwise_xor(hashes, queries[query], out=unlike), out=distance)
            rows = np.flatnonzero(distance <= radius)
            order = np.argsort(distance[rows], kind="stable")[:most]
            rows = rows[order]
            found.append(NeighborHits(np.full(len(rows), query), rows, distance[rows].astype(np.int64)))
        return _concatenate(found)

    with ThreadPoolExecutor(min(4, allowed_cpus())) as pool:
        return _concatenate(list(pool.map(scan_share, range(0, len(queries), _SHARE))))


def _keys(hashes: _Hashes, block: int) -> NDArray[np.uint16]:
    """Pack every fourth bit, from bit `block` on: [n]."""
    keys = np.zeros(len(hashes), np.uint16)
    for bit in range(WIDTH):
        shift = np.uint64(BLOCKS * bit + block)
        keys |= ((hashes >> shift) & np.uint64(1)).astype(np.uint16) << np.uint16(bit)
    return keys


def _sorted_block(hashes: _Hashes, block: int) -> _Block:
    keys = _keys(hashes, block)
    order = np.argsort(keys, kind="stable").astype(np.uint32)
    start = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << WIDTH))])
    return _Block(hashes[order], order, start)


def _masks(flips: int) -> NDArray[np.uint16]:
    """Return all 16-bit words with exactly `flips` bits set."""
    words = [sum(1 << bit for bit in bits) for bits in combinations(range(WIDTH), flips)]
    return np.array(words, np.uint16)


def _look_up(
    block: _Block, number: int, queries: _Hashes, open_: Ints, flips: int, reach: int, most: int
) -> NeighborHits:
    """Compare each open query with the buckets that differ from it by up to `flips` bits."""
    masks = np.concatenate([_masks(few) for few in range(flips + 1)])
    probed = (_keys(queries[open_], number)[:, None] ^ masks).ravel()
    asker = np.repeat(open_.astype(np.int32), len(masks))[np.argsort(probed, kind="stable")]
    ends = np.cumsum(np.bincount(probed, minlength=1 << WIDTH))
    hit_lists: list[NeighborHits] = []
    count = 0
    for bucket in np.flatnonzero(np.diff(ends, prepend=0) * np.diff(block.start)):
        askers = asker[ends[bucket - 1] if bucket else 0 : ends[bucket]]
        for hits in _compare(
            block, int(block.start[bucket]), int(block.start[bucket + 1]), queries, askers, reach
        ):
            hit_lists.append(hits)
            count += len(hits)
            if count > _MOST_HITS:
                hit_lists = [_concatenate(hit_lists).nearest(most)]
                count = 0
    return _concatenate(hit_lists).nearest(most)


def _compare(
    block: _Block, low: int, high: int, queries: _Hashes, askers: NDArray[np.int32], reach: int
) -> Iterator[NeighborHits]:
    """Yield the pairs of a bucket's rows and its queries within `reach` bits."""
    width = min(high - low, _PAIRS)
    for left in range(low, high, width):
        rows = block.hashes[left : min(left + width, high)]
        for at in range(0, len(askers), max(1, _PAIRS // width)):
            some = askers[at : at + max(1, _PAIRS // width)]
            distance = np.bitwise_count(queries[some][:, None] ^ rows)
            near = np.flatnonzero(distance <= reach)
            if len(near):
                query, row = np.divmod(near, len(rows))
                order = block.order[left + row].astype(np.int64)
                yield NeighborHits(
                    some[query].astype(np.int64), order, distance.ravel()[near].astype(np.int64)
                )


def _concatenate(parts: list[NeighborHits]) -> NeighborHits:
    columns = [[_NONE, *(getattr(part, name) for part in parts)] for name in ("query", "row", "distance")]
    return NeighborHits(*map(np.concatenate, columns))
