"""Near copies across splits: found by perceptual hash, confirmed by the correlation of their details."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...tasks.perceptual import BLANK
from ...tasks.task import Split
from ..contamination import alignment
from ..contamination.measured import CORRELATION, CROPS, RADIUS, Thumbnails, candidates, confirmed
from ..contamination.search import Hashes, Hits, Ints
from .equal import Digests, label
from .outcome import Match, Near

_LOOKED_FOR = {"test": ("train", "val"), "val": ("train",)}
"""In which splits the images of a split are looked for."""
_SHARE = 250
"""Images that one thread compares at a time."""


def near_copies(
    splits: Mapping[str, Split], hashes: Mapping[str, Hashes], marks: Mapping[str, Digests]
) -> Iterator[Near]:
    """Look for the images of test in train and val, and for those of val in train.

    Args:
        splits: by name; those that are missing or empty are passed over.
        hashes: perceptual hashes of each.
        marks: `digests` of each, which tell exact copies.
    """
    for split, others in _LOOKED_FOR.items():
        others = tuple(name for name in others if name in splits and len(splits[name]))
        if split not in splits or not len(splits[split]) or not others:
            continue
        asked = np.flatnonzero(hashes[split] != BLANK)
        images = splits[split].images[asked]
        starts = np.cumsum([0, *(len(splits[name]) for name in others)])
        hits = _hits(images, [hashes[name] for name in others], starts)

        def thumbnails(
            rows: Ints, others: tuple[str, ...] = others, starts: Ints = starts
        ) -> alignment.Floats:
            place = np.searchsorted(starts, rows, side="right") - 1
            pairs = zip(place.tolist(), (rows - starts[place]).tolist(), strict=True)
            return np.stack([alignment.thumbnail(splits[others[at]].images[row]) for at, row in pairs])

        correlation = _confirmed(images, hits, thumbnails)
        for at, name in enumerate(others):
            inside = (hits.row >= starts[at]) & (hits.row < starts[at + 1])
            part = Hits(asked[hits.query[inside]], hits.row[inside] - starts[at], hits.distance[inside])
            yield _near(splits, marks, (split, name), part, correlation[inside], len(asked))


def _hits(images: NDArray[np.uint8], hashes: list[Hashes], starts: Ints) -> Hits:
    """Unite the candidates of each split, by query; rows count through all of them."""
    found = [candidates(images, each, RADIUS, CROPS) for each in hashes]
    query = np.concatenate([hits.query for hits in found])
    row = np.concatenate([hits.row + start for hits, start in zip(found, starts[:-1], strict=True)])
    order = np.argsort(query, kind="stable")
    return Hits(query[order], row[order], np.concatenate([hits.distance for hits in found])[order])


def _confirmed(images: NDArray[np.uint8], hits: Hits, thumbnails: Thumbnails) -> alignment.Floats:
    """Correlate every pair, some images per thread: most of the time is spent outside of Python's lock."""
    cuts = np.searchsorted(hits.query, np.arange(0, len(images) + _SHARE, _SHARE))
    parts = [
        Hits(hits.query[low:high], hits.row[low:high], hits.distance[low:high])
        for low, high in pairwise(cuts)
    ]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda part: confirmed(images, part, thumbnails), parts))
    return np.concatenate([np.empty(0, np.float32), *found])


def _near(
    splits: Mapping[str, Split],
    marks: Mapping[str, Digests],
    names: tuple[str, str],
    hits: Hits,
    correlation: alignment.Floats,
    checked: int,
) -> Near:
    from scipy.stats import binomtest

    split, other = names
    exact = marks[split][hits.query] == marks[other][hits.row]
    order = np.lexsort((hits.row, -correlation, ~exact, hits.query))
    order = order[correlation[order] >= CORRELATION]
    first = order[np.diff(hits.query[order], prepend=-1) != 0]
    matches = tuple(
        Match(
            row=(row := int(hits.query[at])),
            other=(copy := int(hits.row[at])),
            correlation=round(min(1.0, float(correlation[at])), 4),
            exact=bool(exact[at]),
            conflict=label(splits, (split, row)) != label(splits, (other, copy)),
        )
        for at in first
    )
    interval = (0.0, 1.0)
    if checked:
        bounds = binomtest(len(matches), checked).proportion_ci(0.95, method="exact")
        interval = (float(bounds.low), float(bounds.high))
    return Near(split=split, against=other, checked=checked, matches=matches, interval=interval)
