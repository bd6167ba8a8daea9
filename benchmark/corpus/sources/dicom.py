"""Folders of DICOM files, labeled by series, study, patient, header or folder, or not at all."""

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
from ..source import NO_LABEL, SOURCES, ReadProblem, SourceCard, SourceItem, SourceKind, WorkUnit
from .table import LABELS, column_of, header_of, names_of, rows_of

FIELDS = ("Modality", "BodyPartExamined", "ViewPosition", "ImageLaterality", "PatientSex")
"""Header fields that may be labels: each has few values, none of which identifies a patient."""
LEVELS = ("series", "study", "patient")

_Item = TypeVar("_Item")
Slice = tuple[str, DicomKeys | None]
"""Path of a file relative to the root, and its header, None if broken."""
Labels = Callable[[Slice], tuple[str, ...]]
"""Returns the labels of a file; empty where it has none."""


@dataclass(frozen=True, eq=False)
class DicomSource(FileSource):
    """DICOM files; one without a label is a problem, with the reason `unlabeled`."""

    unlabeled: str = ""

    def read(self, unit: WorkUnit) -> Iterator[SourceItem | ReadProblem]:
        """Decode the labeled files of a unit, and yield a problem for each of the others."""
        yield from super().read(WorkUnit(unit.number, tuple(entry for entry in unit.what if entry.label)))
        reading = reading_of({**self.reader, "frames": 1}, self.facts.name)
        for entry in unit.what:
            if entry.label:
                continue
            reason = self.unlabeled
            try:  # a file that is no image has a better reason than its missing label
                next(read_images(self.root / entry.path, reading), None)
            except UnreadableError as error:
                reason = str(error)
            yield ReadProblem(shown_name(entry.path), reason)


def open_dicom(card: SourceCard, folder: Path) -> DicomSource:
    """Open a folder of DICOM files; `UserError` if folder, labels or a second class are missing."""
    root = folder_of(card, folder)
    if card.labels == "none":
        files = partial(scan_dicom, root, "", time.monotonic())
        listing = partial(_unlabeled_entries, root, files, card)
        return DicomSource(facts_of(card, ()), root, listing, reader_of(card))
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


@lru_cache(maxsize=32)  # a build lists the files several times; a million headers take minutes
def scan_dicom(root: Path, field: str, opened_at: float) -> tuple[Slice, ...]:
    """Read the headers below a folder, sorted by path, without files that are not DICOM.

    Args:
        field: one more header field to read, "" for none.
        opened_at: when the source was opened: a source opened later must not get this cached result.
    """
    paths = (path for path in files_below(root) if is_candidate(root / path))
    return tuple((path, read_keys(root / path, field)) for path in paths)


def cap_series(slices: Iterable[Slice], per_series: int, per_patient: int) -> list[Slice]:
    """Limit the files of each series and the series of each patient, evenly spaced; 0 keeps all.

    Files with a broken header stay, for the list of problems.
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
        # series without patient and study ids do not share a cap
        of_patient[key[0] or key[1]].append(key)
    for keys in of_patient.values():
        for key in _evenly_spaced(sorted(keys), per_patient):
            kept += _evenly_spaced(sorted(series[key], key=_slice_order), per_series)
    return kept


def _slice_order(each: Slice) -> tuple[float, str]:
    """Return the place in the series, then the path, for files whose header has no number."""
    return (each[1].number if each[1] else 0.0, each[0])


def _evenly_spaced(things: Sequence[_Item], most: int) -> Sequence[_Item]:
    return [things[at] for at in ReaderTable(frames=most).frame_indices(len(things))] if most else things


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
    # a file without a label is reported as a problem and does not count towards the caps
    labeled = [each for each, label in label_of.items() if label]
    kept = set(cap_series(labeled, card.slices_per_series, card.series_per_patient))
    for each, label in label_of.items():
        if each in kept or not label:
            yield entry_of(root, each[0], label)


def _unlabeled_entries(
    root: Path, files: Callable[[], Iterable[Slice]], card: SourceCard
) -> Iterator[FileEntry]:
    kept = set(cap_series(files(), card.slices_per_series, card.series_per_patient))
    return (entry_of(root, each[0], NO_LABEL) for each in files() if each in kept)


def _label_rule(card: SourceCard, folder: Path) -> tuple[Labels, str, str]:
    """Return the labeling function, the reason of a missing label, and the header field to read."""
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
    """Read a CSV: level of its keys (series, study, patient), and the labels of each key."""
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
