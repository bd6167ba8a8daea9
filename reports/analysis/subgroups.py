"""Subgroups of a test set: scores, gap between them, and gain of an init on each."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..statistics.cross_validation import average_over_folds
from ..statistics.influence import macro_auc_influence
from ..statistics.multiplicity import adjust_by_holm
from ..statistics.paired import ALPHA, CEILING, NEITHER, WITHIN, PairedDifference, decide
from ..statistics.subgroups import SubgroupGap, SubgroupScore, contrast_with_others, measure_gap
from .influence_input import (
    read_arrays,
    read_predictions,
    score_evidence,
    stacked_folds,
    truth_of,
)
from .report_input import LeaderboardRow, ReportInput
from .verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE, Verdict, compute_verdicts

PREFIX = "column "
FEWEST_PER_SIDE = 10
"""Fewest images (patients, if known) on either side of each class: with fewer, the error of an AUC is itself
unknown (`FEW_TEST` of the flags)."""
UNKNOWN_VALUE = ""
"""Column value of images without an entry; counted, never scored."""
SHOWN, SMALL = "a gap is shown", "within the margin"
MORE, ALIKE, LESS = "more than the others", "alike", "less than the others"

_Columns = Mapping[str, NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class SubgroupRow:
    """One row on the test images of one subgroup.

    Attributes:
        column: e.g. "sex".
        value: e.g. "female"; `UNKNOWN_VALUE` where the column has no entry.
        images: number of test images of the subgroup.
        positives: number of them per scored class (binary: the second class alone).
        groups: number of patients, smears or lesions; 0 if unknown.
        part: AUC of every seed and influence of every image; None where undefined.
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
        """Mean AUC over seeds; NaN where undefined."""
        return float(self.part.values.mean()) if self.part else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval over test images and seeds, 0 to 1; NaN if one seed or a perfect score."""
        if self.part is None or self.part.exact or len(self.part.values) < 2:
            return math.nan, math.nan
        low, high = self.part.measure().interval()
        return max(low, 0.0), min(high, 1.0)

    @property
    def blunt(self) -> bool:
        """Whether its AUC is so near 1 that very few images determine the error."""
        return self.auc >= CEILING


@lru_cache(maxsize=1)  # for the section, the answer and the CSV file
def split_subgroups(results: ReportInput) -> Mapping[tuple[LeaderboardRow, str], tuple[SubgroupRow, ...]]:
    """Return (row, column) -> its subgroups by value, for rows with subgroup columns.

    Rows whose AUC cannot be confirmed from the predictions are left out, as from the verdicts.
    """
    with_columns = _rows_with_columns(results)
    if not with_columns:
        return {}
    evidence = score_evidence(results)
    return {
        (row, column): strata
        for row in with_columns
        if not evidence[row].problem
        for column, strata in _split_row(results, row)
    }


def read_subgroup_columns(paths: Sequence[Path | None]) -> _Columns:
    """Return the subgroup columns of one seed, in the order of its predictions; empty if unreadable."""
    arrays = read_arrays(paths, lambda name: name.startswith(PREFIX)) or {}
    columns = {name: values for name, values in arrays.items() if name.startswith(PREFIX)}
    return {name.removeprefix(PREFIX): values.astype(np.str_) for name, values in columns.items()}


def _rows_with_columns(results: ReportInput) -> list[LeaderboardRow]:
    """Return the rows that have columns, by one file for each task and setting."""
    has_columns: dict[tuple[str, str], bool] = {}
    for row in results.rows:
        if (row.task, row.setting) not in has_columns:
            columns = read_subgroup_columns(results.prediction_files(row.keys[0]))
            has_columns[row.task, row.setting] = bool(columns)
    return [row for row in results.rows if has_columns[row.task, row.setting]]


def _split_row(results: ReportInput, row: LeaderboardRow) -> Iterator[tuple[str, tuple[SubgroupRow, ...]]]:
    """Split one row by each column that is equal in all its seeds."""
    paths = [results.prediction_files(key) for key in row.keys]
    predictions = [stored for stored in map(read_predictions, paths) if stored]
    columns = [read_subgroup_columns(each) for each in paths]
    labels, groups = predictions[0].labels, predictions[0].groups
    scores = np.stack([stored.scores for stored in predictions]).astype(float)
    facts = results.tasks.get(row.task)
    keep = slice(1, None) if facts and facts.kind == "binary" else slice(None)
    truth, scores = truth_of(labels, scores.shape[-1])[:, keep], scores[..., keep]
    for name, values in columns[0].items():
        if all(np.array_equal(values, other.get(name, UNKNOWN_VALUE)) for other in columns):
            whole = _Whole(
                row, name, truth, scores, groups, stacked_folds(predictions), _hash(labels, groups, values)
            )
            yield name, tuple(_stratum(whole, value, values == value) for value in np.unique(values).tolist())


def _hash(*arrays: NDArray[np.generic] | None) -> str:
    return hashlib.sha256(b"|".join(b"" if part is None else part.tobytes() for part in arrays)).hexdigest()


@dataclass(frozen=True, eq=False)
class _Whole:
    """Whole test set of one leaderboard row, to be divided by subgroup column `column`.

    Truth is [n, classes], scores [seeds, n, classes], folds of cross-validation [seeds, n].
    """

    row: LeaderboardRow
    column: str
    truth: NDArray[np.bool_]
    scores: NDArray[np.float64]
    groups: NDArray[np.generic] | None
    folds: NDArray[np.int64] | None
    test: str


def _stratum(whole: _Whole, value: str, chosen: NDArray[np.bool_]) -> SubgroupRow:
    truth = whole.truth[chosen]
    groups = None if whole.groups is None else whole.groups[chosen]
    problem = "the column says nothing of them" if value == UNKNOWN_VALUE else _problem(truth, groups)
    if not problem and whole.folds is not None:
        problem = _fold_problem(truth, whole.folds[:, chosen])
    return SubgroupRow(
        row=whole.row,
        column=whole.column,
        value=value,
        images=int(chosen.sum()),
        positives=tuple(truth.sum(axis=0).tolist()),
        groups=0 if groups is None else len(np.unique(groups)),
        part=None if problem else _score_subgroup(whole, chosen),
        problem=problem,
        test=whole.test,
    )


def _problem(truth: NDArray[np.bool_], groups: NDArray[np.generic] | None) -> str:
    """Return why a subgroup with truth [n, classes] has no AUC, or ""."""
    sides: Sequence[NDArray[np.bool_]] = [side for column in truth.T for side in (column, ~column)]
    images = min(int(side.sum()) for side in sides)
    if images == 0:
        return "all are of one class" if truth.shape[1] == 1 else "a class does not occur, or is all there is"
    if images < FEWEST_PER_SIDE:
        return f"{images} of the rarer side of a class: fewer than {FEWEST_PER_SIDE}"
    if groups is not None and (fewest := min(len(np.unique(groups[s])) for s in sides)) < FEWEST_PER_SIDE:
        return f"one side of a class is of {fewest} groups: fewer than {FEWEST_PER_SIDE}"
    return ""


def _fold_problem(truth: NDArray[np.bool_], folds: NDArray[np.int64]) -> str:
    """Return why the folds [seeds, n] of a subgroup have no AUC with a known error, or ""."""
    parts = [truth[fold_of == fold] for fold_of in folds for fold in np.unique(fold_of)]
    fewest = min(int(np.minimum(part.sum(axis=0), (~part).sum(axis=0)).min()) for part in parts)
    return f"a fold has {fewest} of the rarer side of a class: fewer than 2" if fewest < 2 else ""


def _score_subgroup(whole: _Whole, chosen: NDArray[np.bool_]) -> SubgroupScore:
    """Score a subgroup; its influence is indexed by the units of the whole test set."""
    truth, scores = whole.truth[chosen], whole.scores[:, chosen]
    groups = None if whole.groups is None else whole.groups[chosen]
    folds = None if whole.folds is None else whole.folds[:, chosen]
    values, influence = average_over_folds(macro_auc_influence, truth, scores, folds, groups)
    if whole.groups is None:
        units, place = len(chosen), np.flatnonzero(chosen)
    else:
        names = np.unique(whole.groups)
        units, place = len(names), np.searchsorted(names, np.unique(whole.groups[chosen]))
    placed = np.zeros((len(values), units))
    placed[:, place] = influence
    return SubgroupScore(values, placed, whole.folds is not None)


@dataclass(frozen=True, eq=False)
class RowGap:
    """Gap between the subgroups of one column for one row.

    Attributes:
        strata: all subgroups, including those without an AUC.
        worst: subgroup with the lowest AUC; None where fewer than two have one.
        best: subgroup with the highest AUC; None as `worst`.
        gap: difference of the two; None as `worst`.
        shown: `SHOWN`, `SMALL` or `UNDECIDED`.
    """

    row: LeaderboardRow
    column: str
    strata: tuple[SubgroupRow, ...]
    worst: SubgroupRow | None = None
    best: SubgroupRow | None = None
    gap: SubgroupGap | None = None
    shown: str = UNDECIDED


@dataclass(frozen=True, eq=False)
class SubgroupGain:
    """Difference of two inits on one subgroup, and its contrast with the other subgroups.

    Attributes:
        pair: verdict on all test images of the two inits.
        stratum: subgroup row of the first init.
        difference: first minus second init on this subgroup.
        p: p-value of `difference` after Holm over the subgroups of the column.
        verdict: on this subgroup, after Holm.
        extra: `difference` minus its mean over the other subgroups; None without others.
        p_extra: p-value of `extra` after Holm; two subgroups are a single test.
        alike: `MORE`, `ALIKE`, `LESS` or `UNDECIDED`.
    """

    pair: Verdict
    stratum: SubgroupRow
    difference: PairedDifference
    p: float
    verdict: str
    extra: PairedDifference | None
    p_extra: float
    alike: str

    @property
    def column(self) -> str:
        """Subgroup column, e.g. "sex"."""
        return self.stratum.column


@lru_cache(maxsize=1)
def subgroup_gaps(results: ReportInput) -> tuple[RowGap, ...]:
    """Measure the gap of every row and column, in the order of `results.rows`.

    Inconclusive rows and perfect scores get the size of the gap only.
    """
    split = split_subgroups(results)
    return tuple(_row_gap(row, column, found, results.margin) for (row, column), found in split.items())


def _row_gap(row: LeaderboardRow, column: str, found: tuple[SubgroupRow, ...], margin: float) -> RowGap:
    scored = [each for each in found if each.part]
    if len(scored) < 2:
        return RowGap(row, column, found)
    measured = measure_gap([each.part for each in scored if each.part])
    worst, best = min(scored, key=lambda each: each.auc), max(scored, key=lambda each: each.auc)
    if row.inconclusive or any(each.part and each.part.exact for each in scored):
        size_only = SubgroupGap(measured.size, math.nan, math.nan, math.nan)
        return RowGap(row, column, found, worst, best, size_only)
    shown = SHOWN if measured.low > 0 else UNDECIDED
    if measured.high < margin and not any(each.blunt for each in scored):
        shown = SMALL
    return RowGap(row, column, found, worst, best, measured, shown)


@lru_cache(maxsize=1)
def subgroup_gains(results: ReportInput) -> tuple[SubgroupGain, ...]:
    """Compare every two inits subgroup by subgroup, wherever there is a verdict on all images.

    Holm's correction runs over the subgroups of one column, for one task, pair, protocol and fraction.
    """
    cut = split_subgroups(results)
    columns: dict[LeaderboardRow, list[str]] = defaultdict(list)
    for row, column in cut:
        columns[row].append(column)
    found: list[SubgroupGain] = []
    for pair in compute_verdicts(results) if cut else ():
        if pair.barred is None:
            for column in columns[pair.a]:
                found += _compare_column(pair, cut[pair.a, column], cut.get((pair.b, column), ()))
    return tuple(found)


def _compare_column(
    pair: Verdict, ours: Sequence[SubgroupRow], theirs: Sequence[SubgroupRow]
) -> list[SubgroupGain]:
    """Compare two inits on the subgroups of one column."""
    if not theirs or ours[0].test != theirs[0].test:
        return []
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.part and b.part]
    parts = [_score_at(a, pair.seeds).minus(_score_at(b, pair.seeds)) for a, b in both]
    blunt = [a.blunt or b.blunt for a, b in both]
    claims = _claims([part.measure() for part in parts], len(parts), blunt, pair.margin)
    extras = contrast_with_others(parts) if len(parts) > 1 else []
    # with two subgroups the second contrast is minus the first: one test, not two
    tests = 1 if len(parts) == 2 else len(parts)
    contrasts = _claims([e.measure() for e in extras], tests, [any(blunt)] * len(extras), pair.margin)
    words = {BETTER: MORE, WORSE: LESS, EQUIVALENT: ALIKE, UNDECIDED: UNDECIDED}
    rest = [(m, p, words[v]) for m, p, v in contrasts] or [(None, math.nan, UNDECIDED)] * len(both)
    gains = zip(both, claims, rest, strict=True)
    return [SubgroupGain(pair, a, *claim, *extra) for (a, _), claim, extra in gains]


def _score_at(stratum: SubgroupRow, seeds: Sequence[int]) -> SubgroupScore:
    if stratum.part is None:
        raise AssertionError("only subgroups with an AUC are compared")
    chosen = np.isin(stratum.row.seeds, seeds)
    part = stratum.part
    return replace(part, values=part.values[chosen], influence=part.influence[chosen])


def _claims(
    measured: Sequence[PairedDifference], questions: int, blunt: Sequence[bool], margin: float
) -> list[tuple[PairedDifference, float, str]]:
    """Return each difference with p-value and verdict, after Holm over so many questions."""

    def correct(p_values: list[float]) -> list[float]:
        return adjust_by_holm(p_values) if questions == len(p_values) else p_values

    differ = correct([each.p_value() for each in measured])
    equal = correct([each.p_equivalent(margin) for each in measured])
    claims = []
    for each, p, q, dull in zip(measured, differ, equal, blunt, strict=True):
        shown = decide(p < ALPHA and each.test_variance > 0, q < ALPHA, dull or each.test_variance == 0)
        sign = BETTER if each.difference > 0 else WORSE
        claims.append((each, p, {WITHIN: EQUIVALENT, NEITHER: UNDECIDED}.get(shown, sign)))
    return claims
