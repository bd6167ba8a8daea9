"""Where the files of a table lie, for a draft: the column, the pattern, and what was decided."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from .file_search import PATTERNS, PLAIN, FileSearch, padded_patterns, takes_several
from .folders import check_header, class_folders, has_row_as_header, is_file
from .schema import fault_of_path

if TYPE_CHECKING:
    import pandas as pd

TRIED_ROWS = 24
"""Number of rows whose files are searched, evenly spaced."""
MOSTLY_UNIQUE = 0.9
"""Least share of different cells in a column whose cells are no whole paths."""
_BIDS_NAME = re.compile(r"(?:.*/)?sub-[^/]*(_[A-Za-z][A-Za-z0-9]*\.[A-Za-z0-9.]+)")
USUAL_ENDING = "_T1w"
"""BIDS ending that is taken where a subject has several kinds of images."""


@dataclass(frozen=True)
class DraftChoice:
    """A decision of a draft.

    Attributes:
        key: name of the choice, of a key of the card's [files] if possible.
        decision: clause on what was decided.
        change: keys of the card that change it, or "".
        question: asked at a terminal, if there are options.
        options: possible answers, the chosen one first; () if nothing is asked.
    """

    key: str
    decision: str
    change: str = ""
    question: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilePaths:
    """The column that names files, the folder of the files, and their paths below it.

    Attributes:
        keys: keys of the card's [files].
        several: whether a row has several files, as of a patient.
    """

    column: str
    root: str
    paths: Sequence[str]
    keys: Mapping[str, Any]
    several: bool = False
    choices: tuple[DraftChoice, ...] = ()


def find_paths(folder: Path, frame: "pd.DataFrame", table: Path, chosen: Mapping[str, str]) -> FilePaths:
    """Find the column of file paths, as they are or by a pattern; `UserError` if there is none.

    Args:
        frame: the table, with "" in empty cells.
        chosen: answers by key, of which path_pattern is used.
    """
    roots = (".", *class_folders(folder))
    for root in roots:
        check_header(table, folder / root, frame.columns)
    if has_row_as_header(frame):  # before a sentence or the card names a column
        raise UserError(
            f"{table}: its first line may be a row: add a line of column names above it, or rename the "
            "column that is called as one of its own cells."
        )
    for root in roots:
        fits = {name: _count_files(folder / root, frame[name]) for name in frame.columns}
        if column := _best_column(frame, fits):  # `validate` names the lines of those that are not there
            return FilePaths(column, root, list(frame[column]), {"path_column": column})
    search = FileSearch(folder)
    for pattern in (*PATTERNS, *padded_patterns(search), *(f"{root}/{{id}}.*" for root in roots[1:])):
        fits = {name: _count_found(search, pattern, frame[name]) for name in frame.columns}
        if column := _best_column(frame, fits):
            return _describe(search, frame, column, pattern, chosen)
    raise UserError(
        f"{table}: no column names files that lie in {folder}: add one, a row per file, with their paths "
        "relative to it, or their names without suffix."
    )


def _best_column(frame: "pd.DataFrame", fits: Mapping[str, float]) -> str:
    """Return the column of most files, of equal ones that with most different cells, or ""."""
    good = {name: fit for name, fit in fits.items() if fit > 0.5}
    return max(good, key=lambda name: (good[name], frame[name].nunique()), default="")


def _count_files(root: Path, cells: "pd.Series") -> float:
    """Return the share of some cells that are paths of files."""
    tried = _sample(list(cells))
    there = sum(not fault_of_path(cell, False) and is_file(root / cell) for cell in tried)
    return there / max(1, len(tried))


def _count_found(search: FileSearch, pattern: str, cells: "pd.Series") -> float:
    """Return the share of some cells for which a pattern finds files; 0 if they repeat."""
    known = [cell for cell in cells if cell]
    several = takes_several(pattern)
    if len(set(known)) < (1 if several else MOSTLY_UNIQUE) * len(cells):
        return 0.0
    tried = _sample(known)
    found = {search.find(pattern, cell) for cell in tried}  # cells that name one file count once
    return sum(len(each) == 1 or (several and len(each) > 1) for each in found) / max(1, len(tried))


def _describe(
    search: FileSearch, frame: "pd.DataFrame", column: str, pattern: str, chosen: Mapping[str, str]
) -> FilePaths:
    """Return the paths that a pattern finds, and the decision."""
    several, choices = takes_several(pattern), []
    if several:
        patterns = _by_ending(pattern, _paths(search, pattern, frame[column]))
        if len(patterns) > 1:
            default = next((each for each in patterns if USUAL_ENDING in each), patterns[0])
            pattern = chosen.get("path_pattern", default)
            choices.append(DraftChoice(
                "path_pattern", f"of {len(patterns)} kinds of images per row those of {pattern} are taken",
                f"path_pattern in [files] ({', '.join(each for each in patterns if each != pattern)})",
                "Which images of a row are meant", (pattern, *(each for each in patterns if each != pattern)),
            ))  # fmt: skip
        elif patterns:
            pattern = patterns[0]
    keys = {"path_column": column} if pattern == PLAIN else {"path_column": column, "path_pattern": pattern}
    if not choices:
        what = "in another spelling (case, \\ or accents)" if pattern == PLAIN else f"as {pattern}"
        choices.append(DraftChoice(
            "path_pattern", f"files are found by the column '{column}' {what}",
            "path_column and path_pattern in [files]",
        ))  # fmt: skip
    return FilePaths(column, ".", _paths(search, pattern, frame[column]), keys, several, tuple(choices))


def _paths(search: FileSearch, pattern: str, cells: "pd.Series") -> list[str]:
    return [path for cell in cells if cell for path in search.find(pattern, cell)]


def _by_ending(pattern: str, paths: Iterable[str]) -> list[str]:
    """Return a pattern for each ending of BIDS such as _T1w.nii.gz, most frequent first, else nothing."""
    names = [_BIDS_NAME.fullmatch(path) for path in paths]
    if not all(names):
        return []
    endings = Counter(name[1] for name in names if name).most_common()
    usual = [ending for ending, many in endings if 4 * many >= endings[0][1]]  # rare ones may name people
    return [pattern.removesuffix("*") + f"*{ending}" for ending in usual]


def _sample(things: Sequence[str]) -> Sequence[str]:
    return things[:: max(1, len(things) // TRIED_ROWS)]
