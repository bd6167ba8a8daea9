"""Roles of a table's columns, from their names and values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ..patients import FEWEST_PATIENTS, names_patients
from ..subgroups import MOST_SUBGROUPS, fault_of_names
from .table_rows import FLAG_CELLS, LABEL_COLUMNS, gives_splits, has_val, looks_like_splits, unused_clause

if TYPE_CHECKING:
    import pandas as pd

NAMES: Mapping[str, tuple[str, ...]] = {
    "patient_column": ("patient", "patient_id", "patientid", "subject", "subject_id", "pid"),
    "study_column": ("study", "study_id", "studyinstanceuid", "accession", "exam"),
}
"""Usual column names, in lower case."""
SUBGROUPS = (
    "sex", "gender", "age_band", "age_group", "scanner", "manufacturer", "site", "hospital", "center",
)  # fmt: skip
Keys = Mapping[str, Any]
"""Keys of the card's table `files`: a column, or several."""
LONGEST_ID = 64
"""Characters of an identifier; longer values are remarks."""


@dataclass(frozen=True)
class TableColumns:
    """Columns of a table by role; labels and patients are candidates if no column is named so.

    Attributes:
        keys: key of the card's table `files` -> column.
        labels: candidates, that of `keys` first.
        unused: columns that look like splits and are not used, a clause each.
    """

    keys: Keys
    subgroups: tuple[str, ...]
    labels: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def classify_columns(
    table: Path, frame: "pd.DataFrame", path: str, answers: Mapping[str, str]
) -> TableColumns:
    """Assign roles to the columns of a table; `UserError` if no column looks like a label.

    Args:
        path: the column of file paths.
        answers: columns that the user has named: key of the card -> column.
    """
    keys: dict[str, Any] = {"path_column": path, **answers}
    for key, usual in NAMES.items():
        found = [name for name in frame.columns if _normalize(name) in usual]
        if key == "patient_column":
            found += [name for name in frame.columns if names_patients(name, frame[name])]
        if key not in keys and found:
            keys[key] = found[0]
    splits = [
        name
        for name in frame.columns
        if name not in keys.values()
        and name.lower() not in LABEL_COLUMNS
        and looks_like_splits(name, frame[name])
    ]
    if given := [name for name in splits if gives_splits(frame[name])]:
        keys["split_column"] = next((name for name in given if has_val(frame[name])), given[0])
        splits.remove(keys["split_column"])
    free = [name for name in frame.columns if name not in keys.values() and name not in splits]
    groups = [name for name in free if _normalize(name) in SUBGROUPS and _has_few_values(frame[name])]
    groups = [name for name in groups if not fault_of_names([name])]
    free = [name for name in free if name not in groups]
    called = [name for name in free if name.lower() in LABEL_COLUMNS]
    few = sorted(
        (name for name in free if _has_few_values(frame[name])), key=lambda name: frame[name].nunique()
    )
    labels = [] if called or "label_column" in keys else few
    if not (called or labels or "label_column" in keys):
        raise UserError(f"{table}: no column looks like a label: call it '{LABEL_COLUMNS[0]}'.")
    flags = tuple(name for name in frame.columns if name in labels and set(frame[name]) <= FLAG_CELLS)
    if len(flags) > 1:  # a column of 0 and 1 per class
        keys["label_columns"], labels = flags, []
    elif "label_column" not in keys:
        keys["label_column"] = (called + labels)[0]
    free = [name for name in free if name not in (keys.get("label_column"), *flags)]
    patients = [] if "patient_column" in keys else [name for name in free if _looks_like_ids(frame[name])]
    unused = tuple(unused_clause(name, frame[name]) for name in splits)
    return TableColumns(keys, tuple(groups), tuple(labels), tuple(patients), unused)


def _normalize(name: str) -> str:
    return name.lower().replace(" ", "_")


def _has_few_values(column: "pd.Series") -> bool:
    return 2 <= column.nunique() <= min(MOST_SUBGROUPS, max(2, len(column) // 2))


def _looks_like_ids(column: "pd.Series") -> bool:
    """Whether values repeat, are many, and are neither measurements nor remarks."""
    values = [cell for cell in column if cell]
    kinds = set(values)
    odd = any(re.fullmatch(r"-?\d*\.\d+", cell) or len(cell) > LONGEST_ID for cell in kinds)
    return FEWEST_PATIENTS <= len(kinds) < len(values) and not odd
