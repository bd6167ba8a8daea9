"""The minimum detectable difference of a plan: a simulated run finds it about as often as promised."""

import math

import numpy as np
import pytest

from mednet_bench.reports.analysis.verdicts import detectable_difference
from mednet_bench.reports.statistics.influence import macro_auc_influence
from mednet_bench.reports.statistics.paired import ALPHA, paired_difference
from mednet_bench.reports.statistics.planned_power import ASSUMED_AUC, ASSUMED_SEED_SD, planned_difference


def simulated_power(n_test: int, seeds: int, difference: float, runs: int = 200) -> float:
    """Return how often two inits of this true difference are found to differ; half of the noise is shared."""
    from scipy.stats import norm

    rng, found = np.random.default_rng(n_test + seeds), 0
    labels = np.arange(n_test) % 2
    for _ in range(runs):
        shared = rng.normal(size=n_test)
        scores = []
        for mean in (ASSUMED_AUC + difference / 2, ASSUMED_AUC - difference / 2):
            auc = mean + ASSUMED_SEED_SD * rng.normal(size=(seeds, 1))
            own = math.sqrt(0.4) * rng.normal(size=n_test) + math.sqrt(0.1) * rng.normal(size=(seeds, n_test))
            noise = math.sqrt(0.5) * shared + own
            scores.append(math.sqrt(2) * norm.ppf(auc) * labels + noise)
        truth = (labels == 1)[:, None]
        (a, of_a), (b, of_b) = (macro_auc_influence(truth, each[..., None]) for each in scores)
        found += paired_difference(a - b, of_a - of_b).p_value() < ALPHA
    return found / runs


@pytest.mark.parametrize(("n_test", "seeds"), [(156, 5), (600, 3), (2000, 5)])
def test_the_planned_difference_is_found_about_as_often_as_promised(n_test: int, seeds: int):
    difference = detectable_difference(planned_difference(n_test, seeds))
    assert 0.7 <= simulated_power(n_test, seeds, difference) <= 0.99
    assert simulated_power(n_test, seeds, difference / 2) < 0.6


def test_more_images_and_seeds_detect_less_and_one_seed_nothing():
    least = [
        detectable_difference(planned_difference(n, seeds)) for n, seeds in ((156, 3), (600, 3), (600, 10))
    ]
    assert least == sorted(least, reverse=True)
    assert math.isnan(planned_difference(600, 1).seed_variance)


def test_a_pool_detects_less_than_one_fold_of_it_and_more_than_as_many_new_images():
    """The trainings of folds overlap: 600 images of a pool are worth fewer than 600 of a test split."""
    pool, split, fold = (
        detectable_difference(planned_difference(n, 5, folds))
        for n, folds in ((600, True), (600, False), (120, False))
    )
    assert split < pool < fold
