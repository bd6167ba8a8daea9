"""Skewed luck is found where it shows, and rarely raised where there is none."""

import numpy as np
import pytest

from mednet_bench.reports.statistics.uneven_seeds import farthest_seed, seeds_are_uneven


def raised(values: np.ndarray) -> float:
    return float(np.mean([seeds_are_uneven(each) for each in values]))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_normal_scores_of_equal_spread_are_rarely_called_uneven(seeds: int):
    values = np.random.default_rng(seeds).normal(0.85, 0.01, (4000, 2, seeds))
    assert raised(values) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize(("seeds", "least"), [(3, 0.8), (5, 0.8), (10, 0.9)])
def test_a_training_that_fails_is_found(seeds: int, least: float):
    rng = np.random.default_rng(seeds)
    values = rng.normal(0.85, 0.005, (1000, 2, seeds))
    failed = rng.random((1000, seeds)) < 0.15
    values[:, 1] -= 0.084 * failed
    assert raised(values[failed.any(axis=1)]) >= least


def test_the_seed_that_is_far_off_is_named():
    values = np.array([[0.85, 0.86, 0.855], [0.86, 0.78, 0.861]])
    init, place, apart = farthest_seed(values)
    assert (init, place) == (1, 1) and apart == pytest.approx(-0.08)


def test_what_is_far_off_only_in_comparison_with_almost_no_spread_is_not_uneven():
    assert not seeds_are_uneven(np.array([[0.997, 0.99701, 0.99702], [0.9968, 0.99701, 0.997]]))


def test_models_without_any_spread_are_not_called_uneven():
    assert not seeds_are_uneven(np.array([[0.8, 0.8, 0.8], [0.8, 0.9, 0.85]]))
    assert not seeds_are_uneven(np.array([[0.8], [0.9]]))
