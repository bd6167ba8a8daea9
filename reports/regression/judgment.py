"""Judgment of a run against a baseline, with tolerances for the variation over seeds."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ...benchmark.schema.records import MetricFacts, Record
from ...core.errors import UserError, unknown_name_error
from ..analysis.report_input import ReportInput, comparable_fields, look_up_metric, visible_fields
from ..elements.format import format_percent
from .baseline import BaselineFile, BaselineRow, SeedScore, basis_of, seed_score
from .changes import ComparisonPlace

REGRESSION_FLOOR = 0.005
"""Smallest fall that counts, as a share of the metric's range; another processor's rounding stays below it
(docs/regression.md)."""
REMADE = 0.15
"""The same for weights pretrained again: another processor ends at other weights, whose scores differ with a
standard deviation of a third of this (measured, docs/regression.md)."""
REGRESSION_ALPHA = 0.001
"""Rate of reruns with new seeds in which any row goes red without a change, for a normal spread over seeds; a
tenth of `PROMISED_RATE`, since it need not be normal."""
PROMISED_RATE = 0.01
"""Rate of false alarms stated to readers."""

RegressionVerdict = Literal["fell", "missing", "unsure", "rose", "held"]


@dataclass(frozen=True)
class RowJudgment:
    """Judgment of one row of the baseline.

    Attributes:
        verdict: fell and missing are red; unsure could not be judged; rose and held are green.
        before: mean of the baseline over the seeds that the judgment uses.
        now: mean of the run; NaN where missing.
        seeds: number of seeds of (baseline, run) that the judgment uses.
        allowed: largest change that counts as none, in units of the metric.
        why: source of the tolerance, or why there is no judgment.
        metric: label, direction and range of the row's metric.
    """

    line: BaselineRow
    verdict: RegressionVerdict
    before: float
    now: float
    seeds: tuple[int, int]
    allowed: float
    why: str
    metric: MetricFacts

    @property
    def red(self) -> bool:
        """Whether it breaks the build."""
        return self.verdict in ("fell", "missing")

    @property
    def change(self) -> float:
        """``now - before``."""
        return self.now - self.before


@dataclass(frozen=True)
class PooledSpread:
    """Standard deviation over seeds, with its degrees of freedom."""

    sd: float
    freedom: int


def check_regression(
    baseline: BaselineFile, results: ReportInput, inits: Sequence[str] = ()
) -> list[RowJudgment]:
    """Judge a run by every row of a baseline, or by those of `inits` if there are any.

    Raises:
        UserError: the run has other data, recipe, protocol version or sources of weights.
    """
    for name in inits:
        if name not in (known := {line.init for line in baseline.lines}):
            raise unknown_name_error("init of the baseline", name, known)
    lines = [line for line in baseline.lines if line.init in (inits or (line.init,))]
    found: dict[ComparisonPlace, list[Record]] = defaultdict(list)
    for record in results.counted:
        found[visible_fields(record.cell)].append(record)
    lost: dict[ComparisonPlace, list[str]] = defaultdict(list)
    for missing in results.missing:
        lost[visible_fields(missing.cell)].append(f"seed {missing.cell.seed}: {missing.reason}")
    errors = {
        visible_fields(r.cell): r.error
        for r in results.failed
        if r.cell.step == "score" and not r.cell.longer
    }
    spreads, metrics = pool_spreads(lines), _metrics(baseline, results, lines)
    judgments = []
    for line in lines:
        now = _scores_by_seed(line, found[line.place])
        if now:
            pool = spreads.get(_pool_key(line))
            judgment = _judge_row(line, now, pool, len(lines), metrics[line.metric])
            seeds = lost[line.place]
            if seeds and not judgment.red:  # the remaining seeds may be the good ones
                judgment = replace(judgment, verdict="missing", why=", ".join(seeds))
            judgments.append(judgment)
        else:
            judgments.append(_missing_row(line, errors.get(line.place, ""), metrics[line.metric]))
    return judgments


def _metrics(
    baseline: BaselineFile, results: ReportInput, lines: Sequence[BaselineRow]
) -> dict[str, MetricFacts]:
    """Return the labels of a baseline's metrics; `UserError` if a direction is not clear."""
    found = {}
    for name in {line.metric for line in lines}:
        before, now = (look_up_metric(name, of.metric_facts) for of in (baseline, results))
        described = [of.metric_facts for of in (results, baseline) if name in of.metric_facts]
        if (len(described) == 2 and before.sign != now.sign) or not (before.sign and now.sign):
            raise UserError(
                f"It is not clear which end of {name} is better: baseline and run must agree on it. Run both "
                "with the same version of its plug-in, and write the baseline anew with --update."
            )
        found[name] = look_up_metric(name, described[0] if described else {})
    return found


def row_name(line: BaselineRow) -> str:
    """Return the name of a row for a sentence."""
    return f"{line.task}, {line.init}, {line.protocol}, {format_percent(line.fraction)} of the labels"


def _scores_by_seed(line: BaselineRow, records: Sequence[Record]) -> dict[int, SeedScore]:
    """Return seed -> score of a row; `UserError` if its records have another basis."""
    same = [record for record in records if basis_of(record) == line.basis]
    if records and not same:
        there, here = line.basis, basis_of(records[0])
        names = (name for name in there.__struct_fields__ if getattr(there, name) != getattr(here, name))
        differences = {n: f"{getattr(here, n)}, not {getattr(there, n)}" for n in names}
        what = ", ".join(f"{DIFFERENCE_WORDS[n]} ({values})" for n, values in differences.items())
        raise UserError(
            f"The baseline cannot judge {row_name(line)}, since the run has {what}: use what the baseline "
            "was made with, judge other --inits, or write a new baseline with --update."
        )
    same.sort(key=lambda record: record.finished)
    scores = {record.cell.seed: seed_score(record, line.metric) for record in same}
    return {seed: score for seed, score in scores.items() if score is not None}


DIFFERENCE_WORDS = {
    "data": "other data",
    "card": "another task card",
    "protocol_version": "another protocol version",
    "recipe": "another recipe",
    "identity": "weights of another origin",
}


def _missing_row(line: BaselineRow, error: str, shown: MetricFacts) -> RowJudgment:
    why = f"failed: {error}" if error else "the run has no score"
    return RowJudgment(line, "missing", line.mean, math.nan, (len(line.values), 0), math.nan, why, shown)


def _judge_row(
    line: BaselineRow, now: dict[int, SeedScore], pool: PooledSpread | None, rows: int, shown: MetricFacts
) -> RowJudgment:
    """Judge one row by the sharpest valid comparison."""
    seeds = [] if line.trained else [s for s in line.values if s in now]
    again = [s for s in seeds if _is_repeat(line.values[s], now[s])]
    before = [line.values[seed].value for seed in again or line.values]
    after = [now[seed].value for seed in again or now]
    if again:
        allowed = REGRESSION_FLOOR * shown.span
        why = "same labels and weights: a rerun repeats the score but for rounding"
    else:
        spread = seed_tolerance(before, pool, len(after), rows)
        allowed, why = max(REGRESSION_FLOOR * shown.span, spread), "what other seeds may change"
        if _is_remade(line, now):
            allowed = math.hypot(REMADE * shown.span, spread)
            why = "weights pretrained anew, and what other seeds may change"
    old, new = float(np.mean(before)), float(np.mean(after))
    verdict = _verdict(shown.sign * (new - old), allowed)
    return RowJudgment(line, verdict, old, new, (len(before), len(after)), allowed, why, shown)


def _verdict(rise: float, allowed: float) -> RegressionVerdict:
    if math.isinf(allowed):
        return "unsure"
    return "fell" if rise < -allowed else "rose" if rise > allowed else "held"


def _is_repeat(before: SeedScore, now: SeedScore) -> bool:
    return before.subset == now.subset and before.weights == now.weights


def _is_remade(line: BaselineRow, now: dict[int, SeedScore]) -> bool:
    """Whether the weights differ but have the same origin: a MedNet that was pretrained again."""
    if line.basis.identity.startswith("sha256:"):  # a file with fixed content
        return False
    loaded = {each.weights for each in line.values.values() if not each.weights.startswith("random:")}
    return bool(loaded) and not {each.weights for each in now.values()} <= loaded


def pool_spreads(lines: Sequence[BaselineRow]) -> dict[object, PooledSpread]:
    """Pool the spread over seeds of the inits of one task, network, protocol and fraction.

    They share label subsets and test set, so that their standard deviations are similar, while those of two
    tasks differ several-fold. Rows without a spread are left out.
    """
    groups: dict[object, list[NDArray[np.float64]]] = defaultdict(list)
    for line in lines:
        values = np.array([each.value for each in line.values.values()])
        if np.ptp(values) > 0:
            groups[_pool_key(line)].append(values)
    spreads: dict[object, PooledSpread] = {}
    for group, rows in groups.items():
        freedom = sum(len(values) - 1 for values in rows)
        squares = sum(float(((values - values.mean()) ** 2).sum()) for values in rows)
        spreads[group] = PooledSpread(math.sqrt(squares / freedom), freedom)
    return spreads


def _pool_key(line: BaselineRow) -> object:
    return *comparable_fields(line), line.metric


def seed_tolerance(before: Sequence[float], pool: PooledSpread | None, now: int, rows: int) -> float:
    """Return the largest difference of the means of old and new seeds that seeds alone explain.

    The bound is the one-sided prediction limit of a t distribution at ``REGRESSION_ALPHA / rows``
    (Bonferroni). Its standard deviation is the pool's, or the row's own if larger, to avoid false alarms of a
    noisy row among quiet ones.

    Args:
        before: scores of the baseline's seeds.
        pool: spread of the rows with the same task, network, protocol and fraction; None if they have none.
        now: number of new seeds.
        rows: number of rows that are judged together.

    Returns:
        In units of the metric; 0 where all seeds are equal; infinite where no spread is known.
    """
    own = float(np.std(before, ddof=1)) if len(before) > 1 else math.nan
    if len(before) > 1 and np.ptp(before) == 0:
        return 0.0
    if pool is None:
        return math.inf
    sd = max(pool.sd, own) if own > 0 else pool.sd
    quantile = float(stdtrit(pool.freedom, 1 - REGRESSION_ALPHA / rows))
    return quantile * sd * math.sqrt(1 / len(before) + 1 / now)
