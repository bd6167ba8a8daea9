"""Write one unit of work to disk: a shard and its table, each complete or absent."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ...core.files import write_atomic
from ...tasks.images.perceptual_hash import perceptual_hash
from ...tasks.pseudonymize import group_number
from ...tasks.task import Variant
from .arrow import pa, parquet
from .corpus import PARTS, SHARDS
from .images import UnusableError, encode_png, pixel_hash, to_stored
from .shard import ShardWriter, facts_json
from .source import CorpusSource, ReadProblem, WorkUnit

INDEX_COLUMNS = (
    "key", "source", "shard", "offset", "size", "label", "group", "sha256", "phash", "height", "width",
)  # fmt: skip


@dataclass(frozen=True)
class CorpusSettings:
    """Gray or color, longest side of images in pixels, and salt of the group ids."""

    variant: Variant
    side: int
    salt: bytes = field(repr=False)


@dataclass(frozen=True)
class CorpusPart:
    """Paths of a unit's results: `number` counts the units of a source, `folder` is the corpus."""

    folder: Path
    source: str
    number: int

    @property
    def name(self) -> str:
        """Name of the unit, unique within the corpus."""
        return f"{self.source}-{self.number:05d}"

    @property
    def table(self) -> Path:
        """Rows and problems; written after the shard, so that a unit with a table is finished."""
        return self.folder / PARTS / f"{self.name}.parquet"

    @property
    def shard(self) -> Path:
        """Shard of all images that were read, duplicates included."""
        return self.folder / PARTS / f"{self.name}.tar"

    @property
    def final(self) -> Path:
        """Shard without duplicates."""
        return self.folder / SHARDS / f"{self.name}.tar"

    def key(self, row: int) -> str:
        """Return the key of the image in a row of this unit."""
        return f"{self.source}-{self.number:05d}{row:06d}"


def index_schema() -> "pa.Schema":
    """Return the Arrow schema of the index; docs/build-a-mednet.md lists its columns."""
    text, wide, side = pa.string(), pa.int64(), pa.int32()
    types = (text, text, text, wide, wide, pa.list_(pa.int32()), wide, text, pa.uint64(), side, side)
    return pa.schema(list(zip(INDEX_COLUMNS, types, strict=True)))


def make_part(
    source: CorpusSource, unit: WorkUnit, folder: Path, settings: CorpusSettings
) -> tuple[int, int]:
    """Read a unit and write its shard, then its table.

    Returns:
        Number of images, and of images that could not be read.

    Raises:
        UserError, DiskFullError: as `write_atomic`; an unreadable image raises nothing.
    """
    part = CorpusPart(folder, source.facts.name, unit.number)
    columns: dict[str, list[Any]] = {name: [] for name in INDEX_COLUMNS}
    problems: list[ReadProblem] = []

    def write(file: BinaryIO) -> None:
        shard = ShardWriter(file)
        for row in _index_rows(source, unit, part, settings, shard, problems):
            for name, value in zip(INDEX_COLUMNS, row, strict=True):
                columns[name].append(value)
        shard.close()

    write_atomic(part.shard, write)
    notes = {"problems": json.dumps([(problem.name, problem.reason) for problem in problems])}
    table = pa.table(columns, index_schema().with_metadata(notes))
    write_atomic(part.table, lambda file: parquet.write_table(table, file))
    return len(table), len(problems)


def _index_rows(
    source: CorpusSource,
    unit: WorkUnit,
    part: CorpusPart,
    settings: CorpusSettings,
    shard: ShardWriter,
    problems: list[ReadProblem],
) -> Iterator[tuple[Any, ...]]:
    row, color = 0, settings.variant == "color"
    for found in source.read(unit):
        if isinstance(found, ReadProblem):
            problems.append(found)
            continue
        try:
            pixels = to_stored(found.pixels, color, settings.side)
        except UnusableError as error:
            problems.append(ReadProblem(found.name, str(error)))
            continue
        content, digest, key = encode_png(pixels), pixel_hash(pixels), part.key(row)
        offset = shard.add(key, content, facts_json(part.source, found.label, digest))
        group = group_number(settings.salt, part.source, found.group)
        yield (
            key, part.source, part.final.name, offset, len(content), found.label, group,
            digest, perceptual_hash(pixels), *pixels.shape[:2],
        )  # fmt: skip
        row += 1


def read_problems(part: CorpusPart) -> list[ReadProblem]:
    """List the files of a finished unit that could not be read."""
    notes = parquet.read_schema(part.table).metadata
    return [ReadProblem(*each) for each in json.loads(notes[b"problems"])]
