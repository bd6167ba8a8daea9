"""Tasks and npz sets as sources of a corpus: the splits allowed for pretraining."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...core.errors import UserError
from ...tasks.databases.tables import canonical_id, is_known
from ...tasks.images.bit_depth import to_uint8
from ...tasks.pseudonymize import NO_GROUP
from ...tasks.task import DataLocations, Split, Task
from .corpus import SourceFacts
from .source import SourceItem, WorkUnit

IMAGES_PER_UNIT = 1000
"""Images that one process reads as one unit."""


@dataclass(frozen=True, eq=False)
class TaskSource:
    """Images of a task, or of a set for pretraining only, stored with `size` pixels a side."""

    task: Task
    places: DataLocations = field(repr=False)
    splits: tuple[str, ...]
    size: int
    per_unit: int = IMAGES_PER_UNIT

    @property
    def facts(self) -> SourceFacts:
        """Facts of the task's card."""
        same = ("name", "license", "source_group", "parents", "kind", "classes", "modality", "variant")
        fields = {key: getattr(self.task, key) for key in (*same, "citation")}
        words = (self.task.name, self.task.source_group)
        database = next((canonical_id(word) for word in words if is_known(word)), "")
        return SourceFacts(database=database, splits=self.splits, **fields)

    def units(self) -> Iterator[WorkUnit]:
        """Yield ranges of rows of each split; a unit carries the hash of the file."""
        content = self.task.source.fingerprint(self.size, self.places)
        number = 0
        for split in self.splits:
            length = len(_split_rows(content, self, split))
            for start in range(0, length, self.per_unit):
                stop = min(start + self.per_unit, length)
                yield WorkUnit(number, (content, split, start, stop))
                number += 1

    def read(self, unit: WorkUnit) -> Iterator[SourceItem]:
        """Yield the images of a range of rows of a split."""
        content, split, start, stop = unit.what
        rows = _split_rows(content, self, split).read(start, stop)
        multilabel = self.task.kind == "multilabel"
        for at in range(stop - start):
            label = tuple(map(int, rows.labels[at])) if multilabel else (int(rows.labels[at]),)
            group = "" if rows.groups is None or rows.groups[at] == NO_GROUP else str(rows.groups[at])
            yield SourceItem(to_uint8(rows.images[at]), label, group, f"{split} {start + at}")


class SplitRows(Protocol):
    """A split whose rows can be read by range."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Split:
        """Read a range of rows."""
        ...


@runtime_checkable
class StreamedSource(Protocol):
    """A data source of a task that can read rows without loading the whole file."""

    def rows(self, split: str, size: int, places: DataLocations) -> SplitRows:
        """Open one split; `UserError` if its file is damaged or missing."""
        ...


@dataclass(frozen=True, eq=False)
class _InMemoryRows:
    """A split in memory, of a source that generates its images or loads whole files."""

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    def read(self, start: int, stop: int) -> Split:
        return self.split.at(slice(start, stop))


def _split_rows(content: str, source: TaskSource, split: str) -> SplitRows:
    path = getattr(source.task.source, "path", None)  # tasks are equal wherever their file is
    return _open_rows(content, path, source.task, source.places, source.size, split)


@lru_cache(maxsize=1)  # a process reads units in order, and so opens each file once
def _open_rows(
    content: str, _path: Path | None, task: Task, places: DataLocations, size: int, split: str
) -> SplitRows:
    if isinstance(task.source, StreamedSource):
        return task.source.rows(split, size, places)
    splits = task.source.load(size, places)
    if split not in splits:
        raise UserError(f"{task.name} has no split '{split}': it has {', '.join(splits)}.")
    return _InMemoryRows(splits[split])
