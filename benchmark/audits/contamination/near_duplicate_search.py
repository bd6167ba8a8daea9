"""Find test images of a task with a near copy among the images that weights have seen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from ....core.errors import UserError
from ....core.files import sha256_file
from ....tasks.images.perceptual_hash import BLANK, WHOLE, CropWindow, perceptual_hashes
from ...corpus.corpus import read_corpus
from ...corpus.exact_duplicates import rows_without
from ...corpus.index import images_at, read_index_columns
from . import alignment
from .outcome import SearchResult
from .search import HashIndex, Ints, NeighborHits, _Hashes

RADIUS = 11
"""Largest Hamming distance of a candidate, if its pixels can be compared."""
CORRELATION = 0.96
"""Smallest correlation of the details of a copy; docs/contamination.md derives it."""
ALONE = 1
"""Largest Hamming distance of a copy, if there are only hashes to compare."""
CANDIDATES = 16
"""Nearest images of the corpus that are compared with a test image; 32 find no more planted copies."""

_SOME = 0.02
CROPS = (
    WHOLE,
    *(CropWindow(cut, cut, cut, cut) for cut in (0.0175, 0.035, -0.0175, -0.035)),
    *(CropWindow(x, y, -x, -y) for x, y in ((_SOME, 0.0), (-_SOME, 0.0), (0.0, _SOME), (0.0, -_SOME))),
)
"""Crops of a test image to search for: it or its copy may have been cropped by up to 5 % per side."""

_BATCH = 1000
"""Test images whose candidates' thumbnails are in memory at once: at most 100 MB."""

Thumbnails = Callable[[Ints], alignment._Floats]
"""Maps ascending rows of the corpus to their `thumbnail`s."""


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Perceptual hashes [n] of the images seen; `thumbnails` is None if only hashes are known."""

    identity: str
    hashes: _Hashes
    thumbnails: Thumbnails | None = None


def seen_in_corpus(folder: Path, left_out: frozenset[str] = frozenset()) -> SeenImages:
    """Return the images of a corpus without the sources `left_out`; errors as `read_corpus`."""
    corpus = read_corpus(folder)
    table = read_index_columns(folder, ["phash", "source"])
    table = rows_without(folder, left_out, table.append_column("row", [np.arange(len(table))]))
    index_rows = table["row"].to_numpy()

    def thumbnails(rows: Ints) -> alignment._Floats:
        images = images_at(folder, index_rows[rows].tolist())
        return np.stack([alignment.thumbnail(image) for image in images])

    hashes = table["phash"].to_numpy()
    return SeenImages(f"corpus {corpus.identity}", hashes.astype(np.uint64, copy=False), thumbnails)


def seen_in_hashes(path: Path) -> SeenImages:
    """Read a file of hashes; `UserError` where it is not a one-dimensional .npy of uint64."""
    try:
        hashes = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"Cannot read the hashes {path} ({error}): correct `hashes` of the card.") from error
    if not isinstance(hashes, np.ndarray) or hashes.dtype != np.uint64 or hashes.ndim != 1:
        raise UserError(f"{path} is not an .npy of 64-bit hashes: correct `hashes` of the card.")
    return SeenImages(f"hashes sha256:{sha256_file(path)[:16]}", hashes)


def search_near_duplicates(images: NDArray[np.uint8], seen: SeenImages) -> SearchResult:
    """Search for each image of a test split [n, h, w(, 3)] among the images seen."""
    shown = perceptual_hashes(images) != BLANK
    rows = np.flatnonzero(shown)
    matched = tuple(int(row) for row in np.sort(rows[has_near_duplicate(images[rows], seen)]))
    return SearchResult(
        corpus=seen.identity,
        images=len(seen.hashes),
        checked=len(rows),
        blank=len(images) - len(rows),
        matched=matched,
        by="pixels" if seen.thumbnails else "hash",
        interval=share_interval(len(matched), len(rows)),
    )


def share_interval(found: int, of: int) -> tuple[float, float]:
    """Return the 95 % Clopper-Pearson interval of `found` / `of`; (0, 1) if `of` is 0."""
    if not of:
        return 0.0, 1.0
    exact = binomtest(found, of).proportion_ci(0.95, method="exact")
    return float(exact.low), float(exact.high)


def has_near_duplicate(images: NDArray[np.uint8], seen: SeenImages) -> NDArray[np.bool_]:
    """Return whether each image has a copy among the images seen: [n]."""
    if seen.thumbnails is None:
        found = np.zeros(len(images), bool)
        found[nearest_candidates(images, seen.hashes, ALONE, (WHOLE,)).query] = True
        return found
    return best_correlations(images, seen) >= CORRELATION


def best_correlations(images: NDArray[np.uint8], seen: SeenImages) -> alignment._Floats:
    """Return the highest correlation of each image's details with a candidate, or -1: [n]."""
    if seen.thumbnails is None:
        raise ValueError("there are no pixels to compare")
    best = np.full(len(images), -1.0, np.float32)
    hits = nearest_candidates(images, seen.hashes, RADIUS, CROPS)
    np.maximum.at(best, hits.query, pair_correlations(images, hits, seen.thumbnails))
    return best


def pair_correlations(
    images: NDArray[np.uint8], hits: NeighborHits, thumbnails: Thumbnails
) -> alignment._Floats:
    """Return the correlation of details of each pair of image [n, h, w(, 3)] and row: [pairs].

    `hits` are the pairs, sorted by image; `thumbnails` gives those of the rows.
    """
    found = np.empty(len(hits), np.float32)
    for part in _batches(hits):
        distinct, place = np.unique(hits.row[part], return_inverse=True)
        known = thumbnails(distinct)
        asked, starts = np.unique(hits.query[part], return_index=True)
        for image, rows in zip(asked, np.split(np.arange(len(place)), starts[1:]), strict=True):
            found[part.start + rows] = alignment.correlations(images[image], known[place[rows]])
    return found


def nearest_candidates(
    images: NDArray[np.uint8], hashes: _Hashes, radius: int, crops: tuple[CropWindow, ...]
) -> NeighborHits:
    """Return the nearest rows of each image over all its crops, without blank rows and images."""
    rows = np.flatnonzero(hashes != BLANK)
    index = HashIndex(hashes[rows])
    queries = np.concatenate([perceptual_hashes(images, crop) for crop in crops])
    asked = np.flatnonzero(queries != BLANK)
    hits = index.nearest(queries[asked], radius, CANDIDATES)
    merged = NeighborHits(asked[hits.query] % max(1, len(images)), rows[hits.row], hits.distance)
    return merged.nearest(CANDIDATES)


def _batches(hits: NeighborHits) -> Iterator[slice]:
    """Yield slices of the hits, each of up to `_BATCH` images."""
    last = int(hits.query[-1]) + 1 if len(hits) else 0
    for start in range(0, last, _BATCH):
        low, high = np.searchsorted(hits.query, (start, start + _BATCH)).tolist()
        if high > low:
            yield slice(low, high)
