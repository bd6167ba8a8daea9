"""Verdict on two sets of scores of the same test images, by the statistics of reports."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..statistics.estimand import FIXED
from ..statistics.influence import fewest_groups_of_a_side, sum_within_groups
from ..statistics.metric_influence import JUDGED_METRICS, JudgedMetric, agreement_reason, decided_sides
from ..statistics.multiplicity import adjust_by_bh
from ..statistics.paired import (
    ALPHA,
    CEILING,
    MARGIN,
    NEITHER,
    WITHIN,
    PairedDifference,
    decide,
    paired_difference,
)
from ..statistics.uneven_seeds import uneven_seeds_reason
from ..statistics.verdict_terms import (
    BETTER,
    CHANCE_AUC,
    EQUIVALENT,
    FEW_TEST,
    HEADROOM,
    LEAST_GROUPS,
    UNDECIDED,
    WORSE,
    DoubtFlag,
    equivalence_level,
    few_groups_reason,
    too_few_images_reason,
)

_NAN = math.nan


@dataclass(frozen=True, eq=False)
class PairedScores:
    """Scores of A and B on the same test images, checked.

    Attributes:
        kind: binary, multiclass, multilabel or ordinal.
        truth: [n, classes] booleans.
        a: [seeds, n, classes].
        b: the same; seeds are paired by place.
        groups: [n], such as patients; None where every image is independent.
        metric: a name of `JUDGED_METRICS`.
        margin: of equivalence, in units of the metric.
        flags: reasons for doubt that are known already.
    """

    kind: str
    truth: NDArray[np.bool_]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    groups: NDArray[np.generic] | None = None
    metric: str = "auc"
    margin: float = MARGIN
    flags: tuple[DoubtFlag, ...] = ()

    @property
    def measure(self) -> JudgedMetric:
        """The metric."""
        return JUDGED_METRICS[self.metric]

    @property
    def fewest(self) -> int:
        """Test images of the rarer side of a class; all where classes do not matter to the metric."""
        n = len(self.truth)
        if not self.measure.needs_every_class:
            return n
        return int(np.minimum(self.truth.sum(axis=0), (~self.truth).sum(axis=0)).min())

    @property
    def n_groups(self) -> int:
        """Number of groups; 0 without."""
        return 0 if self.groups is None else len(np.unique(self.groups))

    @property
    def fewest_groups(self) -> int:
        """Number of groups of the rarer side of a class; of all where classes do not matter."""
        if self.groups is None or not self.measure.needs_every_class:
            return self.n_groups
        return fewest_groups_of_a_side(self.truth, self.groups)


@dataclass(frozen=True, repr=False)
class ScoreVerdict:
    """Whether A is better than B on one task, from scores alone.

    A `Verdict` of a report compares two inits of a run, and knows their records; this knows only scores, so
    that leaks, tuning and pretraining are not checked.

    Attributes:
        verdict: "better" (A than B), "worse", "equivalent" or "undecided", after correction over tasks.
        metric: `auc`, `balanced_accuracy`, `average_precision` or `brier`.
        margin: smaller differences count as none, in units of the metric.
        value_a: metric of A, the mean over trainings.
        value_b: of B.
        n: number of test images.
        groups: number of groups of test images; 0 without.
        seeds: number of paired trainings.
        estimand: what the interval covers.
        difference: `value_a` minus `value_b`; for the Brier score a negative difference is better.
        interval: its 95 % interval, not corrected over tasks; NaN where the error is unknown.
        p_better: probability, by the sampling distribution of the difference, that A is better by more than
            the margin.
        p_within_margin: that the two differ by less than the margin.
        p_worse: that A is worse by more than the margin; the three sum to 1.
        p: two-sided p-value of no difference.
        p_equivalent: p-value of a difference as large as the margin, by two one-sided tests.
        p_adjusted: `p` after correction over the tasks of `judge_many`; equal to it for one task.
        p_equivalent_adjusted: likewise.
        flags: reasons for doubt.
        paired: the difference with the errors from test images and from trainings.
    """

    verdict: str
    metric: str
    margin: float
    value_a: float
    value_b: float
    n: int
    groups: int
    seeds: int
    estimand: str
    difference: float
    interval: tuple[float, float] = (_NAN, _NAN)
    p_better: float = _NAN
    p_within_margin: float = _NAN
    p_worse: float = _NAN
    p: float = _NAN
    p_equivalent: float = _NAN
    p_adjusted: float = _NAN
    p_equivalent_adjusted: float = _NAN
    flags: tuple[DoubtFlag, ...] = ()
    paired: PairedDifference | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        low, high = self.interval
        names = "".join(f", {name}" for name in dict.fromkeys(flag.name for flag in self.flags))
        return (
            f"ScoreVerdict({self.verdict}: {self.metric} {self.value_a:.4f} against {self.value_b:.4f}, "
            f"difference {self.difference:+.4f} ({low:+.4f} to {high:+.4f}), P(better) {self.p_better:.2f}, "
            f"n {self.n:,}, seeds {self.seeds}{names})"
        )

    def has(self, *names: str) -> bool:
        """Whether one of these flags is raised."""
        return any(flag.name in names for flag in self.flags)


def judge_pairs(pairs: Mapping[str, PairedScores]) -> dict[str, ScoreVerdict]:
    """Judge every task, with p-values corrected over the tasks as reports correct them."""
    found = {task: _measure_pair(pair) for task, pair in pairs.items()}
    known = [task for task, verdict in found.items() if not math.isnan(verdict.p)]
    differ = adjust_by_bh([found[task].p for task in known])
    equal = adjust_by_bh([found[task].p_equivalent for task in known])
    for task, p, q in zip(known, differ, equal, strict=True):
        found[task] = _decide_verdict(found[task], p, q)
    return found


def _measure_pair(pair: PairedScores) -> ScoreVerdict:
    metric = pair.measure
    (values_a, of_a), (values_b, of_b) = (metric.compute(pair.kind, pair.truth, s) for s in (pair.a, pair.b))
    sides = pair.truth if metric.needs_every_class else None
    paired = paired_difference(values_a - values_b, sum_within_groups(of_a - of_b, pair.groups, sides))
    if len(pair.a) == 1:  # there are no other trainings to draw
        paired = replace(paired, seed_variance=0.0)
    flags = (*pair.flags, *_flags_of(pair, values_a, values_b))
    found = ScoreVerdict(
        verdict=UNDECIDED,
        metric=pair.metric,
        margin=pair.margin,
        value_a=float(values_a.mean()),
        value_b=float(values_b.mean()),
        n=len(pair.truth),
        groups=pair.n_groups,
        seeds=len(pair.a),
        estimand=_estimand(pair),
        difference=paired.difference,
        flags=flags,
        paired=paired,
    )
    obstacle = _obstacle(pair, paired)
    if obstacle:
        return replace(found, flags=(DoubtFlag("no-evidence", obstacle), *flags))
    low, high = paired.interval()
    limit = metric.largest(pair.kind)
    above, within, below = paired.chances(pair.margin)
    better, worse = (below, above) if metric.lower_is_better else (above, below)
    return replace(
        found,
        interval=(max(low, -limit), min(high, limit)),
        p_better=better,
        p_within_margin=within,
        p_worse=worse,
        p=paired.p_value(),
        p_equivalent=paired.p_equivalent(pair.margin),
    )


def _decide_verdict(found: ScoreVerdict, p: float, q: float) -> ScoreVerdict:
    known = replace(found, p_adjusted=p, p_equivalent_adjusted=q)
    level = equivalence_level(flag.name for flag in found.flags)
    shown = decide(p < ALPHA, q < level, blunt=level == 0)
    if shown == NEITHER:
        return known
    is_better = (found.difference > 0) != JUDGED_METRICS[found.metric].lower_is_better
    return replace(known, verdict=EQUIVALENT if shown == WITHIN else BETTER if is_better else WORSE)


def _estimand(pair: PairedScores) -> str:
    """Return what the interval covers, in words."""
    images = f"test images like these {len(pair.truth):,}"
    if pair.groups is not None:
        images = f"groups of test images like these {pair.n_groups:,}"
    if len(pair.a) == 1:
        return f"{FIXED}, on other {images}"
    trainings = f"for other trainings like these {len(pair.a)} of each, on other {images}"
    return f"{trainings}; training images and tuning are covered only as far as they vary between seeds"


def _obstacle(pair: PairedScores, paired: PairedDifference) -> str:
    """Return why the error of the difference is unknown; "" if it is known."""
    by_class = pair.measure.needs_every_class
    if by_class and pair.fewest < 2:
        return "a class has a single test image, so that the error of the metric is not known"
    if pair.groups is not None and pair.n_groups < 2:
        return "all test images are of one group: the error is not known"
    if pair.groups is not None and by_class and (few := pair.fewest_groups) < LEAST_GROUPS:
        of = "one group" if few == 1 else f"{few} groups"
        return f"all test images of a class are of {of}: the error is not known"
    if paired.test_variance == 0:
        return "no test image shows an error, so that the error of the difference is not known"
    n = len(pair.truth)
    return too_few_images_reason(n, pair.fewest if by_class else n // 2)


def _flags_of(pair: PairedScores, a: NDArray[np.float64], b: NDArray[np.float64]) -> Iterator[DoubtFlag]:
    """List the reasons for doubt; `a` and `b` are the metric [seeds]."""
    yield from _seed_flags(a, b)
    if not pair.measure.lower_is_better:
        yield from _ceiling_flags(a, b)
    for name, values in (("A", a), ("B", b)):
        if pair.metric == "auc" and values.mean() < CHANCE_AUC:
            reason = f"the AUC of {name}, {values.mean():.3f}, is below that of chance"
            yield DoubtFlag("below-chance", f"{reason}: look for inverted labels")
    if pair.fewest < FEW_TEST:
        few = "a class has only " if pair.measure.needs_every_class else "there are only "
        yield DoubtFlag("few-test", f"{few}{pair.fewest} test images")
    if reason := few_groups_reason(pair.n_groups, pair.fewest_groups):
        yield DoubtFlag("few-groups", reason)
    if pair.metric == "balanced_accuracy":
        of_a, of_b = (decided_sides(pair.kind, pair.truth, scores) for scores in (pair.a, pair.b))
        if reason := agreement_reason(of_a, of_b, pair.margin):
            yield DoubtFlag("no-disagreement", reason)


def _seed_flags(a: NDArray[np.float64], b: NDArray[np.float64]) -> Iterator[DoubtFlag]:
    if len(a) == 1:
        yield DoubtFlag("fixed-models", f"one training of each: the verdict is {FIXED} only")
        return
    values = np.stack([a, b])
    if reason := uneven_seeds_reason(values, ("A", "B"), range(len(a))):
        yield DoubtFlag("uneven-seeds", reason)
    still = [name for name, values in (("A", a), ("B", b)) if np.ptp(values) == 0]
    if len(still) == 2:
        yield DoubtFlag("fixed-models", f"every seed gives the same result: the verdict is {FIXED} only")
    elif still:
        reason = f"every seed of {still[0]} gives the same result: nothing is known of its other trainings"
        yield DoubtFlag("identical-seeds", reason)


def _ceiling_flags(a: NDArray[np.float64], b: NDArray[np.float64]) -> Iterator[DoubtFlag]:
    means = a.mean(), b.mean()
    if max(means) >= CEILING:
        reason = f"one of the two reaches {CEILING}: its errors rest on very few images"
        yield DoubtFlag("near-ceiling", reason)
    if min(means) >= HEADROOM:
        reason = f"both reach {HEADROOM} or more: the task is too easy to tell them apart"
        yield DoubtFlag("no-headroom", reason)
    for name, values in (("A", a), ("B", b)):
        if values.max() == 1:
            yield DoubtFlag("perfect", f"{name} scores 1.0: look for a leak, or a task too easy")
