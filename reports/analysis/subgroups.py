"""Does it serve everyone alike? The gap between subgroups per init, and whom an init helps more."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..statistics.paired import ALPHA, NEITHER, WITHIN, PairedDifference, decide
from ..statistics.subgroups import SubgroupGap, SubgroupScore, against_the_others, measure_gap
from .results import LeaderboardRow, Results
from .subgroup_split import SubgroupRow, split_subgroups
from .verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE, Verdict, compute_verdicts, holm_adjusted

SHOWN, SMALL = "a gap is shown", "within the margin"
MORE, ALIKE, LESS = "more than the others", "alike", "less than the others"


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
    extras = against_the_others(parts) if len(parts) > 1 else []
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
        return holm_adjusted(p_values) if questions == len(p_values) else p_values

    differ = corrected([each.p_value() for each in measured])
    equal = corrected([each.p_equivalent(margin) for each in measured])
    found = []
    for each, p, q, dull in zip(measured, differ, equal, blunt, strict=True):
        shown = decide(p < ALPHA and each.test_variance > 0, q < ALPHA, dull or each.test_variance == 0)
        sign = BETTER if each.difference > 0 else WORSE
        told = {WITHIN: EQUIVALENT, NEITHER: UNDECIDED}.get(shown, sign)
        found.append((each, p, told))
    return found
