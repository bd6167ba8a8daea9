"""Images that a CSV lists, with their labels, if any, and, where known, their patients."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ....core.errors import UserError
from ....tasks.from_files.folders import check_header
from ....tasks.patients import PatientMatcher, pair_with_patients
from ..file_source import FileEntry, FileSource, entry_of, facts_of
from ..source import NO_LABEL, SOURCES, SourceCard, SourceKind
from .folder import group_finder

PATHS, LABELS = ("path", "file", "filename"), ("label", "labels", "class")
GROUP_COLUMNS = ("patient", "patient_id", "study", "group")
_SEPARATOR = "|"
"""Separates the labels of one image."""


@dataclass(frozen=True)
class _Table:
    """A CSV and the names of its columns; `label` and `group` are "" where there is none."""

    path: Path
    source: str
    image: str
    label: str
    group: str


def open_table(card: SourceCard, folder: Path) -> FileSource:
    """Open a CSV; `UserError` if it is unreadable or lacks a column, or a label is no class."""
    path = folder / card.path
    header = header_of(path)
    table = _Table(
        path, card.name,
        column_of(path, header, card.path_column, PATHS, "path_column"),
        "" if card.labels == "none" else column_of(path, header, card.label_column, LABELS, "label_column"),
        column_of(path, header, card.group_column, GROUP_COLUMNS, "group_column", optional=True),
    )  # fmt: skip
    multilabel = card.labels == "multilabel"
    classes = card.classes or (_label_names(table, multilabel) if table.label else ())
    if table.label and len(classes) < 2:
        raise UserError(f"{path}: its labels name {len(classes)} class: at least two are needed.")
    index = {name: number for number, name in enumerate(classes)}
    root = folder / card.root if card.root else path.parent
    listing = _Listing(table, root, index, multilabel, group_finder(card))
    return FileSource(facts_of(card, classes), root, listing, card.reader)


@dataclass(frozen=True)
class _Listing:
    """Lists the images of a table; checks the label of every row."""

    table: _Table
    root: Path
    index: Mapping[str, int]
    multilabel: bool
    find: PatientMatcher | None

    def __call__(self) -> Iterator[FileEntry]:
        table, find = self.table, None if self.table.group else self.find
        for (line, row), patient in pair_with_patients(rows_of(table.path), self._path, find):
            group = row[table.group].strip() if table.group else patient
            label = self._label(line, row[table.label]) if table.label else NO_LABEL
            yield entry_of(self.root, self._path((line, row)), label, group)

    def _path(self, row: tuple[int, Mapping[str, str]]) -> str:
        return row[1][self.table.image].strip()

    def _label(self, line: int, text: str) -> tuple[int, ...]:
        names = names_of(text, self.multilabel)
        for name in names:
            if name not in self.index:
                known = ", ".join(self.index)
                raise UserError(
                    f"{self.table.path}, line {line}: '{name}' is no class of '{self.table.source}' "
                    f"({known}): correct the label or the card's classes."
                )
        if self.multilabel:
            return tuple(int(name in names) for name in self.index)
        return (self.index[names[0]],)


def names_of(text: str, multilabel: bool) -> list[str]:
    """Return the labels in a cell of the table."""
    if not multilabel:
        return [text.strip()]
    return [name.strip() for name in text.split(_SEPARATOR) if name.strip()]


def _label_names(table: _Table, multilabel: bool) -> tuple[str, ...]:
    seen: set[str] = set()
    for _, row in rows_of(table.path):
        seen.update(names_of(row[table.label], multilabel))
    return tuple(sorted(seen))


def column_of(
    path: Path, header: Iterable[str], given: str, usual: tuple[str, ...], key: str, optional: bool = False
) -> str:
    """Return the column that a card names, else the first usual one; `UserError` if missing."""
    names = tuple(header)
    chosen = [name for name in ((given,) if given else usual) if name in names]
    if chosen:
        return chosen[0]
    if optional and not given:
        return ""
    check_header(path, path.parent, names)
    wanted = f"'{given}'" if given else " or ".join(map(repr, usual))
    raise UserError(f"{path} has no column {wanted} among its {len(names):,}: name it by the card's '{key}'.")


def header_of(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of a CSV."""
    with _open_csv(path) as reader:
        return tuple(reader.fieldnames or ())


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of a CSV; `UserError` where cells do not match the header."""
    with _open_csv(path) as reader:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{path}, line {reader.line_num}: its cells are not those of the header: quote cells "
                    "that hold commas, or fill in what is missing."
                )
            yield reader.line_num, row


@contextmanager
def _open_csv(path: Path) -> Iterator["csv.DictReader[str]"]:
    """Open a CSV; `UserError` where it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel writes a byte order mark
            yield csv.DictReader(file)
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error
    except (ValueError, csv.Error) as error:  # not UTF-8, or an invalid path
        raise UserError(f"{path} is no CSV in UTF-8 ({error}): save it again.") from error


SOURCES.add("table", SourceKind(open_table))
