"""Tables of a card for files, as plain data that processes can share."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from ..images.reader import ReaderTable
from ..task import Kind, Variant


class FilesTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table `files` of a card."""

    path: str = "."
    """Folder of the images, relative to the card; without a table it holds one folder per class."""
    table: str | tuple[str, ...] = ""
    """CSV, Excel or Parquet file with a row per file, relative to the card; several are joined."""
    sheet: str = ""
    """Sheet of an Excel file; by default the first with rows."""
    path_column: str = "path"
    path_pattern: str = ""
    """Path with the cell of `path_column` as {id}, such as "images/{id}.jpg"; see `file_search`."""
    label_column: str = ""
    """Column of classes; for multilabel, classes separated by `label_separator`."""
    label_separator: str = "|"
    label_map: dict[str, str] = msgspec.field(default_factory=dict)
    """Label in the table -> class, or "" to leave it out; "*" is every other label."""
    label_columns: tuple[str, ...] = ()
    """For multilabel: a column of 0 and 1 per class."""
    split_column: str = ""
    """Column of train, test and optionally val; else splits come from folders or are made."""
    patient_column: str = ""
    study_column: str = ""
    """Keeps images together if no patient is known."""
    group_pattern: str = ""
    """Regular expression whose first group is the patient in a file's path below `path`."""
    allow_outside: bool = False
    """Allow absolute paths, and links that lead out of the folder."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables, () without one."""
        return self.table if isinstance(self.table, tuple) else (self.table,) if self.table else ()


class SplitTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table `split` of a card: how splits are made if table and folders give none, or no val."""

    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Shares of train, val and test."""
    seed: int = 0
    by: Literal["patient", "image"] = "patient"
    """Unit kept whole; an image without a known patient is a unit."""

    @property
    def without_test(self) -> tuple[float, float]:
        """Shares of train and val without the test set."""
        train, val, _ = self.shares
        return train / (train + val), val / (train + val)

    def fault(self) -> str:
        """Return what is wrong, or ""."""
        if not all(0 < share < 1 for share in self.shares) or abs(sum(self.shares) - 1) > 1e-6:
            return "key 'split.shares': three shares above 0 that add up to 1, of train, val and test"
        if not 0 <= self.seed < 2**32:
            return "key 'split.seed': a whole number from 0 to 4294967295"
        return ""


@dataclass(frozen=True)
class FilesSpec:
    """All settings that determine the arrays of a task.

    `tables` is empty if each class has a folder; `files`, `rule` and `reading` are the card's tables `files`,
    `split` and `reader`.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    variant: Variant
    subgroups: tuple[str, ...]
    root: Path
    tables: tuple[Path, ...]
    files: FilesTable
    rule: SplitTable
    reading: ReaderTable

    @property
    def table(self) -> Path | None:
        """The first table, None without one."""
        return self.tables[0] if self.tables else None


def fault_of_path(given: str, allowed: bool) -> str:
    """Return why a path may not be read, or ""; `allowed` permits paths outside the folder."""
    if not given or "\0" in given:
        return "it is no path: correct it"
    if Path(given).is_absolute():
        return "" if allowed else "it is absolute: say allow_outside = true in [files] to permit it"
    if Path(os.path.normpath(given)).parts[:1] == (os.pardir,):
        return "it leads out of its folder: write it as absolute, with allow_outside = true in [files]"
    return ""
