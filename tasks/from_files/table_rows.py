"""Conversion of a table's rows to a listing; missing and invalid cells are errors."""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ..patients import FEWEST_PATIENTS, is_placeholder, names_patients
from ..subgroups import check_values
from .file_search import PLAIN, FileSearch, pattern_fields, propose_path_pattern, takes_several
from .folders import check_header, has_row_as_header, parse_split_name
from .label_words import SEPARATORS, LabelReader, split_label
from .listing import FileListing, patients_in
from .patient_ids import wider_ids
from .schema import FilesSpec, fault_of_path
from .table import COUNT_AS_NOTHING, blank_nothing
from .task_table import LINE, TABLE, read_task_table

if TYPE_CHECKING:
    import pandas as pd

LABEL_SEPARATOR = "|"
"""Separates the labels of one file unless the card says otherwise."""
LABEL_COLUMNS = ("label", "class", "diagnosis", "target")
FLAG_CELLS = frozenset({"0", "1", "0.0", "1.0", "false", "true"})
"""Allowed cells of a column per class, in lower case."""
PARTS = ("id", "name", "stem")
"""Words of a path pattern that are no columns."""
PATHS = "\0paths"
TRIED_CELLS = 50
"""Number of cells whose files are searched by other patterns."""
_SPLIT_COLUMN = re.compile(
    r"split|subset|partition|(^|_|k|cv)folds?(_|\d|$)|^(data_?)?set$|^usage$|^is_?(train|val|test)|"
    r"^train(ing)?(_?set)?$|^test(ing)?_?set$|train_?test"
)
"""Names of split columns, in lower case."""


def list_table_files(spec: FilesSpec) -> FileListing:
    """List the files of a table, sorted by path; `UserError` names the wrong line."""
    table = read_task_table(spec.tables, spec.files.sheet)
    path = _column(spec, table.frame, spec.files.path_column, "path_column")
    labels = _label_column(spec, table.frame)
    frame = blank_nothing(table.frame, keep=[LINE, TABLE, *([labels] if labels else [])])
    frame, unlabeled = _drop_unlabeled(spec, frame, labels)
    frame, found = _find_files(spec, frame, path)
    frame = frame.sort_values([PATHS, TABLE, LINE], kind="stable")
    paths, places = tuple(frame.pop(PATHS)), tuple(_places(frame))
    _check_twice(paths, places)
    patients = _read_patients(spec, frame, paths)
    return FileListing(
        spec.root, paths, _read_labels(spec, frame, labels, places), patients,
        _read_splits(spec, frame, places), _read_studies(spec, frame),
        _read_subgroups(spec, frame, paths, patients), places,
        f"as the column '{spec.files.split_column}' says" if spec.files.split_column else "",
        (*table.notes, *unlabeled, *found, *_unused_columns(spec, frame)),
    )  # fmt: skip


def _places(frame: "pd.DataFrame") -> list[str]:
    """Return the table and line of each row, for messages."""
    return [f"{table}, line {line}" for table, line in zip(frame[TABLE], frame[LINE], strict=True)]


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


def _find_files(spec: FilesSpec, frame: "pd.DataFrame", path: str) -> "tuple[pd.DataFrame, list[str]]":
    """Return a row per file, with its path below `root` in the column `PATHS`, and notes.

    Raises:
        UserError: a path leads outside, a row names no file, or several where one is meant.
    """
    pattern = spec.files.path_pattern or PLAIN
    for name in pattern_fields(pattern):
        if name not in PARTS:
            _column(spec, frame, name, "path_pattern")
    if pattern == PLAIN:
        _check_paths(spec, frame, path)
    search = FileSearch(spec.root, spec.files.allow_outside)
    rows = frame.to_dict("records")
    found = [search.find(pattern, row[path], row) for row in rows]
    several = takes_several(pattern)
    absent = [place for place, each in zip(_places(frame), found, strict=True) if not each]
    if absent and not (several and 2 * len(absent) < len(found)):
        raise UserError(_absent_sentence(spec, search, [row[path] for row in rows], found, absent))
    unclear = [place for place, each in zip(_places(frame), found, strict=True) if len(each) > 1]
    if unclear and not several:
        raise UserError(
            f"{unclear[0]}: several files below {spec.root} are meant ({len(unclear):,} of {len(found):,} "
            "rows): say more of the path by 'files.path_pattern' in the card, such as \"images/{id}.png\"."
        )
    notes = [f"{len(absent):,} of {len(found):,} rows name no file and are left out"] if absent else []
    if pattern == PLAIN and search.listed:
        respelled = sum(each[0] != os.path.normpath(row[path]) for row, each in zip(rows, found, strict=True))
        notes.append(
            f"{respelled:,} of {len(found):,} paths were found in another spelling (case, \\ or accents)"
        )
    return frame.assign(**{PATHS: found}).explode(PATHS).dropna(subset=[PATHS]), notes


def _check_paths(spec: FilesSpec, frame: "pd.DataFrame", path: str) -> None:
    """Refuse paths that lead outside, with / or \\ between folders."""
    for cell, place in zip(frame[path], _places(frame), strict=True):
        for spelling in (cell, cell.replace("\\", "/")):
            if fault := fault_of_path(spelling, spec.files.allow_outside):
                raise UserError(f"{place}: its path: {fault}.")


def _absent_sentence(
    spec: FilesSpec,
    search: FileSearch,
    cells: Sequence[str],
    found: Sequence[tuple[str, ...]],
    absent: Sequence[str],
) -> str:
    """Return a sentence on rows without a file, with the pattern that would find most of them."""
    tried = [cell for cell, each in zip(cells, found, strict=True) if not each][:TRIED_CELLS]
    pattern, _ = propose_path_pattern(search, tried)
    cure = "correct the paths, or 'files.path' in the card"
    if pattern and pattern != (spec.files.path_pattern or PLAIN):
        cure = f'to find them say path_pattern = "{pattern}" in [files]'
    return (
        f"{absent[0]}: there is no such file below {spec.root} ({len(absent):,} of {len(found):,} rows name "
        f"none): {cure}."
    )


def _check_twice(paths: Sequence[str], places: Sequence[str]) -> None:
    for (before, first), (path, place) in pairwise(zip(paths, places, strict=True)):
        if path == before:
            raise UserError(
                f"{place}: it names the same file as line {first.rpartition(' ')[2]}: delete one of the two "
                "rows."
            )


def _label_column(spec: FilesSpec, frame: "pd.DataFrame") -> str:
    """Return the column of labels, "" where each class has one."""
    if spec.files.label_columns:
        return ""
    usual = next((name for name in LABEL_COLUMNS if name in frame.columns), LABEL_COLUMNS[0])
    return _column(spec, frame, spec.files.label_column or usual, "label_column")


def _drop_unlabeled(spec: FilesSpec, frame: "pd.DataFrame", labels: str) -> "tuple[pd.DataFrame, list[str]]":
    """Leave out rows without a label, or with one that the label map leaves out; returns a note."""
    if spec.kind == "multilabel" and labels:
        return frame, []
    if labels:
        reader = LabelReader(spec.classes, spec.files.label_map)
        known = frame[labels].map(lambda cell: _is_labeled(reader, cell))
    else:
        columns = [_column(spec, frame, name, "label_columns") for name in spec.files.label_columns]
        known = (frame[columns] != "").any(axis=1)
    count = int((~known).sum())
    if count == len(frame):
        raise UserError(f"{spec.table}: no row has a label ({COUNT_AS_NOTHING}): fill them in.")
    note = f"{count:,} of {len(frame):,} rows have no label and are left out ({COUNT_AS_NOTHING})"
    return frame.loc[known], [note] if count else []


def _is_labeled(reader: LabelReader, cell: str) -> bool:
    try:
        return reader.find(cell) is not None
    except KeyError:  # refused later, with its line
        return True


def _read_labels(
    spec: FilesSpec, frame: "pd.DataFrame", column: str, places: tuple[str, ...]
) -> NDArray[np.int64]:
    if not column:
        return _read_flags(spec, frame, places)
    reader = LabelReader(spec.classes, spec.files.label_map)
    if spec.kind == "multilabel":
        labels = np.zeros((len(frame), len(spec.classes)), np.int64)
        for row, (cell, place) in enumerate(zip(frame[column], places, strict=True)):
            for word in split_label(cell, spec.files.label_separator):
                if (number := _class_number(spec, reader, word, place)) is not None:
                    labels[row, number] = 1
        return labels
    numbers = [
        _class_number(spec, reader, cell, place) for cell, place in zip(frame[column], places, strict=True)
    ]
    return np.array(numbers, np.int64)


def _read_flags(spec: FilesSpec, frame: "pd.DataFrame", places: tuple[str, ...]) -> NDArray[np.int64]:
    """Read one column of 0 and 1 per class."""
    labels = np.zeros((len(frame), len(spec.classes)), np.int64)
    for number, name in enumerate(spec.files.label_columns):
        cells = frame[_column(spec, frame, name, "label_columns")]
        for row, (cell, place) in enumerate(zip(cells, places, strict=True)):
            if cell.lower() not in FLAG_CELLS:
                content = "nothing" if not cell else "something else"
                raise UserError(
                    f"{place}: the column '{name}' holds {content}, and 0 or 1 is needed: correct it."
                )
            labels[row, number] = cell.lower() in ("1", "1.0", "true")
    return labels


def _class_number(spec: FilesSpec, reader: LabelReader, word: str, place: str) -> int | None:
    """Return the class of a label, None for no label."""
    try:
        return reader.find(word)
    except KeyError:
        separators = [each for each in SEPARATORS if each in word and each != spec.files.label_separator]
        several = f"; if {separators[0]} separates labels, say label_separator" if separators else ""
        raise UserError(
            f"{place}: its label is none of the card's classes ({', '.join(spec.classes)}): correct the "
            f"label, the classes or 'label_column', or say its class by 'label_map'{several}."
        ) from None


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
        files.study_column, *spec.subgroups, *LABEL_COLUMNS, LINE, TABLE,
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
