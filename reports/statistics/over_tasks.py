"""Statistics over tasks: mean difference, interval, Wilcoxon, ranks, Friedman, Nemenyi.

Sources: Demšar 2006, JMLR 7:1; Wilcoxon, Friedman and the studentized range by scipy.
"""

import math
from dataclasses import dataclass

import numpy as np

from .influence import _Floats
from .paired import ALPHA, t_quantile

MEAN_UNITS, WILCOXON_UNITS, RANK_UNITS, RANK_INITS = 3, 6, 5, 3
"""Fewest independent tasks for an interval, for Wilcoxon (which cannot reach p < 0.05 with fewer), and for
Friedman and Nemenyi; fewest inits for these two, which are tests of more than one pair."""


@dataclass(frozen=True)
class MeanOverTasks:
    """A mean difference over independent tasks.

    Attributes:
        low: lower end of the 95 % interval over tasks; NaN for fewer than three.
        high: upper end; NaN for fewer than three.
        units: number of independent tasks.
        positive: number of tasks with a difference above 0.
        p: two-sided p-value of Wilcoxon's signed-rank test; NaN for fewer than six.
        spread: standard deviation over tasks, which includes the noise of seeds and test images; NaN for one.
    """

    difference: float
    low: float
    high: float
    units: int
    positive: int
    p: float
    spread: float = math.nan

    def next_task(self, margin: float) -> tuple[float, float, float]:
        """Return the probabilities that the next task's difference is above, within and below -+ `margin`.

        By Student's prediction distribution: a further task of the kind of these, drawn like them. NaN for
        fewer than three tasks.
        """
        from scipy.special import stdtr

        if self.units < MEAN_UNITS:
            return math.nan, math.nan, math.nan
        ends = np.array([margin - self.difference, -margin - self.difference])
        reach = self.spread * math.sqrt(1 + 1 / self.units)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.where(ends == 0, 0.0, ends / reach)
        above, below = float(stdtr(self.units - 1, -far[0])), float(stdtr(self.units - 1, far[1]))
        return above, 1 - above - below, below


def mean_over(differences: _Floats) -> MeanOverTasks:
    """Summarize the differences [units] of two inits, one per independent task, at least one.

    The interval is Student's over the tasks, whose spread includes the noise of seeds and test images.
    """
    units = len(differences)
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) if units > 1 else math.nan
    reach = t_quantile(ALPHA, units - 1) * spread / math.sqrt(units) if units >= MEAN_UNITS else math.nan
    positive = int((differences > 0).sum())
    p = wilcoxon_p(differences)
    return MeanOverTasks(mean, mean - reach, mean + reach, units, positive, p, spread)


def wilcoxon_p(differences: _Floats) -> float:
    """Return the signed-rank p-value of [units]; NaN for fewer than six, 1 where all are 0."""
    from scipy import stats

    if len(differences) < WILCOXON_UNITS:
        return math.nan
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0  # type: ignore[attr-defined]


@dataclass(frozen=True, eq=False)
class RankTable:
    """Ranks of inits over independent tasks.

    Attributes:
        mean: [inits] mean rank, 1 is best; ties share a rank.
        borda: [inits] number of other inits that each beats, summed over tasks; a tie counts half.
        units: number of independent tasks.
        chi2: Friedman's statistic, corrected for ties; NaN for too few tasks or inits.
        p: its p-value; 1 where all inits tie everywhere, NaN as `chi2`.
        critical: Nemenyi's critical difference of two mean ranks at 0.05; NaN as `chi2`.
        nemenyi: [inits, inits] p-values of every pair; empty where `chi2` is NaN.
    """

    mean: _Floats
    borda: _Floats
    units: int
    chi2: float
    p: float
    critical: float
    nemenyi: _Floats


def rank_scores(scores: _Floats) -> RankTable:
    """Rank the scores [units, inits], higher is better, none NaN."""
    from scipy.stats import friedmanchisquare, rankdata

    units, inits = scores.shape
    ranks = rankdata(-scores, axis=1)
    mean, borda = ranks.mean(axis=0), (inits - ranks).sum(axis=0)
    if units < RANK_UNITS or inits < RANK_INITS:
        return RankTable(mean, borda, units, math.nan, math.nan, math.nan, np.empty((0, 0)))
    if (ranks == ranks[0, 0]).all():
        chi2, p = 0.0, 1.0  # scipy divides by the variance of the ranks
    else:
        chi2, p = map(float, friedmanchisquare(*scores.T))
    return RankTable(mean, borda, units, chi2, p, critical_difference(inits, units), nemenyi_p(mean, units))


def critical_difference(inits: int, units: int, alpha: float = ALPHA) -> float:
    """Return the distance of two mean ranks above which they differ (Nemenyi)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, inits, np.inf)) / math.sqrt(2)
    return q * math.sqrt(inits * (inits + 1) / (6 * units))


def nemenyi_p(mean_ranks: _Floats, units: int) -> _Floats:
    """Return the p-values [inits, inits] of Nemenyi's test on mean ranks [inits] over `units` tasks."""
    from scipy.stats import studentized_range

    inits = len(mean_ranks)
    standard_error = math.sqrt(inits * (inits + 1) / (6 * units))
    apart = np.abs(mean_ranks[:, None] - mean_ranks) / standard_error  # [inits, inits]
    return studentized_range.sf(math.sqrt(2) * apart, inits, np.inf)
