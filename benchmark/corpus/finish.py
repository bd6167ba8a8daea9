"""Finish a corpus from its parts: remove duplicates, write the index, then `corpus.json`."""

import csv
import hashlib
import io
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.clock import utc_now
from ...core.errors import UserError, one_line
from ...core.files import write_atomic
from ...tasks.pseudonymize import NO_GROUP
from .arrow import pa, parquet
from .build_part import CorpusPart, CorpusSettings, index_schema, read_problems
from .contact_sheet import write_sheet
from .corpus import DUPLICATES, INDEX, PARTS, PROBLEMS, Corpus, SourceFacts, write_corpus
from .duplicates import CONFLICT, RowDecision, RowFacts, choose_rows, list_copies, read_rows
from .shard import copy_rows, image_offsets

_T = TypeVar("_T")
_ENCODING: Any = {"use_dictionary": ["source", "shard"]}  # other columns have few repeats; ill typed


def finish_corpus(
    folder: Path,
    facts: Sequence[SourceFacts],
    parts: Sequence[CorpusPart],
    settings: CorpusSettings,
    request: str,
) -> Corpus:
    """Make a corpus of its parts; may be repeated after being killed at any point.

    Args:
        facts: of the sources; an image that several of them hold is kept from the first.
        parts: all of them, sorted by source and number.
        request: see `Corpus`.
    """
    rows = read_rows(parts, [each.name for each in facts])
    decision = choose_rows(rows, facts)
    identity = _write_index(folder, parts, rows, decision.keep)
    removed, unread = _write_exclusions(folder, parts, rows, decision)
    sources = tuple(
        msgspec.structs.replace(
            each,
            duplicates=sum(count for (name, _), count in removed.items() if name == each.name),
            conflicts=removed[each.name, CONFLICT],
            problems=unread[each.name],
            **_kept_counts(rows, decision, position),
        )
        for position, each in enumerate(facts)
    )
    corpus = Corpus(
        variant=settings.variant, side=settings.side, sources=sources, identity=identity, request=request,
        made=utc_now(),
    )  # fmt: skip
    write_sheet(folder, corpus)
    write_corpus(folder, corpus)
    shutil.rmtree(folder / PARTS)
    return corpus


def _write_exclusions(
    folder: Path, parts: Sequence[CorpusPart], rows: RowFacts, decision: RowDecision
) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Write both CSVs; returns copies by (source, label agreement), and problems by source."""
    removed, unread = Counter[tuple[str, str]](), Counter[str]()
    _write_csv(
        folder / DUPLICATES,
        ("key", "source", "of key", "of source", "labels"),
        _count_rows(list_copies(parts, rows, decision), removed, lambda row: (row[1], row[4])),
    )
    _write_csv(
        folder / PROBLEMS,
        ("source", "file", "reason"),
        _count_rows(_problem_rows(parts), unread, lambda row: row[0]),
    )
    return removed, unread


def _kept_counts(rows: RowFacts, decision: RowDecision, position: int) -> dict[str, int]:
    mine = rows.sources == position
    groups = rows.groups[mine & decision.keep]
    return {
        "images": len(groups),
        "capped": int(decision.capped[mine].sum()),
        "groups": len(np.unique(groups[groups != NO_GROUP])),
    }


def _write_index(folder: Path, parts: Sequence[CorpusPart], rows: RowFacts, keep: NDArray[np.bool_]) -> str:
    """Write final shards and index, one row group per shard; returns the corpus's identity."""
    pieces = zip(parts, rows.starts[:-1], rows.starts[1:], strict=True)
    in_order = sorted(pieces, key=lambda piece: (piece[0].source, piece[0].number))
    identity = hashlib.sha256()

    def write(file: BinaryIO) -> None:
        with parquet.ParquetWriter(file, index_schema(), **_ENCODING) as writer:
            for part, start, stop in in_order:
                if stop == start:
                    continue
                table = _finish_shard(part, keep[start:stop])
                if len(table):
                    writer.write_table(table, row_group_size=len(table))
                    _add_identity(identity, table)

    write_atomic(folder / INDEX, write)
    return identity.hexdigest()


def _finish_shard(part: CorpusPart, keep: NDArray[np.bool_]) -> "pa.Table":
    """Write a part's final shard without the rows that are dropped; returns the rows that stay."""
    table = parquet.read_table(part.table).replace_schema_metadata(None)
    part.final.parent.mkdir(exist_ok=True)
    if keep.all():
        if not part.final.exists():
            _require_shard(part)
            part.shard.replace(part.final)
        return table
    table = table.filter(pa.array(keep))
    if not len(table):
        return table
    if not part.final.exists():  # else an earlier call was killed after writing the same bytes
        _require_shard(part)
        with part.shard.open("rb") as shard:
            write_atomic(part.final, lambda file: copy_rows(shard, keep, file))
    with part.final.open("rb") as shard:
        moved = pa.array(image_offsets(shard), pa.int64())
    return table.set_column(table.schema.get_field_index("offset"), "offset", moved)


def _require_shard(part: CorpusPart) -> None:
    if not part.shard.is_file():
        raise UserError(f"{part.shard} is missing: delete {part.folder} and build the corpus anew.")


def _add_identity(identity: "hashlib._Hash", table: "pa.Table") -> None:
    """Hash keys, pixels and labels; salted groups and offsets differ between machines."""
    for row in zip(*(table[name].to_pylist() for name in ("key", "sha256", "label")), strict=True):
        identity.update(repr(row).encode())


def _problem_rows(parts: Iterable[CorpusPart]) -> Iterator[tuple[str, ...]]:
    for part in parts:
        for problem in read_problems(part):
            yield (part.source, problem.name, problem.reason)


def _count_rows(rows: Iterable[tuple[str, ...]], counts: Counter, key) -> Iterator[tuple[str, ...]]:
    for row in rows:
        counts[key(row)] += 1
        yield row


def _write_csv(path: Path, names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([*map(one_line, row)] for row in rows)
        text.detach()  # flushes without closing the caller's file

    write_atomic(path, write)
