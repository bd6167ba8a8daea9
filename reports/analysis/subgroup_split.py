"""Cuts the test images of every row by the subgroup columns that stand beside its predictions."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..statistics.influence import macro_auc_influence, summed_within
from ..statistics.paired import CEILING
from ..statistics.subgroups import SubgroupScore
from .influence_input import read_predictions, score_evidence, truth_of
from .results import LeaderboardRow, Results

PREFIX = "column "
FEWEST_PER_SIDE = 10
"""Images, or patients where they are known, that either side of each class must have: below that the error of
an AUC is itself unknown (`FEW_TEST` of the flags)."""
UNKNOWN_VALUE = ""
"""The value of an image of which the column says nothing; counted, never scored."""

_Columns = Mapping[str, NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class SubgroupRow:
    """One row on the test images of one subgroup.

    Attributes:
        row: init, task and the rest.
        column: e.g. "sex".
        value: e.g. "female"; `UNKNOWN_VALUE` where the column says nothing.
        images: test images of the subgroup.
        positives: how many of them are of each class that is scored: of a binary task the second alone.
        groups: patients, smears or lesions that they are of; 0 where nobody knows.
        part: the AUC of every seed with the share of every image; None where it is undefined.
        problem: why it is undefined, or "".
        test: hash of labels, groups and column: equal where two inits may be compared.
    """

    row: LeaderboardRow
    column: str
    value: str
    images: int
    positives: tuple[int, ...]
    groups: int
    part: SubgroupScore | None
    problem: str
    test: str

    @property
    def auc(self) -> float:
        """Mean over seeds; NaN where undefined."""
        return float(self.part.values.mean()) if self.part else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval over test images and seeds, within 0 to 1; NaN with one seed or a perfect score."""
        if self.part is None or self.part.exact or len(self.part.values) < 2:
            return math.nan, math.nan
        low, high = self.part.measured().interval()
        return max(low, 0.0), min(high, 1.0)

    @property
    def blunt(self) -> bool:
        """Whether it scores so near 1 that its error rests on very few images."""
        return self.auc >= CEILING


@lru_cache(maxsize=1)  # the section, the answer and the file ask
def split_subgroups(results: Results) -> Mapping[tuple[LeaderboardRow, str], tuple[SubgroupRow, ...]]:
    """Return (row, column) -> its subgroups by name; nothing of rows without columns.

    A row whose AUC the report cannot confirm from the predictions is left out, as from the verdicts.
    """
    with_columns = _with_columns(results)
    if not with_columns:
        return {}
    known = score_evidence(results)
    found = {}
    for row in with_columns:
        if not known[row].problem:
            for column, of_column in _of_row(results, row):
                found[row, column] = of_column
    return found


def read_subgroup_columns(path: Path | None) -> _Columns:
    """Return the subgroup columns beside one record's predictions; empty where none can be read."""
    if path is None:
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if name.startswith(PREFIX)]
            return {name.removeprefix(PREFIX): arrays[name] for name in names}
    except Exception:  # absent, cut, or not ours, as of `read_predictions`
        return {}


def _with_columns(results: Results) -> list[LeaderboardRow]:
    """Return the rows that have columns; one file tells for all rows of one task and setting."""
    tells: dict[tuple[str, str], bool] = {}
    for row in results.rows:
        if (row.task, row.setting) not in tells:
            columns = read_subgroup_columns(results.predictions_of(row.keys[0]))
            tells[row.task, row.setting] = bool(columns)
    return [row for row in results.rows if tells[row.task, row.setting]]


def _of_row(results: Results, row: LeaderboardRow) -> Iterator[tuple[str, tuple[SubgroupRow, ...]]]:
    """Cut one row by each column that all its seeds hold alike."""
    paths = [results.predictions_of(key) for key in row.keys]
    read = [found for found in map(read_predictions, paths) if found]
    columns = [read_subgroup_columns(path) for path in paths]
    labels, _, groups = read[0]
    scores = np.stack([scores for _, scores, _ in read]).astype(float)
    facts = results.tasks.get(row.task)
    keep = slice(1, None) if facts and facts.kind == "binary" else slice(None)
    truth, scores = truth_of(labels, scores.shape[-1])[:, keep], scores[..., keep]
    for name, values in columns[0].items():
        if all(np.array_equal(values, other.get(name, UNKNOWN_VALUE)) for other in columns):
            whole = _Whole(row, name, truth, scores, groups, _hash(labels, groups, values))
            yield name, tuple(_stratum(whole, value, values == value) for value in np.unique(values).tolist())


def _hash(*arrays: NDArray[np.generic] | None) -> str:
    return hashlib.sha256(b"|".join(b"" if part is None else part.tobytes() for part in arrays)).hexdigest()


@dataclass(frozen=True, eq=False)
class _Whole:
    """The test set of one row and column: truth [n, classes], scores [seeds, n, classes], groups [n]."""

    row: LeaderboardRow
    column: str
    truth: NDArray[np.bool_]
    scores: NDArray[np.float64]
    groups: NDArray[np.generic] | None
    test: str


def _stratum(whole: _Whole, value: str, chosen: NDArray[np.bool_]) -> SubgroupRow:
    truth = whole.truth[chosen]
    groups = None if whole.groups is None else whole.groups[chosen]
    problem = "the column says nothing of them" if value == UNKNOWN_VALUE else _problem(truth, groups)
    return SubgroupRow(
        row=whole.row,
        column=whole.column,
        value=value,
        images=int(chosen.sum()),
        positives=tuple(truth.sum(axis=0).tolist()),
        groups=0 if groups is None else len(np.unique(groups)),
        part=None if problem else _part(whole, chosen),
        problem=problem,
        test=whole.test,
    )


def _problem(truth: NDArray[np.bool_], groups: NDArray[np.generic] | None) -> str:
    """Say why a subgroup with truth [n, classes] has no AUC, or ""."""
    sides: Sequence[NDArray[np.bool_]] = [side for column in truth.T for side in (column, ~column)]
    images = min(int(side.sum()) for side in sides)
    if images == 0:
        return "all are of one class" if truth.shape[1] == 1 else "a class does not occur, or is all there is"
    if images < FEWEST_PER_SIDE:
        return f"{images} of the rarer side of a class: fewer than {FEWEST_PER_SIDE}"
    of = FEWEST_PER_SIDE if groups is None else min(len(np.unique(groups[side])) for side in sides)
    return (
        f"one side of a class is of {of} groups: fewer than {FEWEST_PER_SIDE}" if of < FEWEST_PER_SIDE else ""
    )


def _part(whole: _Whole, chosen: NDArray[np.bool_]) -> SubgroupScore:
    """Score a subgroup; its influence is placed among the units of the whole test set."""
    values, influence = macro_auc_influence(whole.truth[chosen], whole.scores[:, chosen])
    if whole.groups is None:
        units, place = len(chosen), np.flatnonzero(chosen)
    else:
        names = np.unique(whole.groups)
        units, place = len(names), np.searchsorted(names, np.unique(whole.groups[chosen]))
        influence = summed_within(influence, whole.groups[chosen])
    placed = np.zeros((len(values), units))
    placed[:, place] = influence
    return SubgroupScore(values, placed)
