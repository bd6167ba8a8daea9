"""A CSV or Parquet file as columns of text."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...benchmark.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

NOTHING = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>"})
"""What a cell holds that holds nothing, in lower case."""
LARGEST = 2**30
"""Bytes of a table that are read into memory."""


def read_table(path: Path) -> "pd.DataFrame":
    """Read a table as stripped text; cells that hold nothing are "".

    Args:
        path: .parquet, or a CSV in UTF-8 whose separator (, ; or tab) the header shows.

    Raises:
        UserError: it cannot be read, or is no such table.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} has more than {LARGEST:,} bytes: split it.")
        frame = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error
    if len(set(frame.columns)) < len(frame.columns):
        raise UserError(f"{path} has two columns of one name: rename one.")
    if frame.empty:
        raise UserError(f"{path} holds no rows: add one per file.")
    stripped = frame.apply(lambda column: column.str.strip())
    return stripped.mask(stripped.apply(lambda column: column.str.lower().isin(NOTHING)), "")


def _csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as file:  # Excel begins its CSV with a mark
            head = file.readline(2**16)
        separator = max(",;\t", key=head.count)
        frame = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
        )
    except (UnicodeDecodeError, ValueError) as error:  # pandas' own errors are ValueErrors
        reason = "it is empty" if isinstance(error, pd.errors.EmptyDataError) else "its rows or its encoding"
        raise UserError(f"{path} is no CSV in UTF-8 ({reason}): save it again.") from error
    return frame.rename(columns=lambda name: str(name).strip()).fillna("").astype(str)


def _parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow

    try:
        frame = pd.read_parquet(path)
    except (pyarrow.ArrowException, ValueError) as error:
        raise UserError(f"{path} is damaged or no Parquet: save it again.") from error
    frame.columns = [str(name) for name in frame.columns]
    return frame.map(_text)


def _text(value: object) -> str:
    """Write a cell: whole numbers without a point, since a gap makes pandas hold them as floats."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)
