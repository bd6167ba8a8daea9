"""Error rates of the verdicts, in a reduced version of the simulation of docs/calibration.md."""

import numpy as np
import pytest

from mednet_bench.reports.statistics.calibration import (
    LEAST_COVERAGE,
    MOST_WRONG,
    SimulatedTruth,
    class_distance,
    draw_scores,
    error_rates,
)
from mednet_bench.reports.statistics.influence import auc_influence

EXPERIMENTS = 400
CHANCE = 3 * np.sqrt(0.05 * 0.95 / EXPERIMENTS)
"""Three standard errors of a rate of 5 % in so few experiments."""

CORNERS = [
    SimulatedTruth(seeds, images, prevalence, auc, 0.0, seed_sd)
    for seeds, images, prevalence, auc, seed_sd in (
        (3, 150, 0.1, 0.98, 0.002),
        (3, 600, 0.5, 0.75, 0.03),
        (5, 150, 0.5, 0.6, 0.01),
        (10, 600, 0.1, 0.9, 0.03),
    )
]


@pytest.mark.parametrize("truth", CORNERS, ids=str)
def test_no_difference_is_rarely_called_one_and_the_interval_holds_the_truth(truth: SimulatedTruth):
    found = error_rates(truth, EXPERIMENTS)
    assert found.covered >= LEAST_COVERAGE - CHANCE
    assert found.wrong <= MOST_WRONG + CHANCE


@pytest.mark.parametrize(("seeds", "seed_sd"), [(3, 0.002), (10, 0.002), (3, 0.01)])
def test_a_difference_of_the_margin_is_rarely_called_equivalent(seeds: int, seed_sd: float):
    found = error_rates(SimulatedTruth(seeds, 600, 0.5, 0.98, -0.01, seed_sd), EXPERIMENTS)
    assert found.wrong_equivalent <= MOST_WRONG + CHANCE


def test_a_clear_difference_is_found_and_true_equivalence_is_not_out_of_reach():
    assert error_rates(SimulatedTruth(5, 2000, 0.5, 0.9, -0.05, 0.01), 100).found > 0.9
    assert error_rates(SimulatedTruth(10, 2000, 0.5, 0.98, 0.0, 0.002), 100).equivalent > 0.5


def test_the_percentile_bootstrap_fails_with_three_seeds():
    found = error_rates(SimulatedTruth(3, 600, 0.5, 0.98, 0.0, 0.03), 200, bootstrap=True)
    assert found.bootstrap < 0.9 < found.covered


@pytest.mark.parametrize(("auc", "seed_sd"), [(0.6, 0.03), (0.98, 0.03), (0.9, 0.002)])
def test_experiments_have_the_auc_and_the_spread_that_they_promise(auc: float, seed_sd: float):
    mean, luck = class_distance(auc, seed_sd)
    rng = np.random.default_rng(0)
    from scipy.special import ndtr

    drawn = ndtr((mean + luck * rng.standard_normal(200_000)) / np.sqrt(2))
    assert drawn.mean() == pytest.approx(auc, abs=1e-3)
    assert drawn.std() == pytest.approx(seed_sd, rel=0.03)
    scores, labels = draw_scores(SimulatedTruth(50, 2000, 0.5, auc, 0.0, seed_sd), rng)
    assert auc_influence(labels, scores)[0].mean() == pytest.approx(auc, abs=0.02)


def test_near_a_perfect_score_nothing_is_called_equivalent_by_chance():
    found = error_rates(SimulatedTruth(3, 150, 0.1, 0.995, -0.01, 0.002), EXPERIMENTS)
    assert found.wrong_equivalent <= MOST_WRONG
