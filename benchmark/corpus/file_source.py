"""Sources that list files: units of up to `FILES_PER_UNIT` files, decoded by the readers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import UserError, unknown_name_error
from ...tasks.databases.tables import find_database
from ...tasks.images.reader import ReaderTable, UnreadableError, read_images
from .corpus import SourceFacts
from .source import ReadProblem, SourceCard, SourceItem, WorkUnit

FILES_PER_UNIT = 1000
"""Files that one process reads as one unit."""


class FileEntry(msgspec.Struct, frozen=True, array_like=True):
    """One file: path relative to the root, label, group, bytes and mtime in ns (-1: missing)."""

    path: str
    label: tuple[int, ...]
    group: str = ""
    size: int = -1
    changed: int = -1


@dataclass(frozen=True, eq=False)
class FileSource:
    """Images in files.

    Attributes:
        root: folder to which the entries' paths are relative.
        listing: lists the files in a fixed order; a module's function or a `functools.partial` of one,
            so that it can be pickled.
        reader: fields of `ReaderTable`.
        per_unit: files per unit; fewer where one file holds many images.
    """

    facts: SourceFacts
    root: Path
    listing: Callable[[], Iterable[FileEntry]]
    reader: dict[str, Any]
    per_unit: int = FILES_PER_UNIT

    def units(self) -> Iterator[WorkUnit]:
        """Yield the files in chunks of `per_unit`."""
        entries = iter(self.listing())
        number = 0
        while chunk := tuple(islice(entries, self.per_unit)):
            yield WorkUnit(number, chunk)
            number += 1

    def read(self, unit: WorkUnit) -> Iterator[SourceItem | ReadProblem]:
        """Decode the files of a unit; one that cannot be read gives a `ReadProblem`."""
        reading = reading_of(self.reader, self.facts.name)
        for entry in unit.what:
            try:
                for picture in read_images(self.root / entry.path, reading):
                    yield SourceItem(
                        picture.pixels, entry.label, entry.group or picture.group, shown_name(entry.path)
                    )
            except UnreadableError as error:
                yield ReadProblem(shown_name(entry.path), str(error))


def folder_of(card: SourceCard, folder: Path) -> Path:
    """Return the folder that a card in `folder` names; `UserError` if it does not exist."""
    root = folder / card.path
    if not root.is_dir():
        raise UserError(
            f"The card of '{card.name}' names the folder {root}, which does not exist: correct 'path'."
        )
    return root


def reader_of(card: SourceCard) -> dict[str, Any]:
    """Return the fields of `ReaderTable` that a card sets, `slices_per_series` among them."""
    return {"frames": card.slices_per_series, **card.reader} if card.slices_per_series else card.reader


def reading_of(given: dict[str, Any], source: str) -> Any:
    """Convert a card's `reader` table to `ReaderTable`; `UserError` names a wrong field."""
    names = [field.name for field in fields(ReaderTable)]
    for name in given:
        if name not in names:
            raise UserError(f"The card of '{source}', key 'reader': {unknown_name_error('key', name, names)}")
    try:
        return msgspec.convert(given, ReaderTable, strict=False)
    except msgspec.ValidationError as error:
        raise UserError(f"The card of '{source}', key 'reader': {error}.") from error


def entry_of(root: Path, path: str, label: tuple[int, ...], group: str = "") -> FileEntry:
    """Return the entry of a file with its present size and mtime."""
    try:
        state = (root / path).stat()
    except (OSError, ValueError):  # reported when the file is read
        return FileEntry(path, label, group)
    return FileEntry(path, label, group, state.st_size, state.st_mtime_ns)


def facts_of(card: SourceCard, classes: Iterable[str]) -> SourceFacts:
    """Return the facts of a card; `classes` are its own, else those found, alphabetically.

    Raises:
        UserError: `database` is not in the catalog, or the classes do not fit `labels`.
    """
    classes = tuple(classes)
    if card.labels == "none" and card.classes:
        raise UserError(f"The card of '{card.name}' has no labels, so leave its 'classes' out.")
    if len(set(classes)) < len(classes):
        raise UserError(f"The card of '{card.name}': it names one of its classes twice: name each once.")
    if card.labels == "binary" and len(classes) != 2:
        raise UserError(f"The card of '{card.name}': binary labels have 2 classes, not {len(classes)}.")
    if card.labels == "ordinal" and not card.classes:
        raise UserError(
            f"The card of '{card.name}': name its 'classes' in their order: the labels are ordinal."
        )
    database = find_database(card.database).id if card.database else ""
    same = ("name", "license", "source_group", "parents", "modality", "variant", "citation")
    fields_of_card = {key: getattr(card, key) for key in (*same, "max_per_group")}
    kind = "multiclass" if card.labels == "none" else card.labels
    return SourceFacts(database=database, kind=kind, classes=classes, **fields_of_card)


def shown_name(path: str) -> str:
    """Return a file's path in its source, without folders outside of it."""
    return path if not Path(path).is_absolute() and ".." not in Path(path).parts else Path(path).name
