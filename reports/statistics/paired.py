"""Paired difference of two inits on the same images and seeds: size, interval, p-values."""

import math
from dataclasses import dataclass, replace

from .influence import _Floats

MARGIN = 0.01
"""Default margin of equivalence, in units of the metric."""
CEILING = 0.99
"""If one init reaches this AUC, few images decide: equivalence is tested at `STRICT_ALPHA`."""
TRUST = 2 / 3
"""Share used of the degrees of freedom estimated from test images, see `satterthwaite_dof`."""
OVERLAP_FACTOR = 2.0
"""Factor of the error from the images of a pool in cross-validation, see `overlap_variance`."""
ALPHA = 0.05
"""Error rate of an interval, and of each kind of claim over a family of tasks."""
STRICT_ALPHA = 0.001
"""Level of equivalence near the ceiling; at 0.005 it was wrong in up to 9.9 % of simulated experiments."""
SMALLEST_P, LARGEST_P = 1e-40, 0.999
"""Between them p-values are computed; larger ones count as 1."""

DIFFERENT, WITHIN, NEITHER = "different", "within the margin", "neither"
"""Results of the tests of a difference."""


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference over seeds, with its errors from test images and seeds.

    Attributes:
        difference: mean over seeds, in units of the metric.
        seeds: number of paired seeds.
        test_variance: variance of the mean over draws of test images.
        test_freedom: degrees of freedom of `test_variance`; few where few images decide.
        seed_variance: variance of the mean over draws of seeds.
        shared_variance: part of `test_variance` that more seeds would not lower.
        prior_freedom: degrees of freedom that the other tasks of a family add to `seed_variance`.
        prior_sd: standard deviation over seeds that is common to the family; NaN without one.
        repeated_noise: part of `seed_variance` that `test_variance` contains already; 0 if not known.
    """

    difference: float
    seeds: int
    test_variance: float
    test_freedom: float
    seed_variance: float
    shared_variance: float
    prior_freedom: float = 0.0
    prior_sd: float = math.nan
    repeated_noise: float = 0.0

    @property
    def seed_freedom(self) -> float:
        """Degrees of freedom of `seed_variance`."""
        return self.seeds - 1 + self.prior_freedom

    def half_width(self, alpha: float = ALPHA) -> float:
        """Return the half-width of the two-sided interval of confidence ``1 - alpha``.

        The two errors are independent, each with a t distribution of its own few degrees of freedom. The root
        of their summed squared half-widths (Howe 1974, JASA 69:789) is exact where one error is 0 and
        slightly too wide otherwise. A percentile bootstrap over three seeds is far too narrow;
        docs/calibration.md shows both.
        """
        of_images = t_quantile(alpha, self.test_freedom) * math.sqrt(self.test_variance)
        of_seeds = max(self.seed_variance - self.repeated_noise, 0.0)
        if of_seeds == 0:  # two trained models, or seeds that agree
            return of_images
        return math.hypot(of_images, t_quantile(alpha, self.seed_freedom) * math.sqrt(of_seeds))

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        """Return the two-sided interval of confidence ``1 - alpha``."""
        reach = self.half_width(alpha)
        return self.difference - reach, self.difference + reach

    def p_value(self, at: float = 0.0) -> float:
        """Return the two-sided p-value of a true difference of `at`, where the interval then ends."""
        distance = abs(self.difference - at)
        if distance == 0 or not self.half_width(LARGEST_P) < distance:  # also where it is NaN
            return 1.0
        if self.half_width(SMALLEST_P) < distance:
            return SMALLEST_P
        from scipy.optimize import brentq

        def excess(log_alpha: float) -> float:  # nearly linear: tails fall by powers
            return math.log(self.half_width(math.exp(log_alpha)) / distance)

        root = brentq(excess, math.log(SMALLEST_P), math.log(LARGEST_P), xtol=1e-9)
        return math.exp(root)  # type: ignore[arg-type]  # scipy's stub: also a tuple

    def p_equivalent(self, margin: float) -> float:
        """Return the p-value of two one-sided tests: small where the difference is within `margin`."""
        if abs(self.difference) >= margin:
            return 1.0
        return max(self.p_value(margin), self.p_value(-margin)) / 2

    def chance_above(self, at: float) -> float:
        """Return the probability that the true difference is above `at`, given the measured one.

        The confidence distribution: the interval of confidence 1 - alpha has probability 1 - alpha, half of
        the rest on either side. For t intervals it is the posterior distribution under a flat prior.
        """
        tail = self.p_value(at) / 2
        return 1 - tail if self.difference > at else tail

    def chances(self, margin: float) -> tuple[float, float, float]:
        """Return the probabilities of a true difference above, within and below -+ `margin`; their sum is 1.

        Within is the region of practical equivalence of Kruschke 2018 (AMPPS 1:270) and of Benavoli et al.
        2017 (JMLR 18:77).
        """
        above, below = self.chance_above(margin), 1 - self.chance_above(-margin)
        return above, 1 - above - below, below

    def with_seeds(self, seeds: int) -> "PairedDifference":
        """Return the same difference as estimated for another number of seeds."""
        ratio = self.seeds / seeds
        own = self.test_variance - self.shared_variance
        test_variance = self.shared_variance + own * ratio
        return replace(
            self,
            seeds=seeds,
            test_variance=test_variance,
            seed_variance=self.seed_variance * ratio,
            repeated_noise=self.repeated_noise * ratio,
        )


def decide(differs: bool, within: bool, blunt: bool) -> str:
    """Return `DIFFERENT`, `WITHIN` or `NEITHER` from the results of the tests.

    Args:
        differs: the test of no difference rejects it.
        within: both one-sided tests of a difference as large as the margin reject it.
        blunt: too few images decide to call two inits equivalent.
    """
    if within and not blunt:  # a difference below the margin does not matter, even if significant
        return WITHIN
    return DIFFERENT if differs else NEITHER


def t_quantile(alpha: float, freedom: float) -> float:
    """Return the two-sided quantile of Student's t; infinite for 0 degrees of freedom."""
    from scipy.special import stdtrit

    return float(-stdtrit(freedom, alpha / 2)) if freedom > 0 else math.inf


def paired_difference(
    differences: _Floats, influences: _Floats, cross_validated: bool = False
) -> PairedDifference:
    """Measure the difference of two inits.

    Args:
        differences: [seeds], metric of one minus metric of the other, on the same test images.
        influences: [seeds, units], difference of their influences; a unit is an image or a group of images.
        cross_validated: the seeds are repeats of a cross-validation, and the units those of its pool.

    The variance from test images includes the training noise on those images, which the spread over seeds
    includes again: the interval is slightly wide where seeds disagree image by image. In cross-validation,
    whose repeats are few, it is counted once.
    """
    seeds = len(differences)
    test, noise = image_variance(influences)
    if cross_validated:
        test = overlap_variance(influences)
    return PairedDifference(
        difference=float(differences.mean()),
        seeds=seeds,
        test_variance=test,
        test_freedom=satterthwaite_dof(influences.mean(axis=0)),
        seed_variance=float(differences.var(ddof=1) / seeds) if seeds > 1 else math.nan,
        shared_variance=test if cross_validated else test - noise,
        repeated_noise=noise if cross_validated else 0.0,
    )


def image_variance(influences: _Floats) -> tuple[float, float]:
    """Return the variance from images of the mean over seeds, and its part by the noise of the trainings.

    Args:
        influences: [seeds, units].
    """
    seeds = len(influences)
    test = float((influences.mean(axis=0) ** 2).sum())
    each = float((influences**2).sum(axis=1).mean())
    shared = max(0.0, (seeds * test - each) / (seeds - 1)) if seeds > 1 else test
    return test, test - min(shared, test)


def overlap_variance(influences: _Floats) -> float:
    """Return the variance over pools of images of a cross-validated mean over repeats.

    Every image is also a training image of the networks that score the others, so that another pool changes
    more than the influences as test images show: the training sets overlap, and no estimate from the scores
    alone is unbiased (Nadeau & Bengio 2003, Machine Learning 52:239; Bengio & Grandvalet 2004, JMLR 5:1089).
    If image i does to the score of j what j does to that of i, every pair counts twice, and so does the
    variance of one repeat (`OVERLAP_FACTOR`), which is an upper bound for the mean of several, however
    many. A heuristic; docs/calibration.md compares it with other corrections.

    Args:
        influences: [repeats, units], as test images.
    """
    return OVERLAP_FACTOR * float((influences**2).sum(axis=1).mean())


def satterthwaite_dof(influence: _Floats) -> float:
    """Return the degrees of freedom of the sum of squares of `influence` [units].

    Satterthwaite's rule with the fourth moment from the data: n - 1 for n equal normal influences, few where
    few images decide, as at an AUC near 1 or with a rare class. A small sample underestimates the fourth
    moment, so that only `TRUST` of the result is used: with all of it, the interval of 15 positive images at
    an AUC of .98 covered the truth in 92 % of simulated experiments instead of 95 %.
    """
    squares = influence**2
    total, n = float(squares.sum()), len(influence)
    spread = float((squares**2).sum()) - total**2 / n
    if total == 0 or spread <= 0:
        return max(TRUST * (n - 1), 1.0)
    return max(TRUST * min(2 * total**2 / spread, n - 1), 1.0)
