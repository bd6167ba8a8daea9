"""Draft of a card for a folder: table or class folders, columns, colors, modality, and what was decided."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ..images.dicom_headers import read_keys
from ..images.reader import ReaderTable, UnreadableError, read_images
from ..patients import few_have_several, is_placeholder, propose_pattern
from ..task import GROUP_NAMES, TASKS
from .columns import Keys, classify_columns
from .draft_paths import DraftChoice, FilePaths, find_paths
from .folders import (
    class_folders,
    class_images,
    classes_in,
    doubtful_classes,
    empty_folders,
    is_file,
    is_of_tools,
    parse_split_name,
    splits_from_folders,
)
from .label_words import LabelWords, natural_order, read_label_words
from .schema import FilesTable
from .table import COUNT_AS_NOTHING, TABLE_SUFFIXES, blank_nothing
from .task_table import LINE, TABLE, TaskTable, read_task_table

if TYPE_CHECKING:
    import pandas as pd

MODALITY_OF_DICOM = {
    "CT": "ct", "MR": "mri", "CR": "x-ray", "DX": "x-ray", "MG": "x-ray", "RG": "x-ray", "US": "ultrasound",
    "OPT": "oct", "OP": "fundus", "SM": "histopathology", "XC": "dermoscopy", "GM": "microscopy",
}  # fmt: skip
UNKNOWN_MODALITY = "unknown"
PROBED_FILES = 12
"""Number of files opened, evenly spaced."""
FEWEST_FOLDERS = 3
"""Folders of one patient each that may be patients instead of classes."""
NO_CLASS = "none of the classes"
"""Answer that a label such as No finding is no class of a multilabel task."""
NO_COLUMN = "none"
"""Answer that no column names the patients."""


@dataclass(frozen=True)
class CardDraft:
    """Draft of a card, with what was decided and may be asked.

    Attributes:
        content: parsed card; unknown facts are ``"unknown"``.
        choices: decisions, those with options may be asked.
        splits: sources of splits, used and unused, a clause each.
        patient_doubt: clause on why the patient column may not name patients, or "".
        color_note: clause on gray images that are stored in color, or "".
    """

    content: dict[str, Any]
    choices: tuple[DraftChoice, ...] = ()
    splits: tuple[str, ...] = ()
    patient_doubt: str = ""
    color_note: str = ""

    def options(self, key: str) -> tuple[str, ...]:
        """Return the possible answers to a question, the chosen one first; () if it is settled."""
        return next((choice.options for choice in self.choices if choice.key == key), ())


@dataclass(frozen=True)
class _FolderContent:
    """Paths of the images below `files["path"]` and card keys that a table or folders give."""

    paths: Sequence[str]
    classes: Sequence[str]
    kind: str
    files: Keys
    subgroups: tuple[str, ...] = ()
    choices: tuple[DraftChoice, ...] = ()
    split_words: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    patient_doubt: str = ""


@dataclass(frozen=True)
class DraftAnswers:
    """Answers of a user: tables, and by key of `DraftChoice` the option chosen."""

    tables: tuple[str, ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)

    def columns(self) -> dict[str, str]:
        """Return the columns that were named."""
        names = {key: self.chosen[key] for key in ("label_column", "patient_column") if key in self.chosen}
        return {key: name for key, name in names.items() if name != NO_COLUMN}


def draft_card(folder: Path, answers: DraftAnswers | None = None) -> CardDraft:
    """Draft a card for a folder with a table or a folder per class.

    Raises:
        UserError: there is neither a table nor one folder per class, or no image.
    """
    answers = answers or DraftAnswers()
    class_folders(folder)  # raises for a folder that is missing or unreadable
    base = folder if answers.tables else _only_folder(folder)
    if tables := tuple(_named_table(folder, name) for name in answers.tables) or _tables_in(base):
        found = _draft_from_tables(base, tables, answers)
    else:
        found = _draft_from_folders(base)
    if base != folder:
        found = _seen_from(folder, base, found)
    root = folder / found.files["path"]
    splits = _describe_splits(root, found)
    modality, variant, note = _probe_images(root, found.paths)
    name = _task_name(folder)
    extra = {"subgroups": list(found.subgroups)} if found.subgroups else {}
    content = {
        "name": name, "title": f"Images in {folder.resolve().name}", "kind": found.kind,
        "classes": list(found.classes), "modality": modality, "variant": variant, "source_group": name,
        "parents": [], "license": UNKNOWN_MODALITY, "citation": "none", **extra, "files": dict(found.files),
    }  # fmt: skip
    return CardDraft(content, found.choices, splits, found.patient_doubt, note)


def _only_folder(folder: Path) -> Path:
    """Return the folder inside, as archives unpack to, if there is nothing else; else `folder`."""
    names = class_folders(folder)
    files = [path for path in folder.iterdir() if path.is_file() and not is_of_tools(path.name)]
    others = [path for path in files if path.suffix.lower() not in (".toml", ".txt", ".md", ".zip", ".json")]
    if len(names) != 1 or others:
        return folder
    return _only_folder(folder / names[0])


def _tables_in(folder: Path) -> tuple[Path, ...]:
    found = (path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES)
    return tuple(sorted(path for path in found if path.name[0] not in ".~"))  # ~: open in Excel


def _named_table(folder: Path, name: str) -> Path:
    """Return a table that the user names from `folder` or from the working folder.

    Raises:
        UserError: there is none, or it lies outside of `folder`.
    """
    path = next((path for path in (folder / name, Path(name).expanduser()) if is_file(path)), None)
    if path is None:
        raise UserError(f"There is no table {folder / name}: correct --table, a file in {folder}.")
    whole, base = (Path(os.path.normpath(each.absolute())) for each in (path, folder))
    if not whole.is_relative_to(base):
        raise UserError(f"--table {name} lies outside of {folder}: copy it there, for the card to name it.")
    return folder / whole.relative_to(base)


def _seen_from(folder: Path, base: Path, found: _FolderContent) -> _FolderContent:
    """Return the content of `base` with paths relative to `folder`."""
    inner = base.relative_to(folder)
    files = {**found.files, "path": (inner / found.files["path"]).as_posix()}
    if "table" in files:
        files["table"] = (inner / files["table"]).as_posix()
    choice = DraftChoice(
        "path", f"the only folder inside, {inner.as_posix()}, is taken for the data", "path in [files]"
    )
    return replace(found, files=files, choices=(choice, *found.choices))


def _task_name(folder: Path) -> str:
    """Derive an unused task name from the folder's name."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "my-task"
    return f"my-{name}" if name in GROUP_NAMES or name in TASKS else name


def _draft_from_folders(folder: Path) -> _FolderContent:
    classes = sorted(classes_in(folder), key=natural_order)
    if len(classes) < 2:
        raise UserError(
            f"{folder} holds neither a CSV, Excel or Parquet table nor a folder per class: add a table with "
            "a row per file (path, label, patient), or sort the files into folders."
        )
    paths = sorted(path for name in classes for path in class_images(folder, name))
    choices = [
        DraftChoice(
            "path",
            f"each folder is taken for a class ({len(classes)})",
            "table in [files] (a table with a row per file)",
        )
    ]
    if empty := empty_folders(folder):
        choices.append(DraftChoice("path", f"{empty:,} folders without an image are left out"))
    doubts = doubtful_classes(folder), _doubt_of_patient_folders(folder, paths)
    return _FolderContent(
        paths, classes, _label_kind(classes), {"path": "."},
        choices=tuple(choices), unused=tuple(filter(None, doubts)),
    )  # fmt: skip


def _doubt_of_patient_folders(folder: Path, paths: Sequence[str]) -> str:
    """Return a clause if the first and last file of each opened folder name a patient of its own; else ""."""
    inside: dict[str, list[str]] = {}
    for path in paths:
        inside.setdefault(path.partition("/")[0], []).append(path)
    patients: list[str] = []
    for name in _sample(sorted(inside)):
        ends = {read_keys(folder / path) for path in (inside[name][0], inside[name][-1])}
        known = {key.patient if key else "" for key in ends}
        if len(inside[name]) < 2 or len(known) > 1 or "" in known:
            return ""
        patients += known
    if not FEWEST_FOLDERS <= len(patients) == len({*patients}):
        return ""
    return (
        "each folder that was opened holds one patient by its headers: if folders are patients and no "
        "classes, add a table with a row per patient (name of the folder, label)"
    )


def _draft_from_tables(folder: Path, tables: Sequence[Path], answers: DraftAnswers) -> _FolderContent:
    """Draft from one table, the one of several that lists files, or several that the user named."""
    choices: list[DraftChoice] = []
    if len(tables) > 1 and not answers.tables:
        table, read, choice = _choose_table(folder, tables, answers.chosen.get("table", ""))
        tables = (table,)
        choices.append(choice)
    else:
        read = read_task_table(tables)
    raw = read.frame.drop(columns=[LINE, TABLE])
    frame = blank_nothing(raw)
    where = find_paths(folder, frame, tables[0], answers.chosen)
    columns = answers.columns()
    if where.several:
        columns.setdefault("patient_column", where.column)
    found = classify_columns(tables[0], frame, where.column, columns)
    keys = {**where.keys, **found.keys}
    words, classes, kind = _find_classes(tables[0], raw, keys, answers)
    if kind == "multilabel" and words and words.separator != FilesTable().label_separator:
        keys["label_separator"] = words.separator
    if words and words.no_finding and answers.chosen.get("no_finding") == NO_CLASS:
        classes = [name for name in classes if name != words.no_finding]
        keys["label_map"] = {words.no_finding: ""}
    names = [path.relative_to(folder).as_posix() for path in tables]
    choices += [*where.choices, *_column_choices(found.labels, found.patients, keys, answers)]
    choices += _label_choices(words, keys, len(raw), answers) if words else []
    choices += [DraftChoice("table", note) for note in read.notes]
    return _FolderContent(
        paths=where.paths,
        classes=classes,
        kind=kind,
        files={"path": where.root, "table": names[0] if len(names) == 1 else names, **keys},
        subgroups=found.subgroups,
        choices=tuple(choices),
        split_words=tuple(frame[keys["split_column"]]) if "split_column" in keys else (),
        unused=found.unused,
        patient_doubt="" if where.several else _patient_doubt(frame, where, keys, len(classes)),
    )


def _choose_table(folder: Path, tables: Sequence[Path], chosen: str) -> tuple[Path, TaskTable, DraftChoice]:
    """Return the table that lists the files, of several, as read, and the choice.

    Raises:
        UserError: none does.
    """
    listing: dict[Path, TaskTable] = {}
    for table in tables:
        try:
            read = read_task_table([table])
            find_paths(folder, blank_nothing(read.frame.drop(columns=[LINE, TABLE])), table, {})
            listing[table] = read
        except UserError:
            continue
    if not listing:
        names = ", ".join(path.name for path in tables)
        raise UserError(
            f"{folder} holds several tables ({names}), and none names its files: name one by --table, or "
            "several that belong together."
        )
    first = next((table for table in listing if table.name == chosen), next(iter(listing)))
    others = [table.name for table in tables if table != first]
    return (
        first,
        listing[first],
        DraftChoice(
            "table",
            f"of {len(tables)} tables {first.name} is taken, which names files",
            f"table in [files], or pass --table ({', '.join(others)}), twice to join two",
            "Which table lists the images",
            tuple(table.name for table in (first, *(each for each in listing if each != first)))
            if len(listing) > 1
            else (),
        ),
    )


def _column_choices(
    labels: Sequence[str], patients: Sequence[str], keys: Keys, answers: DraftAnswers
) -> list[DraftChoice]:
    """Return the choices of the columns that were guessed."""
    choices = []
    if len(labels) > 1:
        others = ", ".join(name for name in labels if name != keys["label_column"])
        choices.append(DraftChoice(
            "label_column", f"the label is taken from '{keys['label_column']}'",
            f"label_column in [files] ({others}); a column such as sex or scanner goes into subgroups",
            "Which column says what an image shows", tuple(labels),
        ))  # fmt: skip
    patients = [name for name in patients if name != keys.get("label_column")]
    if patients and "patient_column" not in answers.chosen:
        choices.append(DraftChoice(
            "patient_column", "no column of patients is known",
            f"patient_column in [files], if it is {' or '.join(patients)}",
            "Which column tells the patients apart", (NO_COLUMN, *patients),
        ))  # fmt: skip
    if "label_columns" in keys:
        classes = ", ".join(keys["label_columns"])
        choices.append(DraftChoice(
            "label_columns", f"each column of 0 and 1 is taken for a class ({classes})",
            "label_column, classes and kind",
        ))  # fmt: skip
    return choices


def _label_choices(words: LabelWords, keys: Keys, rows: int, answers: DraftAnswers) -> list[DraftChoice]:
    """Return the choices of separator, spelling and cells without a label."""
    column, choices = keys["label_column"], []
    if words.separator or answers.chosen.get("label_separator") == "no":
        mark = words.separator
        choices.append(DraftChoice(
            "label_separator", f"'{mark}' separates several labels of one image in '{column}'",
            "kind and classes, if each cell is one label",
            f"Does '{mark}' separate several labels of an image", ("yes", "no"),
        ))  # fmt: skip
    if words.no_finding:
        choices.append(DraftChoice(
            "no_finding", f"'{words.no_finding}' is taken for a class beside the others",
            f'classes, and label_map in [files] ("{words.no_finding}" = "" is none of the classes)',
            f"Is '{words.no_finding}' a class, or does it mean none of the classes", ("class", NO_CLASS),
        ))  # fmt: skip
    if words.merged:
        choices.append(DraftChoice(
            "classes", f"labels that differ only by case or blanks are one class ({', '.join(words.merged)})",
            "classes (a label that is named there exactly is a class of its own)",
            f"Are other spellings of {', '.join(words.merged)} the same class", ("yes", "no"),
        ))  # fmt: skip
    if words.none_is_class:
        choices.append(DraftChoice(
            "none", f"the word none in '{column}' is taken for a class",
            'classes, or label_map in [files] (none = "" leaves such rows out)',
            "Is the word none a class, or do such rows have no label", ("class", "left out"),
        ))  # fmt: skip
    elif words.unlabeled:
        what = "count as showing none of the classes" if words.separator else "have no label and are left out"
        choices.append(DraftChoice(
            "none" if words.nothing else "",
            f"{words.unlabeled:,} of {rows:,} rows {what} ({COUNT_AS_NOTHING})",
            'classes and label_map in [files] (such as none = "CLASS")',
            "Is the word none a class, or do such rows have no label",
            ("left out", "class") if words.nothing and not words.separator else (),
        ))  # fmt: skip
    return choices


def _patient_doubt(frame: "pd.DataFrame", where: FilePaths, keys: Keys, classes: int) -> str:
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
        f"correct patient_column; {propose_pattern(where.paths, classes)}"
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


def _find_classes(
    table: Path, frame: "pd.DataFrame", keys: Keys, answers: DraftAnswers
) -> tuple[LabelWords | None, Sequence[str], str]:
    """Return the words of the label column, if there is one, the classes and the kind."""
    if "label_columns" in keys:
        return None, tuple(keys["label_columns"]), "multilabel"
    label, chosen = keys["label_column"], answers.chosen
    separator = "" if chosen.get("label_separator") == "no" else None
    words = read_label_words(
        list(frame[label]), separator, chosen.get("none", ""), chosen.get("classes") != "no"
    )
    if len(words.classes) < 2:
        raise UserError(
            f"{table}: its column '{label}' holds {'one' if words.classes else 'no'} class: two are needed"
            f"{f'; {COUNT_AS_NOTHING}, so call such a class otherwise' if words.unlabeled else ''}."
        )
    return words, words.classes, "multilabel" if words.separator else _label_kind(words.classes)


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
