"""Folders of DICOM files, with or without suffixes: labels by series, study, patient, header or folder."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from ....core.errors import UserError
from ....tasks.from_files.folders import files_below
from ....tasks.images.dicom_headers import DicomKeys, is_candidate, read_keys
from ....tasks.images.reader import ReaderTable, UnreadableError, read_images
from ..file_source import (
    FileEntry,
    FileSource,
    entry_of,
    facts_of,
    folder_of,
    reader_of,
    reading_of,
    shown_name,
)
from ..source import SOURCES, ReadProblem, SourceCard, SourceItem, SourceKind, WorkUnit
from .table import LABELS, column_of, header_of, names_of, rows_of

FIELDS = ("Modality", "BodyPartExamined", "ViewPosition", "ImageLaterality", "PatientSex")
"""Header fields that may be labels: a few plain words each, none of which names a patient."""
LEVELS = ("series", "study", "patient")

_Item = TypeVar("_Item")
Slice = tuple[str, DicomKeys | None]
"""A file relative to the root, and its header unless that is broken."""
Labels = Callable[[Slice], tuple[str, ...]]
"""Gives the labels of a file, none where it has none."""


@dataclass(frozen=True, eq=False)
class DicomSource(FileSource):
    """Files of which some may have no label, which is a problem that is counted.

    Attributes:
        unlabeled: why a file has none.
    """

    unlabeled: str = ""

    def read(self, unit: WorkUnit) -> Iterator[SourceItem | ReadProblem]:
        """Decode the files of a unit that have a label, and say of the others what is wrong with them."""
        yield from super().read(WorkUnit(unit.number, tuple(entry for entry in unit.what if entry.label)))
        reading = reading_of({**self.reader, "frames": 1}, self.facts.name)
        for entry in unit.what:
            if entry.label:
                continue
            reason = self.unlabeled
            try:  # what is no image lacks more than a label
                next(read_images(self.root / entry.path, reading), None)
            except UnreadableError as error:
                reason = str(error)
            yield ReadProblem(shown_name(entry.path), reason)


def open_dicom(card: SourceCard, folder: Path) -> DicomSource:
    """Open a folder of DICOM files.

    Raises:
        UserError: there is no such folder, or the labels are not where the card says, or of one class.
    """
    root = folder_of(card, folder)
    labels, unlabeled, field = _label_rule(card, folder)
    files = partial(scan_dicom, root, field, time.monotonic())
    found = {label for each in files() for label in labels(each)}
    classes = card.classes or tuple(sorted(found))
    if (known := len(found.intersection(classes))) < 2:
        raise UserError(
            f"{root}: the labels of '{card.name}' ({card.labels_from}) name {known} of its classes, and at "
            "least two are needed: correct 'labels_from' or 'classes'."
        )
    listing = partial(_file_entries, root, files, classes, labels, card)
    return DicomSource(facts_of(card, classes), root, listing, reader_of(card), unlabeled=unlabeled)


@lru_cache(maxsize=32)  # a build lists the files several times, and a million headers take minutes
def scan_dicom(root: Path, field: str, opened_at: float) -> tuple[Slice, ...]:
    """Read the headers below a folder, in the order of their paths; what is clearly no DICOM is left out.

    Args:
        root: the folder.
        field: one more field to read, "" for none.
        opened_at: when the source was opened, so that one that is opened later sees what has changed.
    """
    paths = (path for path in files_below(root) if is_candidate(root / path))
    return tuple((path, read_keys(root / path, field)) for path in paths)


def cap_series(slices: Iterable[Slice], per_series: int, per_patient: int) -> list[Slice]:
    """Keep so many files of each series and so many series of each patient, evenly spaced; 0 keeps all.

    Files whose header is broken are kept, for the list of problems.
    """
    series: dict[tuple[str, str], list[Slice]] = defaultdict(list)
    kept: list[Slice] = []
    for each in slices:
        about = each[1]
        if about is None:
            kept.append(each)
        else:
            series[about.patient or about.study, about.series].append(each)
    of_patient: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key in series:
        # who has neither patient nor study is nobody's: its series do not share a cap
        of_patient[key[0] or key[1]].append(key)
    for keys in of_patient.values():
        for key in _evenly_spaced(sorted(keys), per_patient):
            # Header.number is the place in the series; the path decides where it is missing
            kept += _evenly_spaced(sorted(series[key], key=_slice_order), per_series)
    return kept


def _slice_order(each: Slice) -> tuple[float, str]:
    return (each[1].number if each[1] else 0.0, each[0])


def _evenly_spaced(things: Sequence[_Item], most: int) -> Sequence[_Item]:
    return [things[at] for at in ReaderTable(frames=most).chosen(len(things))] if most else things


def _file_entries(
    root: Path,
    files: Callable[[], Iterable[Slice]],
    classes: tuple[str, ...],
    labels: Labels,
    card: SourceCard,
) -> Iterator[FileEntry]:
    label_of: dict[Slice, tuple[int, ...]] = {}
    for each in files():
        names = [name for name in labels(each) if name in classes]
        if card.labels == "multilabel" and names:
            label_of[each] = tuple(int(name in names) for name in classes)
        else:
            label_of[each] = (classes.index(names[0]),) if names else ()
    # what has no label is a problem to report, and takes no other file's place
    labeled = [each for each, label in label_of.items() if label]
    kept = set(cap_series(labeled, card.slices_per_series, card.series_per_patient))
    for each, label in label_of.items():
        if each in kept or not label:
            yield entry_of(root, each[0], label)


def _label_rule(card: SourceCard, folder: Path) -> tuple[Labels, str, str]:
    """Return what labels a file, why a file has none, and the header field that has to be read for it."""
    if card.labels_from == "folder":
        return _folder_label, "it lies in no folder that is a class", ""
    if card.labels_from in FIELDS:
        reason = f"its header has no {card.labels_from}, or one that is no class"
        return _header_label, reason, card.labels_from
    if not card.labels_from.lower().endswith(".csv"):
        fields = ", ".join(FIELDS)
        raise UserError(
            f"The card of '{card.name}', key 'labels_from': '{card.labels_from}' is neither 'folder', "
            f"nor a header field ({fields}), nor a .csv file."
        )
    level, table = _read_label_table(folder / card.labels_from, card)
    return partial(_table_label, level, table), f"its {level} has no label in the table", ""


def _folder_label(each: Slice) -> tuple[str, ...]:
    first, _, rest = each[0].partition("/")
    return (first,) if rest else ()


def _header_label(each: Slice) -> tuple[str, ...]:
    return (each[1].value,) if each[1] and each[1].value else ()


def _table_label(level: str, table: Mapping[str, tuple[str, ...]], each: Slice) -> tuple[str, ...]:
    return table.get(getattr(each[1], level), ()) if each[1] else ()


def _read_label_table(path: Path, card: SourceCard) -> tuple[str, Mapping[str, tuple[str, ...]]]:
    """Read a CSV: at which level its keys stand, and the labels of each."""
    names = header_of(path)
    usual = tuple(name for name in names if _level_of(name))
    key = column_of(path, names, card.key_column, usual or ("series", "study", "patient"), "key_column")
    level = _level_of(key)
    if not level:
        raise UserError(f"{path}: the name of the column '{key}' must hold series, study or patient.")
    label = column_of(path, names, card.label_column, LABELS, "label_column")
    table: dict[str, tuple[str, ...]] = {}
    for line, row in rows_of(path):
        labels = tuple(names_of(row[label], card.labels == "multilabel"))
        if table.setdefault(row[key].strip(), labels) != labels:
            raise UserError(f"{path}, line {line}: this {level} has another label above.")
    return level, {key: tuple(filter(None, labels)) for key, labels in table.items()}


def _level_of(column: str) -> str:
    return next((level for level in LEVELS if level in column.lower()), "")


SOURCES.add("dicom", SourceKind(open_dicom))
