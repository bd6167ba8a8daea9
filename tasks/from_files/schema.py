"""What a card says of its files, as plain data that processes can share."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from ..images.reader import ReaderTable
from ..task import Kind, Variant


class FilesTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `files` of a card."""

    path: str = "."
    """The folder of the images, relative to the card; without a table it holds one folder per class."""
    table: str = ""
    """A CSV or Parquet file with a row per file, relative to the card."""
    path_column: str = "path"
    label_column: str = ""
    """Holds a class; for multilabel, classes with | between them."""
    label_columns: tuple[str, ...] = ()
    """For multilabel: a column of 0 and 1 per class."""
    split_column: str = ""
    """Holds train, test and perhaps val; without it the splits are those of the folders, or made."""
    patient_column: str = ""
    study_column: str = ""
    """Keeps images together where no patient is known."""
    group_pattern: str = ""
    """A regular expression whose first parenthesis is the patient in a file's path below `path`."""
    allow_outside: bool = False
    """Whether absolute paths may be read, and links followed that lead out of the folder."""


class SplitTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `split` of a card: how splits are made where table and folders give none, or no val."""

    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of train, val and test."""
    seed: int = 0
    by: Literal["patient", "image"] = "patient"
    """Whether a patient stays whole; where no patient is known an image stands for itself."""

    @property
    def without_test(self) -> tuple[float, float]:
        """Shares of train and val of what is no test."""
        train, val, _ = self.shares
        return train / (train + val), val / (train + val)

    def fault(self) -> str:
        """Say what is wrong with it, or ""."""
        if not all(0 < share < 1 for share in self.shares) or abs(sum(self.shares) - 1) > 1e-6:
            return "key 'split.shares': three shares above 0 that add up to 1, of train, val and test"
        if not 0 <= self.seed < 2**32:
            return "key 'split.seed': a whole number from 0 to 4294967295"
        return ""


@dataclass(frozen=True)
class FilesSpec:
    """Everything that decides what the arrays of a task are.

    Attributes:
        name: of the task.
        kind: of the labels.
        classes: in label order.
        variant: gray or color.
        subgroups: columns of the table that images are told apart by.
        root: the folder of the images.
        table: the table, or None where each class has a folder.
        files: the card's table `files`.
        rule: how splits are made.
        reading: how files are read.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    variant: Variant
    subgroups: tuple[str, ...]
    root: Path
    table: Path | None
    files: FilesTable
    rule: SplitTable
    reading: ReaderTable


def fault_of_path(given: str, allowed: bool) -> str:
    """Say why a path of a card or table may not be read, or "": relative ones stay in their folder.

    Args:
        given: as written.
        allowed: the card says `allow_outside`, and means the absolute paths that it gives.
    """
    if not given or "\0" in given:
        return "it is no path: correct it"
    if Path(given).is_absolute():
        return "" if allowed else "it is absolute: say allow_outside = true in [files] to permit it"
    if Path(os.path.normpath(given)).parts[:1] == (os.pardir,):
        return "it leads out of its folder: write it as absolute, with allow_outside = true in [files]"
    return ""
