"""CSV and Parquet files as columns of text."""

import csv
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError
from ...core.optional import import_extra

if TYPE_CHECKING:
    import pandas as pd

NOTHING = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>"})
"""Contents of an empty cell, in lower case."""
COUNT_AS_NOTHING = "'NaN' and 'none' count as nothing"
"""Remark on `NOTHING` for messages."""
LARGEST_TABLE = 2**28
"""In bytes; short rows of text take ten times as much memory."""
MOST_CELLS = 2**25
"""Limit of a Parquet file, in which a million equal cells can take a few bytes."""


def read_table(path: Path) -> "pd.DataFrame":
    """Read a table as stripped text; `NOTHING` becomes "".

    Args:
        path: .parquet, or a CSV in UTF-8 whose separator (, ; or tab) is taken from the header.

    Raises:
        UserError: it cannot be read, or is no such table.
    """
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise UserError(
                f"{path} has more than {LARGEST_TABLE:,} bytes: leave out columns that are not needed."
            )
        frame = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error
    if len(set(frame.columns)) < len(frame.columns):
        raise UserError(f"{path} has two columns of one name: rename one.")
    if frame.empty:
        raise UserError(f"{path} holds no rows: add one per image.")
    stripped = frame.apply(lambda column: column.str.strip())
    return stripped.mask(stripped.apply(lambda column: column.str.lower().isin(NOTHING)), "")


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel begins its CSV with a mark
            head = file.readline(2**16)
            separator = max(",;\t", key=head.count)
            _check_header(path, head, separator)
        with warnings.catch_warnings():
            # pandas would only warn of too long first rows, and shift their cells to other columns
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
            )
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: save it as CSV in UTF-8 (Excel offers it).") from error
    except (ValueError, csv.Error, pd.errors.ParserWarning) as error:  # pandas' own errors are ValueErrors
        raise UserError(f"{path} is no CSV: {_csv_reason(error)}.") from error
    return frame.rename(columns=lambda name: str(name).strip()).fillna("").astype(str)


def _check_header(path: Path, head: str, separator: str) -> None:
    """Refuse duplicate column names, which pandas would number."""
    names = [name.strip() for name in next(csv.reader([head], delimiter=separator), [])]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        first = names.index(twice) + 1  # numbers only: without a header these would be cells
        second = names.index(twice, first) + 1
        raise UserError(f"{path}: its columns {first} and {second} have the same name: rename one.")


def _csv_reason(error: Exception) -> str:
    """Explain a CSV error without quoting its content."""
    message = str(error)
    if "No columns" in message:
        return "it is empty: add a header, and a row per image"
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message):
        return f"line {found[2]} has {found[3]} cells and the header {found[1]}: quote cells that hold commas"
    if "Length of header" in message:
        return "its first rows have more cells than the header: quote cells that hold commas"
    if "EOF inside string" in message:
        return "a quotation mark is opened and never closed: correct it"
    return "its rows cannot be parsed: save it again"


def _read_parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd

    pyarrow, parquet = (
        import_extra(module, "corpus", f"{path} is a Parquet table, whose reading")
        for module in ("pyarrow", "pyarrow.parquet")
    )
    try:
        declared = parquet.read_metadata(path)
        groups = (declared.row_group(number) for number in range(declared.num_row_groups))
        cells = sum(group.column(at).num_values for group in groups for at in range(group.num_columns))
        if cells > MOST_CELLS:
            raise UserError(
                f"{path} has more than {MOST_CELLS:,} cells: leave out columns that are not needed."
            )
        frame = pd.read_parquet(path)
    except (pyarrow.ArrowException, ValueError) as error:
        raise UserError(f"{path} is damaged or no Parquet: save it again.") from error
    frame.columns = [str(name) for name in frame.columns]
    return frame.map(_cell_text)


def _cell_text(value: object) -> str:
    """Format a cell; whole numbers without a point, since gaps make pandas use floats."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)
