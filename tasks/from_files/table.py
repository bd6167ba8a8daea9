"""CSV, Excel and Parquet files as columns of text."""

import csv
import re
import warnings
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
"""Limit of a Parquet or Excel file, in which a million equal cells can take a few bytes."""
MOST_BLANK_LINES = 100
"""Blank lines that may precede the header of a CSV."""
EXCEL_SUFFIXES = (".xlsx", ".xlsm", ".xls")
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", *EXCEL_SUFFIXES)


def read_table(path: Path) -> "pd.DataFrame":
    """Read a table as stripped text without blank rows; `NOTHING` becomes ""; errors as `read_rows`."""
    return blank_nothing(read_rows(path)[0]).reset_index(drop=True)


def read_rows(path: Path, sheet: str = "") -> "tuple[pd.DataFrame, int]":
    """Read a table as stripped text, indexed by line or row number; also return the number of blank rows.

    Args:
        path: .parquet, .xlsx, or a CSV in UTF-8 whose separator (, ; or tab) is taken from the header.
        sheet: of an Excel file; "" for the first with rows.

    Raises:
        UserError: it cannot be read, or is no such table.
    """
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise UserError(
                f"{path} has more than {LARGEST_TABLE:,} bytes: leave out columns that are not needed."
            )
        if suffix in EXCEL_SUFFIXES:
            frame = _read_excel(path, sheet)
        else:
            frame = _read_parquet(path) if suffix == ".parquet" else _read_csv(path)
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error
    if len(set(frame.columns)) < len(frame.columns):
        raise UserError(f"{path} has two columns of one name: rename one.")
    for name in frame.columns:
        frame[name] = frame[name].str.strip()
    blank = np.logical_and.reduce([_is_nothing(frame[name]) for name in frame.columns])
    if blank.all():
        raise UserError(f"{path} holds no rows: add one per image.")
    return frame.loc[~blank], int(blank.sum())


def blank_nothing(frame: "pd.DataFrame", keep: Collection[str] = ()) -> "pd.DataFrame":
    """Replace `NOTHING` by "" in all columns but `keep`."""
    filled = frame.copy()
    for name in frame.columns:
        if name not in keep:
            filled[name] = frame[name].mask(_is_nothing(frame[name]), "")
    return filled


def _is_nothing(column: "pd.Series") -> "NDArray[np.bool_]":
    return column.str.lower().isin(NOTHING).to_numpy()


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel begins its CSV with a mark
            lines = (file.readline(2**16) for _ in range(MOST_BLANK_LINES))
            blank, head = next(((at, line) for at, line in enumerate(lines) if line.strip()), (0, ""))
            separator = max(",;\t", key=head.count)
            _check_header(path, head, separator)
        with warnings.catch_warnings():
            # pandas would only warn of too long first rows, and shift their cells to other columns
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False,
                header=blank, skip_blank_lines=False,
            )  # fmt: skip
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: save it as CSV in UTF-8 (Excel offers it).") from error
    except (ValueError, csv.Error, pd.errors.ParserWarning) as error:  # pandas' own errors are ValueErrors
        raise UserError(f"{path} is no CSV: {_csv_reason(error)}.") from error
    frame.index += blank + 2  # line numbers
    return frame.rename(columns=lambda name: str(name).strip()).fillna("").astype(str)


def _check_header(path: Path, head: str, separator: str) -> None:
    """Refuse duplicate column names, which pandas would number."""
    _check_header_names(path, [name.strip() for name in next(csv.reader([head], delimiter=separator), [])])


def _check_header_names(path: Path, names: Sequence[str]) -> None:
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
    frame.index = range(2, len(frame) + 2)
    return frame.map(_cell_text)


def _cell_text(value: object) -> str:
    """Format a cell; whole numbers without a point, since gaps make pandas use floats."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def _read_excel(path: Path, sheet: str) -> "pd.DataFrame":
    """Read a sheet whose first row with content has the column names."""
    import pandas as pd

    if path.suffix.lower() == ".xls":
        raise UserError(f"{path} is of Excel before 2007: save it as .xlsx or as CSV UTF-8.")
    rows: list[tuple[int, list[str]]] = []
    openpyxl = import_extra("openpyxl", "excel", f"{path} is an Excel table, whose reading")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(each.file_size for each in archive.infolist()) > LARGEST_TABLE:
                raise UserError(f"{path} unpacks to more than {LARGEST_TABLE:,} bytes: save it as CSV UTF-8.")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            if sheet and sheet not in book.sheetnames:
                raise UserError(f"{path} has no sheet '{sheet}': correct 'files.sheet' in the card.")
            for name in [sheet] if sheet else book.sheetnames:
                rows = _sheet_rows(path, book[name])
                if len(rows) > 1:
                    break
        finally:
            book.close()
    except (UserError, OSError):
        raise
    except Exception as error:  # openpyxl raises anything at broken XML
        raise UserError(f"{path} is damaged or no Excel workbook: save it again.") from error
    if len(rows) < 2:
        raise UserError(f"{path} holds no rows: add a row of column names, and one per image.")
    (_, names), *body = rows
    _check_header_names(path, names)
    columns = [name or f"column {at + 1}" for at, name in enumerate(names)]
    cells = [[*row[: len(columns)], *[""] * (len(columns) - len(row))] for _, row in body]
    return pd.DataFrame(cells, columns=columns, index=[number for number, _ in body], dtype=str)


def _sheet_rows(path: Path, sheet: Any) -> list[tuple[int, list[str]]]:
    """Return the number and the cells of each row from the first with content on, without empty ends."""
    rows: list[tuple[int, list[str]]] = []
    count = 0
    sheet.reset_dimensions()  # what a file says of them may be wrong
    for number, row in enumerate(sheet.iter_rows(), 1):
        count += len(row)
        if count > MOST_CELLS:
            raise UserError(
                f"{path} has more than {MOST_CELLS:,} cells: leave out columns that are not needed."
            )
        cells = [_excel_text(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if rows or cells:
            rows.append((number, cells))
    while rows and not rows[-1][1]:
        rows.pop()
    return rows


def _excel_text(cell: Any) -> str:
    """Format a cell as Excel shows it: whole numbers without a point, zeros before them by their format."""
    if cell.value is None:
        return ""
    text = _cell_text(cell.value).strip()
    width = len(cell.number_format) if set(str(cell.number_format)) == {"0"} else 0
    return text.zfill(width) if text.isdecimal() else text
