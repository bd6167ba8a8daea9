"""Scores of the subgroups of a test set, the gap between them, and whether an init helps one more."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..statistics.influence import macro_auc_influence, sum_within_groups
from ..statistics.paired import ALPHA, CEILING, NEITHER, WITHIN, PairedDifference, decide
from ..statistics.subgroups import SubgroupGap, SubgroupScore, contrast_with_others, measure_gap
from .influence_input import read_predictions, score_evidence, truth_of
from .results import LeaderboardRow, Results
from .verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE, Verdict, compute_verdicts, adjust_by_holm

PREFIX = "column "
FEWEST_PER_SIDE = 10
"""Images, or patients where they are known, that either side of each class must have: below that the error of
an AUC is itself unknown (`FEW_TEST` of the flags)."""
UNKNOWN_VALUE = ""
"""The value of an image of which the column says nothing; counted, never scored."""
SHOWN, SMALL = "a gap is shown", "within the margin"
MORE, ALIKE, LESS = "more than the others", "alike", "less than the others"

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
        influence = sum_within_groups(influence, whole.groups[chosen])
    placed = np.zeros((len(values), units))
    placed[:, place] = influence
    return SubgroupScore(values, placed)


@dataclass(frozen=True, eq=False)
class RowGap:
    """How far the subgroups of one column lie apart for one init.

    Attributes:
        row: init, task and the rest.
        column: e.g. "sex".
        strata: all subgroups, those without an AUC too.
        worst: the subgroup with the lowest AUC, or None where fewer than two have one.
        best: the one with the highest, likewise.
        gap: from the lowest to the highest; None likewise.
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
    """What the first of two inits adds for one subgroup, and whether it adds as much for the others.

    Attributes:
        pair: the verdict on all test images of the same two inits.
        stratum: of the first init.
        difference: of the two on this subgroup.
        p: its p-value after Holm over the subgroups of the column.
        verdict: on this subgroup, after Holm.
        extra: that difference minus the mean difference over the other subgroups; None where there is none.
        p_extra: its p-value, likewise; of two subgroups there is but one such question.
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
        """The subgroup column, e.g. "sex"."""
        return self.stratum.column


@lru_cache(maxsize=1)
def subgroup_gaps(results: Results) -> tuple[RowGap, ...]:
    """Measure the gap of every row and column, in the order of `results.rows`.

    Of a row from which nothing may be concluded only the size of the gap is given.
    """
    return tuple(
        _gap(row, column, found, results.margin) for (row, column), found in split_subgroups(results).items()
    )


def _gap(row: LeaderboardRow, column: str, found: tuple[SubgroupRow, ...], margin: float) -> RowGap:
    scored = [each for each in found if each.part]
    if len(scored) < 2:
        return RowGap(row, column, found)
    measured = measure_gap([each.part for each in scored if each.part])
    worst, best = min(scored, key=lambda each: each.auc), max(scored, key=lambda each: each.auc)
    if row.inconclusive or any(each.part and each.part.exact for each in scored):
        return RowGap(
            row, column, found, worst, best, SubgroupGap(measured.size, math.nan, math.nan, math.nan)
        )
    shown = SHOWN if measured.low > 0 else UNDECIDED
    if measured.high < margin and not any(each.blunt for each in scored):
        shown = SMALL
    return RowGap(row, column, found, worst, best, measured, shown)


@lru_cache(maxsize=1)
def subgroup_gains(results: Results) -> tuple[SubgroupGain, ...]:
    """Compare every two inits subgroup by subgroup, wherever there is a verdict on all images.

    Holm's correction runs over the subgroups of one column, for one task, pair, protocol and number of
    labels: each such family is one question.
    """
    cut = split_subgroups(results)
    columns: dict[LeaderboardRow, list[str]] = defaultdict(list)
    for row, column in cut:
        columns[row].append(column)
    found: list[SubgroupGain] = []
    for pair in compute_verdicts(results) if cut else ():
        if pair.barred is None:
            for column in columns[pair.a]:
                found += _family(pair, cut[pair.a, column], cut.get((pair.b, column), ()))
    return tuple(found)


def _family(pair: Verdict, ours: Sequence[SubgroupRow], theirs: Sequence[SubgroupRow]) -> list[SubgroupGain]:
    """Compare two inits on the subgroups of one column."""
    if not theirs or ours[0].test != theirs[0].test:
        return []
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.part and b.part]
    parts = [_at(a, pair.seeds).minus(_at(b, pair.seeds)) for a, b in both]
    blunt = [a.blunt or b.blunt for a, b in both]
    claims = _claims([part.measured() for part in parts], len(parts), blunt, pair.margin)
    extras = contrast_with_others(parts) if len(parts) > 1 else []
    # of two subgroups the second contrast is the first turned round: one question, not two
    asked = 1 if len(parts) == 2 else len(parts)
    contrasts = _claims([e.measured() for e in extras], asked, [any(blunt)] * len(extras), pair.margin)
    turned = {BETTER: MORE, WORSE: LESS, EQUIVALENT: ALIKE, UNDECIDED: UNDECIDED}
    nothing = (None, math.nan, UNDECIDED)
    rest = [(m, p, turned[told]) for m, p, told in contrasts] or [nothing] * len(both)
    return [
        SubgroupGain(pair, a, *told, *extra) for (a, _), told, extra in zip(both, claims, rest, strict=True)
    ]


def _at(stratum: SubgroupRow, seeds: Sequence[int]) -> SubgroupScore:
    if stratum.part is None:
        raise AssertionError("only subgroups with an AUC are compared")
    chosen = np.isin(stratum.row.seeds, seeds)
    return SubgroupScore(stratum.part.values[chosen], stratum.part.influence[chosen])


def _claims(
    measured: Sequence[PairedDifference], questions: int, blunt: Sequence[bool], margin: float
) -> list[tuple[PairedDifference, float, str]]:
    """Return each difference with its p-value and what it shows, after Holm over so many questions."""

    def corrected(p_values: list[float]) -> list[float]:
        return adjust_by_holm(p_values) if questions == len(p_values) else p_values

    differ = corrected([each.p_value() for each in measured])
    equal = corrected([each.p_equivalent(margin) for each in measured])
    found = []
    for each, p, q, dull in zip(measured, differ, equal, blunt, strict=True):
        shown = decide(p < ALPHA and each.test_variance > 0, q < ALPHA, dull or each.test_variance == 0)
        sign = BETTER if each.difference > 0 else WORSE
        told = {WITHIN: EQUIVALENT, NEITHER: UNDECIDED}.get(shown, sign)
        found.append((each, p, told))
    return found
