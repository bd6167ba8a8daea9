"""Tasks and npz sets as sources of a corpus: the splits that their card allows, read a thousand at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ....tasks.databases.catalogue import canonical, known
from ....tasks.task import Places, Split, Task
from ..corpus import SourceFacts
from ..source import Item, Unit

PER_UNIT = 1000
"""Images that one process reads in one go."""


@dataclass(frozen=True, eq=False)
class TaskSource:
    """The images of a task, or of a set that only pretrains.

    Attributes:
        task: its card, which also knows how to load it.
        places: where its file may stand.
        splits: which of its splits are taken.
        size: side in pixels of the stored images.
        per_unit: images per unit.
    """

    task: Task
    places: Places = field(repr=False)
    splits: tuple[str, ...]
    size: int
    per_unit: int = PER_UNIT

    @property
    def facts(self) -> SourceFacts:
        """Take over the task's card."""
        same = ("name", "licence", "source_group", "parents", "kind", "classes", "modality", "variant")
        kept = {key: getattr(self.task, key) for key in (*same, "citation")}
        words = (self.task.name, self.task.source_group)
        database = next((canonical(word) for word in words if known(word)), "")
        return SourceFacts(database=database, splits=self.splits, **kept)

    def units(self) -> Iterator[Unit]:
        """Cut the splits into pieces; each carries the hash of the file."""
        content = self.task.source.fingerprint(self.size, self.places)
        number = 0
        for split, length in self._lengths():
            for start in range(0, length, self.per_unit):
                stop = min(start + self.per_unit, length)
                yield Unit(number, (content, split, start, stop))
                number += 1

    def read(self, unit: Unit) -> Iterator[Item]:
        """Give the images of a piece of a split."""
        content, split, start, stop = unit.what
        rows = self._splits(content)[split]
        multilabel = self.task.kind == "multilabel"
        for at in range(start, stop):
            label = tuple(map(int, rows.labels[at])) if multilabel else (int(rows.labels[at]),)
            group = "" if rows.groups is None else str(rows.groups[at])
            yield Item(rows.images[at], label, group, f"{split} {at}")

    def _lengths(self) -> list[tuple[str, int]]:
        splits = self._splits(self.task.source.fingerprint(self.size, self.places))
        return [(split, len(splits[split])) for split in self.splits if split in splits]

    def _splits(self, content: str) -> Mapping[str, Split]:
        return _loaded(content, self.task, self.size, self.places)


@lru_cache(maxsize=1)  # a process reads unit after unit of one source
def _loaded(content: str, task: Task, size: int, places: Places) -> Mapping[str, Split]:
    return task.source.load(size, places)
