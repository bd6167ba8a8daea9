"""Draft of a card for a folder: table or class folders, columns, colors, modality."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ..images.dicom_headers import read_keys
from ..images.reader import ReaderTable, UnreadableError, read_images
from ..patients import few_have_several, is_placeholder, propose_pattern
from ..task import GROUP_NAMES, TASKS
from .columns import Keys, classify_columns
from .folders import (
    check_header,
    class_folders,
    class_images,
    classes_in,
    doubtful_classes,
    has_row_as_header,
    is_file,
    parse_split_name,
    splits_from_folders,
)
from .schema import fault_of_path
from .table import COUNT_AS_NOTHING, read_table
from .table_rows import LABEL_SEPARATOR

if TYPE_CHECKING:
    import pandas as pd

MODALITY_OF_DICOM = {
    "CT": "ct", "MR": "mri", "CR": "x-ray", "DX": "x-ray", "MG": "x-ray", "RG": "x-ray", "US": "ultrasound",
    "OPT": "oct", "OP": "fundus", "SM": "histopathology", "XC": "dermoscopy", "GM": "microscopy",
}  # fmt: skip
UNKNOWN_MODALITY = "unknown"
PROBED_FILES = 12
"""Number of files opened, evenly spaced, and of rows whose paths are tried."""


@dataclass(frozen=True)
class CardDraft:
    """Draft of a card, with open questions.

    Attributes:
        content: parsed card; unknown facts are ``"unknown"``.
        labels: candidate label columns, the chosen one first; () if a column is named as one.
        patients: candidate patient columns; () if a column is named as one, or without a table.
        splits: sources of splits, used and unused, a clause each.
        patient_doubt: clause on why the patient column may not name patients, or "".
        color_note: clause on gray images that are stored in color, or "".
    """

    content: dict[str, Any]
    labels: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    patient_doubt: str = ""
    color_note: str = ""


@dataclass(frozen=True)
class _FolderContent:
    """Paths of the images and card keys that a table or folders give."""

    paths: Sequence[str]
    classes: Sequence[str]
    kind: str
    files: Keys
    subgroups: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    split_words: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    patient_doubt: str = ""


def draft_card(folder: Path, answers: Mapping[str, str] | None = None) -> CardDraft:
    """Draft a card for a folder with a table or a folder per class.

    `answers` are columns that the user has named: key of the card's table `files` -> column.

    Raises:
        UserError: there is neither one table nor one folder per class, or no image.
    """
    class_folders(folder)  # raises for a folder that is missing or unreadable
    files = [path for path in folder.iterdir() if path.is_file()]
    tables = sorted(path for path in files if path.suffix.lower() in (".csv", ".tsv", ".parquet"))
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise UserError(f"{folder} holds several tables ({names}): leave the one there that lists the files.")
    found = _draft_from_table(folder, tables[0], answers or {}) if tables else _draft_from_folders(folder)
    splits = _describe_splits(folder / found.files["path"], found)
    modality, variant, note = _probe_images(folder / found.files["path"], found.paths)
    name = _task_name(folder)
    extra = {"subgroups": list(found.subgroups)} if found.subgroups else {}
    content = {
        "name": name, "title": f"Images in {folder.resolve().name}", "kind": found.kind,
        "classes": list(found.classes), "modality": modality, "variant": variant, "source_group": name,
        "parents": [], "license": UNKNOWN_MODALITY, "citation": "none", **extra, "files": dict(found.files),
    }  # fmt: skip
    return CardDraft(content, found.labels, found.patients, splits, found.patient_doubt, note)


def _task_name(folder: Path) -> str:
    """Derive an unused task name from the folder's name."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "my-task"
    return f"my-{name}" if name in GROUP_NAMES or name in TASKS else name


def _draft_from_folders(folder: Path) -> _FolderContent:
    classes = classes_in(folder)
    if len(classes) < 2:
        raise UserError(
            f"{folder} holds neither a CSV or Parquet table nor a folder per class: add a table with a row "
            "per file (path, label, patient; Excel saves it as CSV UTF-8), or sort the files into folders."
        )
    paths = sorted(path for name in classes for path in class_images(folder, name))
    doubt = doubtful_classes(folder)
    return _FolderContent(
        paths, classes, _label_kind(classes), {"path": "."}, unused=(doubt,) if doubt else ()
    )


def _draft_from_table(folder: Path, table: Path, answers: Mapping[str, str]) -> _FolderContent:
    frame = read_table(table)
    column, root = _find_path_column(folder, frame, table)
    found = classify_columns(table, frame, column, answers)
    classes, several = _find_classes(table, frame, found.keys)
    return _FolderContent(
        paths=list(frame[column]),
        classes=classes,
        kind="multilabel" if several else _label_kind(classes),
        files={"path": root, "table": table.name, **found.keys},
        subgroups=found.subgroups,
        labels=found.labels,
        patients=found.patients,
        split_words=tuple(frame[found.keys["split_column"]]) if "split_column" in found.keys else (),
        unused=found.unused,
        patient_doubt=_patient_doubt(frame, found.keys, len(classes)),
    )


def _patient_doubt(frame: "pd.DataFrame", keys: Keys, classes: int) -> str:
    """Return a clause if hardly two files share a patient: the column may number images."""
    column = keys.get("patient_column")
    cells = frame[column] if column else ()
    named = Counter(cell for cell in cells if not is_placeholder(cell))
    several = sum(many > 1 for many in named.values())
    if not few_have_several(several, len(named)):
        return ""
    shared = f"no two files share a value of '{column}'"
    if several:
        shared = f"files share only {several:,} of the {len(named):,} values of '{column}'"
    return (
        f"{shared}, which is taken for the patient: if any{' other' * bool(several)} patient has two, "
        f"correct patient_column; {propose_pattern(list(frame[keys['path_column']]), classes)}"
    )


def _describe_splits(root: Path, found: _FolderContent) -> tuple[str, ...]:
    """Describe used and unused sources of splits; `UserError` as `splits_from_folders`."""
    names = {parse_split_name(word) for word in found.split_words}
    source, clause = f"the column '{found.files.get('split_column')}'", ""
    if not names:
        splits, clause = splits_from_folders(root, found.paths)
        names, source = {*splits}, "the names of the folders"
    by = f"by {_split_unit(root, found)} and equal images"
    val = "" if "val" in names else f", without a val, which is cut from train {by}"
    used = [f"splits are taken from {source}{val}"] if names else []
    return (*used, *filter(None, [clause]), *found.unused)


def _split_unit(root: Path, found: _FolderContent) -> str:
    """Return the unit that splits keep whole: patient or study of card or header, else file."""
    keys = [key for path in _sample(found.paths) if (key := read_keys(root / path))]
    if "patient_column" in found.files or any(key.patient for key in keys):
        return "patient"
    return "study" if "study_column" in found.files or any(key.study for key in keys) else "file"


def _find_classes(table: Path, frame: "pd.DataFrame", keys: Keys) -> tuple[Sequence[str], bool]:
    """Return the classes, numbers in numeric order, and whether an image can have several."""
    if "label_columns" in keys:
        return tuple(keys["label_columns"]), True
    cells = set(frame[keys["label_column"]]) - {""}
    several = any(LABEL_SEPARATOR in cell for cell in cells)
    classes = (
        {part.strip() for cell in cells for part in cell.split(LABEL_SEPARATOR)} - {""} if several else cells
    )
    if len(classes) < 2:
        label = keys["label_column"]
        raise UserError(
            f"{table}: its column '{label}' holds {len(classes)} classes: two at least are needed"
            f"{f'; {COUNT_AS_NOTHING}, so call such a class otherwise' if '' in set(frame[label]) else ''}."
        )
    return sorted(classes, key=int if are_grades(classes) else str), several


def are_grades(classes: Collection[str]) -> bool:
    """Whether the classes are more than two whole numbers, which have an order."""
    return len(classes) > 2 and all(re.fullmatch(r"[0-9]{1,9}", name) for name in classes)


def _find_path_column(folder: Path, frame: "pd.DataFrame", table: Path) -> tuple[str, str]:
    """Find the column of file paths and the folder that they are relative to."""
    roots = (".", *class_folders(folder))
    for root in roots:
        check_header(table, folder / root, frame.columns)
    if has_row_as_header(frame):  # before a sentence or the card names a column
        raise UserError(
            f"{table}: its first line may be a row: add a line of column names above it, or rename the "
            "column that is called as one of its own cells."
        )
    for root in roots:
        for column in frame.columns:
            cells = _sample(list(frame[column]))
            there = sum(not fault_of_path(cell, False) and is_file(folder / root / cell) for cell in cells)
            if 2 * there > len(cells):  # `validate` names the lines of those that are not
                return column, root
    raise UserError(
        f"{table}: no column names files that lie in {folder}: add one, a row per file, with their paths "
        "relative to it and / between folders."
    )


def _label_kind(classes: Sequence[str]) -> str:
    return "binary" if len(classes) == 2 else "multiclass"


def _sample(things: Sequence[str]) -> Sequence[str]:
    return things[:: max(1, len(things) // PROBED_FILES)]


def _probe_images(root: Path, paths: Sequence[str]) -> tuple[str, str, str]:
    """Open a few files for modality and variant, and a clause on gray stored in color.

    `UserError` if none can be read.
    """
    grays: list[bool] = []
    stored_in_color = False
    modalities: set[str] = set()
    reason = "there is none"
    for path in _sample(paths):
        try:
            for picture in read_images(root / path, ReaderTable(frames="middle")):
                grays.append(picture.is_gray)
                stored_in_color |= picture.values.ndim == 3
        except UnreadableError as error:
            reason = str(error)
            continue
        if known := read_keys(root / path, "Modality"):
            modalities.add(MODALITY_OF_DICOM.get(known.value, UNKNOWN_MODALITY))
    if not grays:
        raise UserError(f"{root}: none of the images that were tried can be read: {reason}.")
    modality = modalities.pop() if len(modalities) == 1 else UNKNOWN_MODALITY
    if not all(grays):
        return modality, "color", ""
    opened = f"the {len(grays):,} images that were opened"
    note = f'{opened} are stored in color and hold gray alone, therefore variant = "gray"'
    return modality, "gray", note if stored_in_color else ""
