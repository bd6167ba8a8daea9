"""A first card for a folder, from what lies in it: table or class folders, columns, colours, modality."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...benchmark.errors import UserError
from ..readers.headers import header
from ..readers.reader import Reading, UnreadableError, pictures
from ..subgroups import MOST, fault_of_names
from ..task import SPLITS
from .find import class_folders, images_below
from .rows import LABELS, SEPARATOR, WORDS
from .spec import fault_of_path
from .table import read_table

if TYPE_CHECKING:
    import pandas as pd

NAMES: Mapping[str, tuple[str, ...]] = {
    "split_column": ("split", "set", "partition", "subset"),
    "patient_column": ("patient", "patient_id", "patientid", "subject", "subject_id", "pid"),
    "study_column": ("study", "study_id", "studyinstanceuid", "accession", "exam"),
}
"""What columns are usually called, in lower case."""
SUBGROUPS = (
    "sex",
    "gender",
    "age_band",
    "age_group",
    "scanner",
    "manufacturer",
    "site",
    "hospital",
    "centre",
)
MODALITIES = {
    "CT": "ct", "MR": "mri", "CR": "x-ray", "DX": "x-ray", "MG": "x-ray", "RG": "x-ray", "US": "ultrasound",
    "OPT": "oct", "OP": "fundus", "SM": "histopathology", "XC": "dermoscopy", "GM": "microscopy",
}  # fmt: skip
UNKNOWN = "unknown"
LOOKED_AT = 12
"""Files that are opened, evenly spaced, and rows whose paths are tried."""


def draft(folder: Path) -> dict[str, Any]:
    """Return the content of a card for a folder; what no file tells stands there as ``"unknown"``.

    Raises:
        UserError: there is neither one table of the files nor one folder per class, or no image.
    """
    tables = sorted(path for path in _files(folder) if path.suffix.lower() in (".csv", ".tsv", ".parquet"))
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise UserError(f"{folder} holds several tables ({names}): leave the one there that lists the files.")
    files, classes, kind, subgroups = _of_table(folder, tables[0]) if tables else _of_folders(folder)
    paths = files.pop("\0paths")
    modality, variant = _looked_at(folder / files.get("path", "."), paths)
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "my-task"
    extra = {"subgroups": subgroups} if subgroups else {}
    return {
        "name": name, "title": f"Images in {folder.resolve().name}", "kind": kind, "classes": classes,
        "modality": modality, "variant": variant, "source_group": name, "parents": [], "licence": UNKNOWN,
        "citation": "none", **extra, "files": files,
    }  # fmt: skip


def _files(folder: Path) -> list[Path]:
    class_folders(folder)  # says what is wrong with the folder
    return [path for path in folder.iterdir() if path.is_file()]


def _of_folders(folder: Path) -> tuple[dict[str, Any], list[str], str, list[str]]:
    classes = list(class_folders(folder))
    if len(classes) < 2:
        raise UserError(
            f"{folder} holds neither a CSV or Parquet table nor a folder per class: add a table with a row "
            "per file (path, label, patient), or sort the files into folders."
        )
    paths = sorted(path for name in classes for path in images_below(folder, name))
    return {"path": ".", "\0paths": paths}, classes, _kind(classes), []


def _of_table(folder: Path, table: Path) -> tuple[dict[str, Any], list[str], str, list[str]]:
    frame = read_table(table)
    column, root = _paths(folder, frame, table)
    files: dict[str, Any] = {"path": root, "table": table.name, "path_column": column}
    for key, usual in NAMES.items():
        found = [name for name in frame.columns if name.lower().replace(" ", "_") in usual]
        if found and (key != "split_column" or _are_splits(frame[found[0]])):
            files[key] = found[0]
    subgroups = [name for name in frame.columns if name.lower() in SUBGROUPS and _few(frame[name])]
    subgroups = [name for name in subgroups if not fault_of_names([name])]
    taken = {*files.values(), *subgroups}
    label = _label(table, [name for name in frame.columns if name not in taken], frame)
    files["label_column"] = label
    cells = sorted(set(frame[label]) - {""})
    several = any(SEPARATOR in cell for cell in cells)
    classes = sorted({part.strip() for cell in cells for part in cell.split(SEPARATOR)} if several else cells)
    if len(classes) < 2:
        raise UserError(
            f"{table}: its column '{label}' holds {len(classes)} classes: two at least are needed."
        )
    files["\0paths"] = list(frame[column])
    return files, classes, "multilabel" if several else _kind(classes), subgroups


def _paths(folder: Path, frame: "pd.DataFrame", table: Path) -> tuple[str, str]:
    """Find the column that names files, and the folder that they are named from."""
    roots = (".", *class_folders(folder))
    for root in roots:
        for column in frame.columns:
            cells = _spread(list(frame[column]))
            if all(not fault_of_path(cell, False) and (folder / root / cell).is_file() for cell in cells):
                return column, root
    raise UserError(
        f"{table}: no column names files that lie in {folder}: add one with their paths relative to it."
    )


def _label(table: Path, names: Sequence[str], frame: "pd.DataFrame") -> str:
    usual = [name for name in names if name.lower() in LABELS]
    few = [name for name in names if _few(frame[name])]
    if found := usual or few:
        return found[0]
    raise UserError(f"{table}: no column looks like a label: call it '{LABELS[0]}'.")


def _few(column: "pd.Series") -> bool:
    return 2 <= column.nunique() <= min(MOST, max(2, len(column) // 2))


def _are_splits(column: "pd.Series") -> bool:
    return {WORDS.get(cell, str(cell)) for cell in column.str.lower()} == set(SPLITS)


def _kind(classes: Sequence[str]) -> str:
    return "binary" if len(classes) == 2 else "multiclass"


def _spread(things: list[str]) -> list[str]:
    return things[:: max(1, len(things) // LOOKED_AT)]


def _looked_at(root: Path, paths: list[str]) -> tuple[str, str]:
    """Open a few files for their modality and colour; `UserError` where none can be read."""
    colours: set[int] = set()
    modalities: set[str] = set()
    reason = "there is none"
    for path in _spread(paths):
        try:
            colours |= {picture.pixels.ndim for picture in pictures(root / path, Reading(frames="middle"))}
        except UnreadableError as error:
            reason = str(error)
            continue
        if known := header(root / path, "Modality"):
            modalities.add(MODALITIES.get(known.value, UNKNOWN))
    if not colours:
        raise UserError(f"{root}: none of the images that were tried can be read: {reason}.")
    return modalities.pop() if len(modalities) == 1 else UNKNOWN, "color" if 3 in colours else "gray"
