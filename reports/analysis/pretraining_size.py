"""Score over the number of pretraining images, per task and over tasks, from inits such as `mednet@4000`."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..statistics.influence import _Floats
from ..statistics.over_tasks import MEAN_UNITS, mean_over
from ..statistics.paired import paired_difference
from ..statistics.power_law import PowerLaw, SizeNeeded, extrapolation_problem
from .aggregate import ComparableSetting, SettingScores, common_seeds, gather_scores
from .influence_input import ScoreEvidence, score_evidence
from .report_input import LeaderboardRow, ReportInput, look_up_metric
from .verdicts import Verdict, compute_verdicts

AT = "@"
"""Between family and number of images in the name of an init."""
REFERENCE = "imagenet"
SAME_SIZE = 1.25
"""Largest ratio of the images of one init on different tasks that count as one size over tasks."""
_NAN = (math.nan, math.nan)

RowPlace = tuple[ComparableSetting, str, str]
"""Setting, task and init."""


@dataclass(frozen=True)
class SizePoint:
    """Scores of one init of a curve.

    Attributes:
        images: different images that the weights have seen; over tasks their geometric mean.
        score: mean over the seeds that all points share; over tasks the mean over independent tasks.
        interval: 95 % interval of the score over test images and seeds; NaN over tasks and where unknown.
        gap: difference to `REFERENCE`; NaN without it.
        gap_interval: 95 % interval of the gap: of the verdict, or over independent tasks; NaN where unknown.
        keys: record keys.
    """

    init: str
    images: float
    score: float
    interval: tuple[float, float] = _NAN
    gap: float = math.nan
    gap_interval: tuple[float, float] = _NAN
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SizeCurve:
    """Scores of one family of inits over its numbers of pretraining images.

    Attributes:
        family: "mednet" for `mednet@1000`, `mednet@2000` and `mednet`.
        task: its name; "" for the mean over tasks.
        tasks: those of the curve.
        units: number of independent tasks.
        points: by number of images; at least two.
        seeds: number of common seeds; the smallest over tasks.
        reference: score of `REFERENCE` on the same seeds; NaN without it.
        sign: 1 where a higher score is better, -1 where a lower one is.
        problem: why the curve cannot be extrapolated, or "".
        law: fit of `sign` times the scores; None with a problem.
        needed: images with the score of `REFERENCE`; None with a problem or without the reference.
        span: smallest and largest possible score; infinite where there is none.
        left_out: inits that are no point of the mean over tasks, as their images differ between tasks.
    """

    setting: ComparableSetting
    family: str
    task: str
    tasks: tuple[str, ...]
    units: int
    points: tuple[SizePoint, ...]
    seeds: int
    reference: float
    sign: int
    problem: str
    law: PowerLaw | None
    needed: SizeNeeded | None
    span: tuple[float, float]
    left_out: tuple[str, ...] = ()

    @property
    def inits(self) -> tuple[str, ...]:
        """Inits of the points."""
        return tuple(point.init for point in self.points)

    def predict(self, images: float) -> tuple[float, float, float]:
        """Return the predicted score of a further pretraining and its 95 % interval; NaN with a problem.

        None is beyond what the metric can be.
        """
        if self.law is None:
            return math.nan, math.nan, math.nan
        at = np.array([images])
        found = [self.law.at(at), *self.law.interval(at, further=True)]
        score, low, high = (min(max(self.sign * float(x[0]), self.span[0]), self.span[1]) for x in found)
        return score, min(low, high), max(low, high)


def family_of(init: str) -> str:
    """Return the name of an init without its number of images; "" for one that is derived from another."""
    return "" if ":" in init else init.partition(AT)[0]


def sized_inits(inits: Sequence[str]) -> frozenset[str]:
    """Return the inits with a number of images whose family is also there with all images."""
    return frozenset(init for init in inits if AT in init and family_of(init) in inits)


@lru_cache(maxsize=4)  # for the section and the answer
def size_curves(results: ReportInput) -> tuple[SizeCurve, ...]:
    """Gather every curve of two or more sizes: in each setting the mean over tasks first, then each task."""
    if not results.sign:
        return ()
    facts = _CurveFacts(results)
    found: list[SizeCurve] = []
    for scores in gather_scores(results):
        for family in dict.fromkeys(family_of(init) for init in scores.inits if AT in init):
            if family:
                inits = [init for init in scores.inits if family_of(init) == family]
                curves = list(_task_curves(facts, scores, family, inits))
                found += [*_curve_over_tasks(facts, scores, family, curves), *curves]
    return tuple(found)


class _CurveFacts:
    """Rows, verdicts and evidence of a report, by what a curve asks for."""

    def __init__(self, results: ReportInput) -> None:
        self.results = results
        self.evidence: Mapping[LeaderboardRow, ScoreEvidence] = score_evidence(results)
        self.verdicts: dict[tuple[LeaderboardRow, LeaderboardRow], Verdict] = {
            (each.a, each.b): each for each in compute_verdicts(results)
        }
        self.rows: dict[tuple[str, ...], LeaderboardRow] = {row.keys: row for row in results.rows}
        records = {record.key: record for record in results.counted}
        made = {r.init.identity: r.counts.train for r in results.step("pretrain") if r.init and r.counts}
        self.images: dict[str, float] = {}
        for key, record in records.items():
            if record.init:  # older records have the number in those of the pretrainings only
                known = record.init.pretraining_images or made.get(record.init.identity, 0)
                self.images[key] = float(known)

    def row(self, scores: SettingScores, task: str, init: str) -> LeaderboardRow:
        """Return the row of an init."""
        return self.rows[scores.keys[task, init]]

    def gap_interval(self, row: LeaderboardRow, reference: LeaderboardRow) -> tuple[float, float]:
        """Return the interval of the verdict on a row against the reference; NaN where there is none."""
        verdict = self.verdicts.get((row, reference)) or self.verdicts.get((reference, row))
        if verdict is None or verdict.barred or verdict.metric != self.results.primary:
            return _NAN
        return verdict.seen_from(row.init).interval


def _task_curves(
    facts: _CurveFacts, scores: SettingScores, family: str, inits: Sequence[str]
) -> Iterator[SizeCurve]:
    for tasks in scores.units.values():
        for task, by_init in tasks.items():
            sizes = {
                init: facts.images.get(scores.keys[task, init][0], 0.0) for init in inits if init in by_init
            }
            known = sorted((init for init in sizes if sizes[init] > 0), key=lambda init: sizes[init])
            wanted = [*known, REFERENCE] if REFERENCE in by_init else known
            seeds = common_seeds(by_init, wanted)
            if len(known) > 1 and seeds:
                yield _task_curve(facts, scores, family, task, {init: sizes[init] for init in known}, seeds)


def _task_curve(
    facts: _CurveFacts,
    scores: SettingScores,
    family: str,
    task: str,
    sizes: Mapping[str, float],
    seeds: Sequence[int],
) -> SizeCurve:
    by_init = next(tasks[task] for tasks in scores.units.values() if task in tasks)
    reference = facts.row(scores, task, REFERENCE) if REFERENCE in by_init else None
    level = _mean_score(by_init[REFERENCE], seeds) if reference else math.nan
    rows = [facts.row(scores, task, init) for init in sizes]
    points = tuple(
        SizePoint(
            row.init,
            sizes[row.init],
            score := _mean_score(by_init[row.init], seeds),
            _score_interval(facts, row, seeds),
            score - level,
            facts.gap_interval(row, reference) if reference else _NAN,
            row.keys,
        )
        for row in rows
    )
    shift = _shared_variance(facts, rows, reference, seeds) if reference else math.nan
    return _fitted(facts, scores.setting, family, task, (task,), 1, points, len(seeds), level, shift)


def _mean_score(by_seed: Mapping[int, float], seeds: Sequence[int]) -> float:
    return float(np.mean([by_seed[seed] for seed in seeds]))


def _score_interval(facts: _CurveFacts, row: LeaderboardRow, seeds: Sequence[int]) -> tuple[float, float]:
    """Return the interval of a score over test images and seeds; NaN for one seed or without predictions."""
    evidence = facts.evidence[row]
    if evidence.problem or evidence.metric != facts.results.primary or len(seeds) < 2:
        return _NAN
    return paired_difference(*evidence.at(seeds), evidence.cross_validated).interval()


def _shared_variance(
    facts: _CurveFacts, rows: Sequence[LeaderboardRow], reference: LeaderboardRow, seeds: Sequence[int]
) -> float:
    """Return the variance of the distance between a whole curve and the reference; NaN where unknown.

    Its errors are those of other test images and of the seeds of the reference, which no residual shows.
    """
    evidence = [facts.evidence[row] for row in (*rows, reference)]
    if any(each.problem or each.metric != facts.results.primary for each in evidence):
        return math.nan
    if len({each.images for each in evidence}) > 1 or len(seeds) < 2:
        return math.nan
    values, influences = zip(*(each.at(seeds) for each in evidence), strict=True)
    measured = paired_difference(
        np.mean(values[:-1], axis=0) - values[-1],
        np.mean(influences[:-1], axis=0) - influences[-1],
        evidence[-1].cross_validated,
    )
    return measured.test_variance + measured.seed_variance


def _curve_over_tasks(
    facts: _CurveFacts, scores: SettingScores, family: str, curves: Sequence[SizeCurve]
) -> Iterator[SizeCurve]:
    """Yield the mean over independent tasks, of the inits that all tasks have; nothing for one task."""
    curves = [curve for curve in curves if not math.isnan(curve.reference)] or curves
    has_reference = any(not math.isnan(curve.reference) for curve in curves)
    sizes: dict[str, list[float]] = defaultdict(list)
    for curve in curves:
        for point in curve.points:
            sizes[point.init].append(point.images)
    whole = {init: images for init, images in sizes.items() if len(images) == len(curves)}
    same = {
        init: float(np.exp(np.log(images).mean()).round())
        for init, images in whole.items()
        if max(images) <= SAME_SIZE * min(images)
    }
    inits = sorted(same, key=lambda init: same[init])
    matrix = scores.matrix([*inits, REFERENCE] if has_reference else inits)  # [units, inits]
    units = len(matrix)
    if len(inits) < 2 or units < 2:
        return
    means, gaps = matrix.mean(axis=0), matrix[:, : len(inits)] - matrix[:, -1:] if has_reference else None
    points = []
    for place, init in enumerate(inits):
        gap = mean_over(gaps[:, place]) if gaps is not None else None
        keys = tuple(key for curve in curves for key in scores.keys[curve.task, init])
        ends = (gap.low, gap.high) if gap else _NAN
        difference = gap.difference if gap else math.nan
        points.append(SizePoint(init, same[init], float(means[place]), _NAN, difference, ends, keys))
    level = float(means[-1]) if has_reference else math.nan
    shift = _variance_over_units(gaps) if gaps is not None else math.nan
    tasks, seeds = tuple(curve.task for curve in curves), min(curve.seeds for curve in curves)
    left_out = tuple(init for init in sizes if init not in same)
    yield _fitted(
        facts, scores.setting, family, "", tasks, units, tuple(points), seeds, level, shift, left_out
    )


def _variance_over_units(gaps: _Floats) -> float:
    """Return the variance over tasks of the mean of `gaps` [units, sizes]; NaN for fewer than three tasks."""
    units = len(gaps)
    return float(gaps.mean(axis=1).var(ddof=1) / units) if units >= MEAN_UNITS else math.nan


def _fitted(
    facts: _CurveFacts,
    setting: ComparableSetting,
    family: str,
    task: str,
    tasks: tuple[str, ...],
    units: int,
    points: tuple[SizePoint, ...],
    seeds: int,
    reference: float,
    shift: float,
    left_out: tuple[str, ...] = (),
) -> SizeCurve:
    """Return a curve with its fit and the images that it needs, or why it cannot be extrapolated."""
    sign = facts.results.sign
    sizes = np.array([point.images for point in points])
    values = sign * np.array([point.score for point in points])
    problem = extrapolation_problem(sizes, values)
    law = None if problem else PowerLaw(sizes, values)
    needed = law.reaches(sign * reference, shift) if law and not math.isnan(reference + shift) else None
    metric = look_up_metric(facts.results.primary, facts.results.metric_facts)
    span = (
        -math.inf if metric.low is None else metric.low,
        math.inf if metric.high is None else metric.high,
    )
    start = (setting, family, task, tasks, units, points, seeds, reference, sign)
    return SizeCurve(*start, problem, law, needed, span, left_out)
