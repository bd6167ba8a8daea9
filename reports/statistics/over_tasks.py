"""Statistics over tasks: mean difference, interval, Wilcoxon, ranks, Friedman, Nemenyi.

Sources: Demšar 2006, JMLR 7:1; Wilcoxon, Friedman and the studentized range by scipy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .influence import _Floats
from .multiplicity import adjust_by_bh
from .paired import ALPHA, NEITHER, decide, t_quantile

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

    def p_value(self, at: float = 0.0) -> float:
        """Return the two-sided p-value of a true mean of `at`: 0.05 where the 95 % interval ends.

        NaN for fewer than three tasks, and where all differ by the same: then nothing shows the error.
        """
        from scipy.special import stdtr

        if self.units < MEAN_UNITS or self.spread == 0:
            return math.nan
        distance = abs(self.difference - at) * math.sqrt(self.units) / self.spread
        return float(2 * stdtr(self.units - 1, -distance))

    def p_equivalent(self, margin: float) -> float:
        """Return the p-value of two one-sided tests: small where the mean is within `margin`."""
        if abs(self.difference) >= margin:
            return math.nan if math.isnan(self.p_value()) else 1.0
        return max(self.p_value(margin), self.p_value(-margin)) / 2


@dataclass(frozen=True)
class MeanTests:
    """Tests of one mean of a family, whose p-values are corrected together; NaN where untested.

    Attributes:
        p: two-sided p-value of no difference, before and after Benjamini and Hochberg's correction.
        p_equivalent: p-value of a difference of the margin or more, before and after the correction.
        result: `DIFFERENT`, `WITHIN` or `NEITHER`.
    """

    p: tuple[float, float] = (math.nan, math.nan)
    p_equivalent: tuple[float, float] = (math.nan, math.nan)
    result: str = NEITHER


UNTESTED = MeanTests()


def decide_means(means: Sequence[MeanOverTasks], margin: float) -> list[MeanTests]:
    """Test the means of one family for a difference and for equivalence, in the same order.

    Student's t, as for the interval; the p-values of each kind are corrected over all tested means.
    """
    tested = [place for place, mean in enumerate(means) if not math.isnan(mean.p_value())]
    differ = [means[place].p_value() for place in tested]
    equal = [means[place].p_equivalent(margin) for place in tested]
    found = [UNTESTED] * len(means)
    corrected = zip(tested, differ, adjust_by_bh(differ), equal, adjust_by_bh(equal), strict=True)
    for place, p, p_bh, q, q_bh in corrected:
        result = decide(p_bh < ALPHA, q_bh < ALPHA, blunt=False)
        found[place] = MeanTests((p, p_bh), (q, q_bh), result)
    return found


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
