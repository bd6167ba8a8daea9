"""The table of a task, from one file or several that are appended or joined."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError
from .folders import parse_split_name
from .table import read_rows

if TYPE_CHECKING:
    import pandas as pd

LINE, TABLE = "\0line", "\0table"
"""Columns with the line number and the file of each row; no other name starts with \\0."""
SPLIT_COLUMN = "split"
"""Column that the names of appended tables give, such as train.csv and test.csv."""


@dataclass(frozen=True, eq=False)
class TaskTable:
    """Rows as stripped text with the columns `LINE` and `TABLE`; notes on what was left out or joined."""

    frame: "pd.DataFrame"
    notes: tuple[str, ...] = ()


def read_task_table(paths: Sequence[Path], sheet: str = "") -> TaskTable:
    """Read the tables; rows of the same columns are appended, other columns are joined by a shared one.

    Raises:
        UserError: a table cannot be read, or nothing relates it to the first.
    """
    parts, blank = [], 0
    for path in paths:
        frame, count = read_rows(path, sheet)
        if any(name.startswith("\0") for name in frame.columns):
            raise UserError(f"{path}: a column's name begins with a zero byte: rename it.")
        blank += count
        parts.append(frame.assign(**{LINE: frame.index, TABLE: str(path)}).reset_index(drop=True))
    notes = [f"{blank:,} blank rows of the table are left out"] if blank else []
    whole = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        whole, note = _add_table(whole, part, path, paths[0])
        notes += [note] if note else []
    words = {str(path): _split_of(path.stem) for path in paths}
    if len(paths) > 1 and all(words.values()) and SPLIT_COLUMN not in whole and set(whole[TABLE]) == {*words}:
        whole = whole.assign(**{SPLIT_COLUMN: whole[TABLE].map(words)})
    return TaskTable(whole, tuple(notes))


def _add_table(
    whole: "pd.DataFrame", part: "pd.DataFrame", path: Path, first: Path
) -> "tuple[pd.DataFrame, str]":
    """Join or append a table; returns a note on rows without a partner, or ""."""
    import pandas as pd

    own = [name for name in part.columns if name not in whole.columns]
    shared = [name for name in part.columns if name in whole.columns and name not in (LINE, TABLE)]
    for name in shared if own else ():
        keys = part[name]
        known = whole[name].isin(set(keys) - {""})
        if keys.is_unique and 2 * known.sum() > len(whole):
            rows = part.set_index(name)[own]
            joined = whole.join(rows, on=name).fillna("")
            lacking = int((~known).sum())
            return joined, f"{lacking:,} of {len(whole):,} rows have none in {path.name}" if lacking else ""
    if shared and not own:
        return pd.concat([whole, part], ignore_index=True).fillna(""), ""
    raise UserError(
        f"{path}: no column relates it to {first.name}: give both the same columns, or a column of the same "
        f"name whose cells are unique in {path.name}; or leave one of the tables out."
    )


def _split_of(stem: str) -> str:
    """Return the split that a table's name means, as "train_labels" does, or ""."""
    words = {parse_split_name(word) for word in re.split(r"[\W_]+", stem)} - {""}
    return words.pop() if len(words) == 1 else ""
