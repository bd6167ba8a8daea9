"""Subgroup columns: few short text values; anything like an identifier is refused."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from .task import Split

MOST_SUBGROUPS = 20
"""Maximum number of distinct values; more are identifiers or numbers that need bands."""
LONGEST_VALUE = 40
"""Characters of a value; longer text is a remark on one person."""
RESERVED = ("images", "labels", "groups")


def fault_of_names(names: Iterable[str]) -> str:
    """Return what is wrong with the names of subgroup columns, or ""."""
    names = tuple(names)
    if len(set(names)) < len(names):
        return "name each column once"
    for name in names:
        if name in RESERVED:
            return f"'{name}' is the name of another array: call the column otherwise"
        if not re.fullmatch(r"\w([\w -]*\w)?", name) or len(name) > LONGEST_VALUE:
            allowed = f"letters, digits, and '_', '-' or spaces between, {LONGEST_VALUE} characters at most"
            return f"'{name}' is no name: rename the column, in {allowed}"
    return ""


def as_text(where: str, column: NDArray[np.generic], n: int) -> NDArray[np.str_]:
    """Return a subgroup column, [n] or [n, 1] text, as stripped text [n]; "" is unknown.

    Raises:
        UserError: another shape, or not text; the message begins with `where`.
    """
    flat: NDArray[Any] = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
    if flat.shape != (n,) or flat.dtype.kind != "U":
        raise UserError(
            f"{where} is {column.dtype} {list(column.shape)} for {n} images: a subgroup column holds one "
            "text per image, as numpy's array.astype(str) gives it."
        )
    return np.char.strip(flat)


def check_subgroups(where: str, splits: Mapping[str, Split]) -> None:
    """Refuse columns of the splits of a task that are no subgroups.

    Raises:
        UserError: a column has not one value per image, too many values over all splits, or a long one. The
            message never repeats a value, which may be a person's name.
    """
    for name in sorted({name for split in splits.values() for name in split.columns}):
        columns = {split: part.columns[name] for split, part in splits.items() if name in part.columns}
        for split, column in columns.items():
            if column.shape != (len(splits[split]),):
                raise UserError(
                    f"{where}: the column '{name}' has {len(column):,} values for {len(splits[split]):,} "
                    f"images of the split {split}: give one value per image."
                )
        check_values(where, name, np.unique(np.concatenate(list(columns.values()))).tolist())


def check_values(where: str, name: str, values: Iterable[str]) -> None:
    """Refuse a column of identifiers; errors as `check_subgroups`."""
    known = set(values) - {""}
    if len(known) > MOST_SUBGROUPS or any(len(value) > LONGEST_VALUE for value in known):
        why = (
            f"{len(known):,} distinct values"
            if len(known) > MOST_SUBGROUPS
            else f"a value of more than {LONGEST_VALUE} characters"
        )
        raise UserError(
            f"{where}: the column '{name}' has {why}: an identifier is no subgroup. Leave it out of "
            f"subgroups, or write bands into it, {MOST_SUBGROUPS} at most (60-69 for an age of 64)."
        )
