"""Families of tasks: seed variance moderated over them, and p-values corrected for their number.

Sources: Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3:3 (moderated variance);
Benjamini & Hochberg 1995, JRSS B 57:289.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .influence import _Floats
from .paired import PairedDifference

MOST_PRIOR_FREEDOM = 4.0
"""Most degrees of freedom that the other tasks add to those of one task. Their estimate from few variances
is uncertain: more of it gives false calls where tasks differ much; docs/calibration.md has the table."""
LEAST_SEED_SD = 1e-6
"""Tasks whose difference varies less over seeds, such as two fixed models, are neither pooled nor changed."""


def moderate_differences(measured: Sequence[PairedDifference]) -> list[PairedDifference]:
    """Moderate the seed variances of one pair of inits over the tasks of a family.

    Every variance is shrunk towards the tasks' common value by as much as their spread supports, which adds
    `prior_freedom` to its seeds - 1 degrees of freedom. It is never below the training noise that the test
    images show by themselves, so that this noise need not be counted as an error of the test images again.
    A family of one task stays as it is.
    """
    places = [place for place, each in enumerate(measured) if _seed_sd(each) > LEAST_SEED_SD]
    found = list(measured)
    if len(places) < 2:
        return found
    variances = np.array([_seed_sd(measured[place]) ** 2 for place in places])
    freedom = np.array([measured[place].seeds - 1.0 for place in places])
    prior, center = estimate_prior(variances, freedom)
    for place, variance, own in zip(places, variances.tolist(), freedom.tolist(), strict=True):
        each = measured[place]
        shrunken = (prior * center + own * variance) / (prior + own) / each.seeds
        known = replace(each, prior_freedom=prior, prior_sd=math.sqrt(center))
        if each.repeated_noise:  # of a cross-validation, which counts it once already
            found[place] = replace(known, seed_variance=shrunken)
        else:
            floor = each.test_variance - each.shared_variance
            found[place] = replace(
                known, test_variance=each.shared_variance, seed_variance=max(shrunken, floor)
            )
    return found


def _seed_sd(measured: PairedDifference) -> float:
    """Return the standard deviation over seeds of a difference; 0 for a single seed."""
    return math.sqrt(measured.seed_variance * measured.seeds) if measured.seeds > 1 else 0.0


def estimate_prior(variances: _Floats, freedom: _Floats) -> tuple[float, float]:
    """Return degrees of freedom and value of the common variance of a family.

    True variances are modeled as scaled inverse chi-squared; mean and variance of the logarithms of the
    measured ones give its two parameters (Smyth 2004, section 6.2).

    Args:
        variances: [tasks], at least two, above 0.
        freedom: [tasks] degrees of freedom of each.
    """
    from scipy.special import digamma, polygamma

    logs = np.log(variances) - digamma(freedom / 2) + np.log(freedom / 2)
    spread = float(logs.var(ddof=1) - polygamma(1, freedom / 2).mean())
    prior = MOST_PRIOR_FREEDOM
    if spread > float(polygamma(1, prior / 2)):
        prior = 2 * _inverse_trigamma(spread)
    return prior, float(np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2)))


def _inverse_trigamma(value: float) -> float:
    """Return x > 0 with trigamma(x) equal to `value`, by Newton's method on 1 / trigamma."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        height = float(polygamma(1, x))
        x += height * (1 - height / value) / float(polygamma(2, x))
    return x
