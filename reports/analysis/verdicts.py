"""Better, worse, equivalent or undecided: the verdict on every pair of inits, task by task."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..statistics.paired import ALPHA, NEITHER, WITHIN, PairedDifference, decide, paired_difference
from .flags import LEAKS, ComparisonSide, DoubtFlag, flags_of
from .influence_input import score_evidence
from .results import LeaderboardRow, Results, comparable_fields

BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
VERDICTS = (BETTER, EQUIVALENT, UNDECIDED, WORSE)
POWER = 0.8
LARGEST_DIFFERENCE = 1.0
"""Difference of two AUCs."""
MOST_SEEDS_NEEDED = 1000
"""More seeds than these count as no number of seeds."""
EXCLUDING = ("mostly-in-train", "contaminated", "single-seed", "no-evidence", "not-comparable")
"""Flags with which no verdict is given."""
NEVER_EQUIVALENT = ("near-ceiling", "few-test", "few-groups")
"""Flags with which two inits are not called equivalent: an error that so few deciding images, or patients,
show is no error that one may rely on. Two perfect scores have none at all."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What can be said of init `a` against init `b` in one place.

    Attributes:
        a: the row whose difference is stated.
        b: the row that is subtracted.
        seeds: those that both have.
        paired: the difference and its errors; None where it cannot be measured.
        margin: differences smaller than this count as none.
        n_test: test images.
        verdict: one of `VERDICTS`, after Holm's correction over the tasks of the family.
        p: two-sided p-value of no difference, as it is and after Holm.
        p_equivalent: p-value of a difference of `margin` or more, as it is and after Holm.
        mde: least true difference that so many seeds and images show with power 0.8, at the error rate that
            Holm asks of the first task of the family; infinite where not even `LARGEST_DIFFERENCE` would be
            shown, NaN
            if unknown.
        seeds_needed: seeds with which a difference as large as the one seen, but at least the margin, is
            shown with power 0.8; infinite where only more test images would help, NaN where not asked.
        flags: reasons to doubt.
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

    @property
    def difference(self) -> float:
        """Mean of a - b over the common seeds; NaN where it cannot be measured."""
        return self.paired.difference if self.paired else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference, uncorrected, within what is possible; NaN where there is none."""
        if self.paired is None or self.paired.seeds < 2:
            return math.nan, math.nan
        low, high = self.paired.interval()
        return max(low, -LARGEST_DIFFERENCE), min(high, LARGEST_DIFFERENCE)

    @property
    def generated(self) -> bool:
        """Whether a program made the images."""
        return self.has("phantom")

    @property
    def barred(self) -> DoubtFlag | None:
        """The flag that forbids a verdict, if there is one."""
        return next((flag for flag in self.flags if flag.name in EXCLUDING), None)

    def has(self, *names: str) -> bool:
        """Whether one of these flags is raised."""
        return any(flag.name in names for flag in self.flags)

    def seen_from(self, init: str) -> "Verdict":
        """Return the comparison with `init` first, as it is or turned round.

        Raises:
            ValueError: `init` is neither of the two.
        """
        if init not in (self.a.init, self.b.init):
            raise ValueError(f"{init} is not compared here")
        if self.a.init == init:
            return self
        turned = {BETTER: WORSE, WORSE: BETTER}.get(self.verdict, self.verdict)
        measured = self.paired and replace(self.paired, difference=-self.paired.difference)
        return replace(self, a=self.b, b=self.a, paired=measured, verdict=turned)


@lru_cache(maxsize=4)  # every section of a report asks
def compute_verdicts(results: Results) -> tuple[Verdict, ...]:
    """Compare every two inits wherever both saw the same task, labels and settings.

    Args:
        results: the run, with the margin of equivalence.

    Returns:
        In the order of `results.rows`; in each pair `a` is the init that stands first.
    """
    records = {record.key: record for record in results.counted}
    known = score_evidence(results)
    audits = {(audit.task, audit.size, audit.data): audit for audit in results.leakage_audits}
    found: list[Verdict] = []
    for rows in _places(results.rows):
        sides = []
        for row in rows:
            held = tuple(records[key] for key in row.keys)
            data = held[-1].hashes.data.partition(", ")[0]
            sides.append(ComparisonSide(row, known[row], held, audits.get((row.task, row.size, data))))
        pairs = ((a, b) for a, b in itertools.combinations(sides, 2) if a.row.init != b.row.init)
        found += (_compared(a, b, results.margin, sides) for a, b in pairs if not _compared_apart(a, b, rows))
    return _corrected(found)


def _places(rows: Sequence[LeaderboardRow]) -> Iterable[list[LeaderboardRow]]:
    """Gather the rows that stand side by side, whether or not they may be compared."""
    places: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        places[comparable_fields(row)].append(row)
    return places.values()


def _compared_apart(a: ComparisonSide, b: ComparisonSide, rows: Sequence[LeaderboardRow]) -> bool:
    """Whether the settings differ and either of the two has its own comparison with the other's init."""
    held = {(row.init, row.setting) for row in rows}
    apart = a.row.setting != b.row.setting
    return apart and not held.isdisjoint({(a.row.init, b.row.setting), (b.row.init, a.row.setting)})


def _compared(
    a: ComparisonSide, b: ComparisonSide, margin: float, beside: Sequence[ComparisonSide]
) -> Verdict:
    """Measure one pair; where that cannot be done a flag says why."""
    seeds = tuple(sorted(set(a.evidence.seeds) & set(b.evidence.seeds)))
    found = Verdict(a.row, b.row, seeds, None, margin, a.evidence.n_test, flags=flags_of(a, b))
    why = _obstacle(a, b, seeds, beside)
    if why:
        return _refused(found, why)
    values, influence = (
        np.subtract(*pair) for pair in zip(a.evidence.at(seeds), b.evidence.at(seeds), strict=True)
    )
    measured = paired_difference(values, influence)
    if measured.test_variance == 0:  # DeLong's estimate breaks down there: it is no error of 0
        reason = "no test image shows an error, so that the error of the difference is not known"
        return _refused(found, DoubtFlag("no-evidence", reason))
    if len(seeds) < 2:
        return replace(found, paired=measured)
    return replace(
        found,
        paired=measured,
        p=(measured.p_value(), math.nan),
        p_equivalent=(measured.p_equivalent(margin), math.nan),
    )


def _refused(found: Verdict, why: DoubtFlag) -> Verdict:
    flags = sorted((why, *found.flags), key=lambda flag: flag.name not in LEAKS)  # a leak comes first
    return replace(found, flags=tuple(flags))


def _obstacle(
    a: ComparisonSide, b: ComparisonSide, seeds: Sequence[int], beside: Sequence[ComparisonSide]
) -> DoubtFlag | None:
    if a.row.setting != b.row.setting:
        return DoubtFlag("not-comparable", "other data, protocol version, recipe or device kind: refused")
    for side in (a, b):
        twins = [
            other
            for other in beside
            if other.row.init == side.row.init and other.row.setting == side.row.setting
        ]
        if len(twins) > 1:
            return DoubtFlag(
                "not-comparable",
                f"there are rows of {side.row.init} with different weights: nobody can say which is meant",
            )
    problem = a.evidence.problem or b.evidence.problem
    if problem:
        return DoubtFlag("no-evidence", problem)
    if a.evidence.images != b.evidence.images:
        return DoubtFlag("not-comparable", "the two were scored on different test images: refused")
    if not seeds:
        return DoubtFlag("no-evidence", "the two have no seed in common")
    n, rarer = a.evidence.n_test, a.evidence.fewest
    if 2 / math.comb(n, min(rarer, 4)) >= ALPHA:  # 4 and 4 are enough; more have far too many orders to count
        few = f"{n} test images, {rarer} of the rarer side of a class, are too few"
        reason = f"{few}: not even a perfect order of them has an exact p-value below {ALPHA:g}"
        return DoubtFlag("no-evidence", reason)
    return None


def _corrected(found: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Give the verdicts after Holm's correction within each family: one question asked of many tasks."""
    families: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, verdict in enumerate(found):
        if not math.isnan(verdict.p[0]) and not verdict.barred:
            a = verdict.a
            family = (a.init, verdict.b.init, a.size, a.input_size, a.arch, a.protocol, a.fraction)
            families[(*family, verdict.generated)].append(place)
    decided = list(found)
    for members in families.values():
        differ = adjust_by_holm([found[place].p[0] for place in members])
        equal = adjust_by_holm([found[place].p_equivalent[0] for place in members])
        for place, p, q in zip(members, differ, equal, strict=True):
            decided[place] = _decided(found[place], p, q, ALPHA / len(members))
    return tuple(decided)


def _decided(verdict: Verdict, p: float, q: float, alpha: float) -> Verdict:
    if verdict.paired is None:
        raise AssertionError("what has a p-value has been measured")
    least = detectable_difference(verdict.paired, alpha)
    known = replace(
        verdict,
        p=(verdict.p[0], p),
        p_equivalent=(verdict.p_equivalent[0], q),
        mde=least if least <= LARGEST_DIFFERENCE else math.inf,
    )
    shown = decide(p < ALPHA, q < ALPHA, verdict.has(*NEVER_EQUIVALENT))
    if shown != NEITHER:
        differs = BETTER if verdict.difference > 0 else WORSE
        return replace(known, verdict=EQUIVALENT if shown == WITHIN else differs)
    wanted = max(abs(verdict.difference), verdict.margin)
    return replace(known, seeds_needed=seeds_needed(verdict.paired, wanted, alpha))


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values after Holm's step-down correction (Holm 1979), in the same order."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def detectable_difference(measured: PairedDifference, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the least true difference that a two-sided test at `alpha` finds with this power."""
    return measured.half_width(alpha) + measured.half_width(2 * (1 - power))


def seeds_needed(
    measured: PairedDifference, difference: float, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return with how many seeds a true difference of this size is found; infinite if with none."""
    if detectable_difference(measured.with_seeds(MOST_SEEDS_NEEDED), alpha, power) > difference:
        return math.inf
    few, many = 2, MOST_SEEDS_NEEDED
    while few < many:
        middle = (few + many) // 2
        enough = detectable_difference(measured.with_seeds(middle), alpha, power) <= difference
        few, many = (few, middle) if enough else (middle + 1, many)
    return float(few)
