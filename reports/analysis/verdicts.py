"""Better, worse, equivalent or undecided: the verdict on every pair of inits, task by task."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..statistics.estimand import NONE, OWN, SHARED, describe_estimand
from ..statistics.families import moderate_differences
from ..statistics.metric_influence import JUDGED_METRICS, agreement_reason
from ..statistics.multiplicity import adjust_by_bh
from ..statistics.paired import ALPHA, NEITHER, WITHIN, PairedDifference, decide, paired_difference
from ..statistics.verdict_terms import (
    BETTER,
    EQUIVALENT,
    UNDECIDED,
    WORSE,
    DoubtFlag,
    equivalence_level,
    too_few_images_reason,
)
from .flags import LEAKS, ComparisonSide, flags_of
from .influence_input import score_evidence
from .load_report_input import setting_hash
from .longer_scratch import LongerGain, longer_gains
from .report_input import LeaderboardRow, ReportInput, comparable_fields, visible_fields

POWER = 0.8
MOST_SEEDS_NEEDED = 1000
"""A need for more seeds than this counts as infinite."""
EXCLUDING = ("mostly-in-train", "contaminated", "single-seed", "no-evidence", "not-comparable")
"""Flags that exclude a verdict."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """Comparison of row `a` with row `b` at one place.

    Attributes:
        seeds: common seeds.
        paired: difference a - b with its errors; None where it cannot be measured.
        margin: of equivalence, in units of the metric.
        n_test: number of test images.
        verdict: one of `VERDICTS`, after Benjamini and Hochberg's correction over the tasks of the family.
        p: two-sided p-value of no difference, before and after the correction.
        p_equivalent: p-value of a difference of `margin` or more, before and after the correction.
        mde: minimum detectable difference at power 0.8, these seeds and images, and the level that a further
            call of the family needs; infinite above the `largest` possible, NaN if unknown.
        seeds_needed: seeds that show the observed difference, or the margin if larger, with power 0.8, never
            fewer than were run; infinite where only more test images would help, NaN where decided or where
            it depends on how much larger than observed the true difference is.
        flags: reasons to doubt.
        estimand: what the interval covers; "" where there is none.
        metric: name of the metric.
        largest: possible difference of two values of the metric.
    """

    a: LeaderboardRow
    b: LeaderboardRow
    seeds: tuple[int, ...]
    paired: PairedDifference | None
    margin: float
    n_test: int
    verdict: str = UNDECIDED
    p: tuple[float, float] = (math.nan, math.nan)
    p_equivalent: tuple[float, float] = (math.nan, math.nan)
    mde: float = math.nan
    seeds_needed: float = math.nan
    flags: tuple[DoubtFlag, ...] = ()
    estimand: str = ""
    metric: str = "auc"
    largest: float = 1.0

    @property
    def lower_is_better(self) -> bool:
        """Whether a negative difference is better."""
        return JUDGED_METRICS[self.metric].lower_is_better

    @property
    def difference(self) -> float:
        """Mean of a - b over the common seeds; NaN where it cannot be measured."""
        return self.paired.difference if self.paired else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference, uncorrected, clipped to possible values; NaN if unknown."""
        if self.paired is None or self.paired.seeds < 2:
            return math.nan, math.nan
        low, high = self.paired.interval()
        return max(low, -self.largest), min(high, self.largest)

    @property
    def chances(self) -> tuple[float, float, float]:
        """Probabilities that `a` is better, within the margin, or worse; NaN where nothing can be judged."""
        if self.barred or math.isnan(self.p[0]) or self.paired is None:
            return math.nan, math.nan, math.nan
        above, within, below = self.paired.chances(self.margin)
        return (below, within, above) if self.lower_is_better else (above, within, below)

    @property
    def generated(self) -> bool:
        """Whether the images are generated."""
        return self.has("phantom")

    @property
    def barred(self) -> DoubtFlag | None:
        """First flag that excludes a verdict; None if there is none."""
        return next((flag for flag in self.flags if flag.name in EXCLUDING), None)

    def has(self, *names: str) -> bool:
        """Whether one of these flags is raised."""
        return any(flag.name in names for flag in self.flags)

    def seen_from(self, init: str) -> "Verdict":
        """Return the comparison with `init` as `a`, swapped if necessary.

        Raises:
            ValueError: `init` is neither of the two.
        """
        if init not in (self.a.init, self.b.init):
            raise ValueError(f"{init} is not compared here")
        if self.a.init == init:
            return self
        verdict = {BETTER: WORSE, WORSE: BETTER}.get(self.verdict, self.verdict)
        swapped = self.paired and replace(self.paired, difference=-self.paired.difference)
        return replace(self, a=self.b, b=self.a, paired=swapped, verdict=verdict)


@lru_cache(maxsize=4)  # all sections need it
def compute_verdicts(results: ReportInput) -> tuple[Verdict, ...]:
    """Compare every two inits wherever both saw the same task, labels and settings.

    In the order of `results.rows`; in each pair `a` is the init that comes first.
    """
    records = {record.key: record for record in results.counted}
    evidence = score_evidence(results)
    shared = {(*visible_fields(record.cell), setting_hash(record)) for record in results.step("tune")}
    found: list[Verdict] = []
    for rows in _rows_by_place(results.rows):
        sides = []
        for row in rows:
            members = tuple(cell for key in row.keys for cell in results.cells_of(records[key]))
            audit = results.leakage.get(members[-1].leakage_key)
            sides.append(ComparisonSide(row, evidence[row], members, audit))
        tuned_once = any((*visible_fields(row), row.setting) in shared for row in rows)
        pairs = ((a, b) for a, b in itertools.combinations(sides, 2) if a.row.init != b.row.init)
        found += (
            _compare_pair(a, b, results.margin, sides, tuned_once)
            for a, b in pairs
            if not _has_own_comparison(a, b, rows)
        )
    gains = longer_gains(results)
    return tuple(_flag_longer_scratch(verdict, gains) for verdict in _decide_families(found))


def _flag_longer_scratch(verdict: Verdict, gains: Mapping[LeaderboardRow, LongerGain]) -> Verdict:
    """Say of "better than random weights" whether it survives when these are trained longer."""
    swapped = verdict.verdict == WORSE
    winner, loser = (verdict.b, verdict.a) if swapped else (verdict.a, verdict.b)
    if verdict.verdict not in (BETTER, WORSE) or loser not in gains:
        return verdict
    flag = gains[loser].flag(winner.init, verdict.difference, verdict.interval)
    return replace(verdict, flags=(*verdict.flags, flag))


def _rows_by_place(rows: Sequence[LeaderboardRow]) -> Iterable[list[LeaderboardRow]]:
    """Group the rows by place, whether or not their settings allow a comparison."""
    places: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        places[comparable_fields(row)].append(row)
    return places.values()


def _has_own_comparison(a: ComparisonSide, b: ComparisonSide, rows: Sequence[LeaderboardRow]) -> bool:
    """Whether settings differ and either side has the other init in its own setting."""
    settings = {(row.init, row.setting) for row in rows}
    apart = a.row.setting != b.row.setting
    return apart and not settings.isdisjoint({(a.row.init, b.row.setting), (b.row.init, a.row.setting)})


def _compare_pair(
    a: ComparisonSide, b: ComparisonSide, margin: float, beside: Sequence[ComparisonSide], tuned_once: bool
) -> Verdict:
    """Measure one pair, or flag why that is not possible."""
    seeds = tuple(sorted(set(a.evidence.seeds) & set(b.evidence.seeds)))
    found = Verdict(
        a.row,
        b.row,
        seeds,
        None,
        margin,
        a.evidence.n_test,
        flags=flags_of(a, b),
        metric=a.evidence.metric,
        largest=a.evidence.measure.largest(a.evidence.kind),
    )
    why = _obstacle(a, b, seeds, beside)
    if why:
        return _refuse(found, why)
    sides = zip(a.evidence.at(seeds), b.evidence.at(seeds), strict=True)
    values, influence = (np.subtract(ours, theirs) for ours, theirs in sides)
    measured = paired_difference(values, influence, a.evidence.cross_validated)
    if measured.test_variance == 0:  # DeLong's estimate fails there: the error is not 0
        reason = "no test image shows an error, so that the error of the difference is not known"
        return _refuse(found, DoubtFlag("no-evidence", reason))
    if reason := agreement_reason(a.evidence.sides_at(seeds), b.evidence.sides_at(seeds), margin):
        found = replace(found, flags=(*found.flags, DoubtFlag("no-disagreement", reason)))
    if len(seeds) < 2:
        return replace(found, paired=measured)
    return replace(
        found,
        paired=measured,
        p=(measured.p_value(), math.nan),
        p_equivalent=(measured.p_equivalent(margin), math.nan),
        estimand=_estimand(a, b, seeds, tuned_once),
    )


def _estimand(a: ComparisonSide, b: ComparisonSide, seeds: Sequence[int], tuned_once: bool) -> str:
    """Return what the interval of a pair covers; `tuned_once`: one seed chose for all."""
    chosen = any(record.choices for record in (*a.records, *b.records))
    return describe_estimand(
        a.row.fraction,
        SHARED if tuned_once else OWN if chosen else NONE,
        still=sum(bool(np.ptp(side.evidence.at(seeds)[0]) == 0) for side in (a, b)),
        grouped=a.evidence.groups > 0,
        resampled=bool(a.records[-1].cell.resampled),
        cross_validated=a.evidence.cross_validated,
    )


def _refuse(found: Verdict, why: DoubtFlag) -> Verdict:
    flags = sorted((why, *found.flags), key=lambda flag: flag.name not in LEAKS)  # a leak comes first
    return replace(found, flags=tuple(flags))


def _obstacle(
    a: ComparisonSide, b: ComparisonSide, seeds: Sequence[int], beside: Sequence[ComparisonSide]
) -> DoubtFlag | None:
    if a.row.setting != b.row.setting:
        return DoubtFlag("not-comparable", "other data, protocol version, recipe or device kind: refused")
    for side in (a, b):
        own = (side.row.init, side.row.setting)
        if sum((other.row.init, other.row.setting) == own for other in beside) > 1:
            return DoubtFlag(
                "not-comparable",
                f"there are rows of {side.row.init} with different weights: the comparison is ambiguous",
            )
    problem = a.evidence.problem or b.evidence.problem
    if problem:
        return DoubtFlag("no-evidence", problem)
    if a.evidence.images != b.evidence.images:
        return DoubtFlag("not-comparable", "the two were scored on different test images: refused")
    if not seeds:
        return DoubtFlag("no-evidence", "the two have no seed in common")
    if a.evidence.partitions_at(seeds) != b.evidence.partitions_at(seeds):
        return DoubtFlag("not-comparable", "the two were scored on different folds of a seed: refused")
    few = too_few_images_reason(a.evidence.n_test, a.evidence.fewest)
    return DoubtFlag("no-evidence", few) if few else None


def _decide_families(found: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Decide the verdicts of each family of tasks: moderated seed variances, corrected p-values."""
    families: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, verdict in enumerate(found):
        if not math.isnan(verdict.p[0]) and not verdict.barred:
            a = verdict.a
            family = (a.init, verdict.b.init, a.size, a.input_size, a.arch, a.protocol, a.fraction)
            families[(*family, verdict.generated)].append(place)
    decided = list(found)
    for places in families.values():
        for place, verdict in zip(places, _decide_family([found[place] for place in places]), strict=True):
            decided[place] = verdict
    return tuple(decided)


def _decide_family(members: Sequence[Verdict]) -> list[Verdict]:
    measured = moderate_differences([verdict.paired for verdict in members if verdict.paired])
    differ = [each.p_value() for each in measured]
    equal = [each.p_equivalent(verdict.margin) for each, verdict in zip(measured, members, strict=True)]
    found = [
        replace(verdict, paired=each, p=(p, p_bh), p_equivalent=(q, q_bh))
        for verdict, each, p, p_bh, q, q_bh in zip(
            members, measured, differ, adjust_by_bh(differ), equal, adjust_by_bh(equal), strict=True
        )
    ]
    called = sum(verdict.p[1] < ALPHA for verdict in found)
    return [_decide_verdict(v, further_level(called - (v.p[1] < ALPHA), len(found))) for v in found]


def further_level(calls: int, tasks: int) -> float:
    """Return the level at which one more task is called, beside `calls` other calls of a family."""
    return ALPHA * (calls + 1) / tasks


def _decide_verdict(verdict: Verdict, alpha: float) -> Verdict:
    if verdict.paired is None:
        raise AssertionError("a verdict with a p-value has a difference")
    least = detectable_difference(verdict.paired, alpha)
    known = replace(verdict, mde=least if least <= verdict.largest else math.inf)
    level = equivalence_level(flag.name for flag in verdict.flags)
    shown = decide(verdict.p[1] < ALPHA, verdict.p_equivalent[1] < level, blunt=level == 0)
    if shown != NEITHER:
        differs = BETTER if (verdict.difference > 0) != verdict.lower_is_better else WORSE
        return replace(known, verdict=EQUIVALENT if shown == WITHIN else differs)
    wanted = max(abs(verdict.difference), verdict.margin)
    return replace(known, seeds_needed=seeds_needed(verdict.paired, wanted, alpha))


def detectable_difference(measured: PairedDifference, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the minimum difference that a two-sided test at `alpha` detects with this power."""
    return measured.half_width(alpha) + measured.half_width(2 * (1 - power))


def seeds_needed(
    measured: PairedDifference, difference: float, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the fewest seeds, at least those that were run, that find a true difference of this size.

    Returns:
        Infinite if no number of seeds would find even the far end of the 95 % interval; NaN if none finds
        `difference`, but one might, since the true difference may be larger.
    """
    limit = detectable_difference(measured.with_seeds(MOST_SEEDS_NEEDED), alpha, power)
    if limit > difference:
        return math.inf if limit > abs(measured.difference) + measured.half_width() else math.nan
    few, many = measured.seeds, max(MOST_SEEDS_NEEDED, measured.seeds)
    while few < many:
        middle = (few + many) // 2
        enough = detectable_difference(measured.with_seeds(middle), alpha, power) <= difference
        few, many = (few, middle) if enough else (middle + 1, many)
    return float(few)
