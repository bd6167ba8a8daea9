"""Remove duplicates, and images beyond `max_per_group` of a patient."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...tasks.pseudonymize import NO_GROUP
from .arrow import parquet
from .build_part import CorpusPart
from .corpus import SourceFacts

AGREEMENT_WORDS = ("agree", "conflict", "not comparable")
CONFLICT = AGREEMENT_WORDS[1]
"""Labels of equal images: the same, different in the same classes, or of different classes."""


@dataclass(frozen=True, eq=False)
class RowFacts:
    """Columns that decide which rows stay, [n] each, over all parts in the order of the sources.

    Attributes:
        digests: uint64 [n, 2], first half of the SHA-256 of the pixels: the chance that two of 3 million
            different images collide is 10**-26.
        labels: hash of the label.
        sources: position of the source.
        starts: [parts + 1], first row of each part.
    """

    digests: NDArray[np.uint64]
    labels: NDArray[np.uint64]
    groups: NDArray[np.int64]
    sources: NDArray[np.int32]
    starts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RowDecision:
    """Decision on each row, [n] each.

    Attributes:
        of: row of which this one is a copy, or -1.
        labels: for a copy, position in `AGREEMENT_WORDS`.
        capped: whether it exceeds its source's `max_per_group`.
    """

    keep: NDArray[np.bool_]
    of: NDArray[np.int64]
    labels: NDArray[np.int8]
    capped: NDArray[np.bool_]


def read_rows(parts: Sequence[CorpusPart], sources: Sequence[str]) -> RowFacts:
    """Read the columns that decide of all parts, sorted by source and number: 36 bytes an image."""
    nothing = (np.empty((0, 2), np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))
    columns = [nothing, *map(_read_part, parts)]
    digests, labels, groups = map(np.concatenate, zip(*columns, strict=True))
    lengths = [len(column[2]) for column in columns[1:]]
    positions = np.array([sources.index(part.source) for part in parts], np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return RowFacts(digests, labels, groups, np.repeat(positions, lengths), starts)


def _read_part(part: CorpusPart) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    table = parquet.read_table(part.table, columns=["sha256", "label", "group"]).combine_chunks()
    n = len(table)
    if not n:
        return np.empty((0, 2), np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64)
    text = "".join(table["sha256"].to_pylist())
    digest = np.frombuffer(bytes.fromhex(text), np.uint64).reshape(n, 4)[:, :2]
    values = table["label"].combine_chunks().flatten().to_numpy().reshape(n, -1).astype(np.uint64)
    weights = np.random.default_rng(values.shape[1]).integers(
        1, 2**63, values.shape[1], np.uint64
    ) | np.uint64(1)
    return digest, (values * weights).sum(axis=1, dtype=np.uint64), table["group"].to_numpy()


def choose_rows(rows: RowFacts, sources: Sequence[SourceFacts]) -> RowDecision:
    """Choose the rows that stay: the first of equal images, up to `max_per_group` of a group.

    Images of a group are chosen by their hashes: at random, but reproducibly.
    """
    n = len(rows.groups)
    order = np.lexsort((np.arange(n), rows.digests[:, 1], rows.digests[:, 0]))
    in_order = rows.digests[order]
    first = np.ones(n, bool)
    first[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    of = np.full(n, -1, np.int64)
    of[order[~first]] = order[first][np.cumsum(first) - 1][~first]
    capped = _rows_beyond_cap(rows, of < 0, np.array([source.max_per_group for source in sources], np.int64))
    return RowDecision((of < 0) & ~capped, of, _label_agreement(rows, of, sources), capped)


def _label_agreement(
    rows: RowFacts, of: NDArray[np.int64], sources: Sequence[SourceFacts]
) -> NDArray[np.int8]:
    """Compare each copy's label with that of the image that stays, if their classes agree."""
    spaces = [(source.kind, source.classes) for source in sources]
    space = np.array([spaces.index(each) for each in spaces])[rows.sources]
    copied = of >= 0
    result = np.zeros(len(of), np.int8)
    same = space[copied] == space[of[copied]]
    result[copied] = np.where(same, rows.labels[copied] != rows.labels[of[copied]], 2)
    return result


def _rows_beyond_cap(
    rows: RowFacts, unique: NDArray[np.bool_], limits: NDArray[np.int64]
) -> NDArray[np.bool_]:
    beyond = np.zeros(len(unique), bool)
    at = np.flatnonzero(unique & (rows.groups != NO_GROUP) & (limits[rows.sources] > 0))
    if not len(at):
        return beyond
    at = at[np.lexsort((rows.digests[at, 0], rows.groups[at], rows.sources[at]))]
    new = np.ones(len(at), bool)
    new[1:] = (np.diff(rows.groups[at]) != 0) | (np.diff(rows.sources[at]) != 0)
    rank = np.arange(len(at)) - np.maximum.accumulate(np.where(new, np.arange(len(at)), 0))
    beyond[at] = rank >= limits[rows.sources[at]]
    return beyond


def list_copies(
    parts: Sequence[CorpusPart], rows: RowFacts, decision: RowDecision
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield a row of text for each removed copy.

    Its key and source, key and source of the image that is kept, and how their labels agree.
    """
    for row in np.flatnonzero(decision.of >= 0):
        copy, place = _part_and_row(parts, rows, int(row))
        original, first = _part_and_row(parts, rows, int(decision.of[row]))
        words = AGREEMENT_WORDS[decision.labels[row]]
        yield copy.key(place), copy.source, original.key(first), original.source, words


def _part_and_row(parts: Sequence[CorpusPart], rows: RowFacts, row: int) -> tuple[CorpusPart, int]:
    part = int(np.searchsorted(rows.starts, row, side="right")) - 1
    return parts[part], row - int(rows.starts[part])
