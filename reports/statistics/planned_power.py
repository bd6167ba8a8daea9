"""The difference that a planned comparison detects, under stated assumptions, before anything is trained."""

import math

from .paired import OVERLAP_FACTOR, TRUST, PairedDifference

ASSUMED_AUC = 0.85
ASSUMED_SEED_SD = 0.015
"""Standard deviation of the AUC over trainings of one init."""
ASSUMED_CORRELATION = 0.5
"""Of the errors that the test images cause in the AUCs of two inits."""
ASSUMPTIONS = f"the AUCs are about {ASSUMED_AUC:g} and the trainings have an sd of {ASSUMED_SEED_SD:g}"
"""As a clause."""


def planned_difference(n_test: int, seeds: int, cross_validated: bool = False) -> PairedDifference:
    """Return the errors of a comparison of two inits with the assumed AUC, sd and correlation.

    The variance of an AUC is that of Hanley and McNeil 1982 (Radiology 143:29), half of the images positive.

    Args:
        n_test: number of independent test images, at least 2.
        seeds: number of paired trainings, or of repeats of a cross-validation, at least 1.
        cross_validated: the test images are the pool of a cross-validation.
    """
    auc, half = ASSUMED_AUC, n_test / 2
    above = (half - 1) * (auc / (2 - auc) + 2 * auc**2 / (1 + auc) - 2 * auc**2)
    variance = (auc * (1 - auc) + above) / half**2
    test_variance = 2 * (1 - ASSUMED_CORRELATION) * variance * (OVERLAP_FACTOR if cross_validated else 1)
    return PairedDifference(
        difference=0.0,
        seeds=seeds,
        test_variance=test_variance,
        test_freedom=max(TRUST * (n_test - 1), 1.0),
        seed_variance=2 * ASSUMED_SEED_SD**2 / seeds if seeds > 1 else math.nan,
        shared_variance=test_variance,
    )
