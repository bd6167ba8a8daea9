"""Conversion of a table's rows to a listing; missing and invalid cells are errors."""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ..patients import FEWEST_PATIENTS, is_placeholder, names_patients
from ..subgroups import check_values
from .folders import check_header, has_row_as_header, is_file, parse_split_name
from .listing import FileListing, patients_in
from .patient_ids import wider_ids
from .schema import FilesSpec, fault_of_path
from .table import COUNT_AS_NOTHING, read_table

if TYPE_CHECKING:
    import pandas as pd

LABEL_SEPARATOR = "|"
"""Separates the labels of one file."""
LABEL_COLUMNS = ("label", "class", "diagnosis", "target")
FLAG_CELLS = frozenset({"0", "1", "0.0", "1.0"})
"""Allowed cells of a column per class."""
_SPLIT_COLUMN = re.compile(
    r"split|subset|partition|(^|_|k|cv)folds?(_|\d|$)|^(data_?)?set$|^usage$|^is_?(train|val|test)|"
    r"^train(ing)?(_?set)?$|^test(ing)?_?set$|train_?test"
)
"""Names of split columns, in lower case."""


def list_table_files(spec: FilesSpec) -> FileListing:
    """List the files of a table, sorted by path; `UserError` names the wrong line."""
    assert spec.table is not None
    frame = read_table(spec.table)
    frame["\0line"] = np.arange(2, len(frame) + 2)  # the header is line 1
    path = _column(spec, frame, spec.files.path_column, "path_column")
    frame[path] = [os.path.normpath(cell) if cell else "" for cell in frame[path]]  # one file, one spelling
    frame = frame.sort_values([path, "\0line"], kind="stable")
    paths = tuple(frame[path])
    places = tuple(f"{spec.table}, line {line}" for line in frame["\0line"])
    _check_paths(spec, paths, places)
    patients = _read_patients(spec, frame, paths)
    return FileListing(
        spec.root, paths, _read_labels(spec, frame, places), patients,
        _read_splits(spec, frame, places), _read_studies(spec, frame),
        _read_subgroups(spec, frame, paths, patients), places,
        f"as the column '{spec.files.split_column}' says" if spec.files.split_column else "",
        _unused_columns(spec, frame),
    )  # fmt: skip


def _column(spec: FilesSpec, frame: "pd.DataFrame", name: str, key: str) -> str:
    if name in frame.columns and name[0] != "\0":
        return name
    check_header(spec.table or spec.root, spec.root, frame.columns)
    if has_row_as_header(frame):
        raise UserError(
            f"{spec.table} has no column '{name}', and its first line may be a row: add a line of column "
            f"names above it, or name the column by the card's '{key}'."
        )
    count = sum(each[:1] != "\0" for each in frame.columns)  # counted, not named: they may be cells
    raise UserError(
        f"{spec.table} has no column '{name}' among its {count:,}: name it by the card's '{key}'."
    )


def _check_paths(spec: FilesSpec, paths: tuple[str, ...], places: tuple[str, ...]) -> None:
    before = ""
    for at, (path, place) in enumerate(zip(paths, places, strict=True)):
        if fault := fault_of_path(path, spec.files.allow_outside):
            raise UserError(f"{place}: its path: {fault}.")
        if path == before:
            first = places[at - 1].rpartition(" ")[2]
            raise UserError(f"{place}: it names the same file as line {first}: delete one of the two rows.")
        before = path
    absent = [place for path, place in zip(paths, places, strict=True) if not is_file(spec.root / path)]
    if absent:
        raise UserError(
            f"{absent[0]}: there is no such file below {spec.root} ({len(absent):,} of {len(paths):,} rows "
            "name none): correct the paths, with / between folders, or 'files.path' in the card."
        )


def _read_labels(spec: FilesSpec, frame: "pd.DataFrame", places: tuple[str, ...]) -> NDArray[np.int64]:
    if spec.files.label_columns:
        return _read_flags(spec, frame, places)
    usual = next((name for name in LABEL_COLUMNS if name in frame.columns), LABEL_COLUMNS[0])
    column = frame[_column(spec, frame, spec.files.label_column or usual, "label_column")]
    index = {name: number for number, name in enumerate(spec.classes)}
    if spec.kind == "multilabel":
        labels = np.zeros((len(column), len(index)), np.int64)
        for row, (cell, place) in enumerate(zip(column, places, strict=True)):
            for word in filter(None, (part.strip() for part in cell.split(LABEL_SEPARATOR))):
                labels[row, _class_index(index, word, place)] = 1
        return labels
    missing = [place for cell, place in zip(column, places, strict=True) if not cell]
    if missing:
        raise UserError(
            f"{missing[0]}: it has no label ({len(missing):,} of {len(places):,} rows have none; "
            f"{COUNT_AS_NOTHING}): fill them in, or delete those rows."
        )
    return np.array(
        [_class_index(index, cell, place) for cell, place in zip(column, places, strict=True)], np.int64
    )


def _read_flags(spec: FilesSpec, frame: "pd.DataFrame", places: tuple[str, ...]) -> NDArray[np.int64]:
    """Read one column of 0 and 1 per class."""
    labels = np.zeros((len(frame), len(spec.classes)), np.int64)
    for number, name in enumerate(spec.files.label_columns):
        cells = frame[_column(spec, frame, name, "label_columns")]
        for row, (cell, place) in enumerate(zip(cells, places, strict=True)):
            if cell not in FLAG_CELLS:
                content = "nothing" if not cell else "something else"
                raise UserError(
                    f"{place}: the column '{name}' holds {content}, and 0 or 1 is needed: correct it."
                )
            labels[row, number] = float(cell)
    return labels


def _class_index(index: Mapping[str, int], word: str, place: str) -> int:
    if word not in index:
        known = ", ".join(index)
        raise UserError(
            f"{place}: its label is none of the card's classes ({known}): correct the label, the classes or "
            "'label_column'."
        )
    return index[word]


def _read_patients(spec: FilesSpec, frame: "pd.DataFrame", paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the patient from the column, else from the path."""
    inside = patients_in(spec, paths)
    if not spec.files.patient_column:
        return inside
    column = frame[_column(spec, frame, spec.files.patient_column, "patient_column")]
    return wider_ids(tuple("" if is_placeholder(cell) else cell for cell in column), inside)


def _read_studies(spec: FilesSpec, frame: "pd.DataFrame") -> tuple[str, ...]:
    if not spec.files.study_column:
        return ()
    column = frame[_column(spec, frame, spec.files.study_column, "study_column")]
    return tuple("" if is_placeholder(cell) else f"study {cell}" for cell in column)


def _read_subgroups(
    spec: FilesSpec, frame: "pd.DataFrame", paths: tuple[str, ...], patients: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Read the subgroup columns; identifiers are refused here, before anything is stored."""
    columns = {name: tuple(frame[_column(spec, frame, name, "subgroups")]) for name in spec.subgroups}
    people = [one or path for one, path in zip(patients, paths, strict=True)]
    for name, values in columns.items():
        check_values(str(spec.table), name, values)
        pairs = {(value, one) for value, one in zip(values, people, strict=True) if value}
        if len(pairs) >= FEWEST_PATIENTS and len({*values} - {""}) == len({one for _, one in pairs}) == len(
            pairs
        ):
            raise UserError(
                f"{spec.table}: the column '{name}' has another value for each patient: an identifier is no "
                "subgroup. Leave it out of subgroups."
            )
    return columns


def _read_splits(spec: FilesSpec, frame: "pd.DataFrame", places: tuple[str, ...]) -> tuple[str, ...]:
    if not spec.files.split_column:
        return ()
    column = frame[_column(spec, frame, spec.files.split_column, "split_column")]
    words = tuple(parse_split_name(cell) for cell in column)
    for word, place in zip(words, places, strict=True):
        if not word:
            raise UserError(f"{place}: its split is none of train, val and test: correct it.")
    lacking = [split for split in ("train", "test") if split not in words]
    if lacking:
        cure = "call those to test on 'test' (val is then cut from train)" if "val" in words else "add some"
        raise UserError(
            f"{spec.table}: no row is of the split {lacking[0]}: {cure}, or leave 'split_column' out of the "
            "card and let the splits be made."
        )
    return words


def _unused_columns(spec: FilesSpec, frame: "pd.DataFrame") -> tuple[str, ...]:
    files = spec.files
    used = {
        files.path_column, files.label_column, *files.label_columns, files.split_column, files.patient_column,
        files.study_column, *spec.subgroups, *LABEL_COLUMNS, "\0line",
    }  # fmt: skip
    odd = (name for name in frame.columns if name not in used and looks_like_splits(name, frame[name]))
    people = (
        () if files.patient_column or files.group_pattern else frame.columns.drop([*used], errors="ignore")
    )
    return (
        *(unused_clause(name, frame[name]) for name in odd),
        *(
            f"the column '{name}' seems to name patients and is not used: name it by patient_column in "
            "[files]"
            for name in people
            if names_patients(name, frame[name])
        ),
    )


def unused_clause(name: str, column: "pd.Series") -> str:
    """Return a clause on a column that looks like splits and is unused, with the cure."""
    needs = "" if gives_splits(column) else "let it say train, test and perhaps val in every row, and "
    return (
        f"the column '{name}' looks like splits and is not used: to take it, {needs}name it by split_column "
        "in [files]"
    )


def looks_like_splits(name: str, column: "pd.Series") -> bool:
    """Whether a column is named for splits, or holds split names only, at least two of them."""
    words = {parse_split_name(cell) for cell in column}
    called = _SPLIT_COLUMN.search(re.sub(r"[^a-z0-9]+", "_", name.lower()))
    return bool(called) or ("" not in words and len(words) > 1)


def has_val(column: "pd.Series") -> bool:
    """Whether a column contains the split val."""
    return any(parse_split_name(cell) == "val" for cell in column)


def gives_splits(column: "pd.Series") -> bool:
    """Whether every cell of a column is a split, with train and test among them."""
    return {"train", "test"} <= {parse_split_name(cell) for cell in column} <= {"train", "val", "test"}
