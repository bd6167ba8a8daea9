"""Reduced calibration of gaps and contrasts: 95 % intervals cover the truth in 95 % of experiments."""

import math

import numpy as np
import pytest
from scipy.special import ndtri

from mednet_bench.reports.statistics.influence import auc_influence, sum_within_groups
from mednet_bench.reports.statistics.subgroups import SubgroupScore, contrast_with_others, measure_gap

EXPERIMENTS = 200
SEEDS = 3
LEAST = 0.95 - 2.6 * math.sqrt(0.95 * 0.05 / EXPERIMENTS)
"""A calibrated interval covers a smaller share by chance in 1 of 200 tests."""


def experiment(
    aucs: tuple[float, ...], sizes: tuple[int, ...], rng: np.random.Generator
) -> list[SubgroupScore]:
    """Draw parts from a binormal model with noise of images, common to all seeds, and of seeds."""
    ends = np.cumsum(sizes)
    parts = []
    for auc, size, end in zip(aucs, sizes, ends, strict=True):
        truth = np.arange(size) < size * 0.4
        distance = np.sqrt(2) * ndtri(auc) + 0.15 * rng.standard_normal((SEEDS, 1))
        noise = rng.standard_normal(size) + rng.standard_normal((SEEDS, size))
        values, influence = auc_influence(truth, noise / np.sqrt(2) + distance * truth)
        placed = np.zeros((SEEDS, ends[-1]))
        placed[:, end - size : end] = influence
        parts.append(SubgroupScore(values, placed))
    return parts


@pytest.mark.parametrize(
    ("aucs", "sizes"),
    [
        ((0.85, 0.85), (150, 150)),
        ((0.9, 0.8), (150, 60)),
        ((0.85, 0.85, 0.85, 0.85), (100, 80, 60, 40)),
        ((0.95, 0.85, 0.75), (60, 60, 60)),
    ],
)
def test_the_intervals_hold_the_true_gap_and_the_true_contrast(aucs, sizes):
    rng = np.random.default_rng(0)
    drawn = [experiment(aucs, sizes, rng) for _ in range(EXPERIMENTS)]
    found = [measure_gap(parts) for parts in drawn]
    truth = max(aucs) - min(aucs)
    assert np.mean([each.low <= truth <= each.high for each in found]) >= LEAST
    contrasts = [contrast_with_others(parts)[0].measure().interval() for parts in drawn]
    true_contrast = aucs[0] - np.mean(aucs[1:])
    assert np.mean([low <= true_contrast <= high for low, high in contrasts]) >= LEAST
    if truth == 0:  # the measured gap is then due to chance alone
        by_chance = np.mean([each.by_chance for each in found])
        assert np.mean([each.size for each in found]) == pytest.approx(by_chance, rel=0.2)


def patients(aucs: tuple[float, ...], many: int, each: int, rng: np.random.Generator) -> list[SubgroupScore]:
    """Draw parts of `many` patients with `each` images of one label that share 80 % of their variance."""
    parts = []
    for number, auc in enumerate(aucs):
        of = np.repeat(np.arange(many), each)
        truth = of < many * 0.4
        alike, own = rng.standard_normal(many)[of], rng.standard_normal((SEEDS, len(of)))
        scores = np.sqrt(0.8) * alike + np.sqrt(0.2) * own + np.sqrt(2) * ndtri(auc) * truth
        values, influence = auc_influence(truth, scores)
        placed = np.zeros((SEEDS, many * len(aucs)))
        placed[:, number * many : (number + 1) * many] = sum_within_groups(influence, of)
        parts.append(SubgroupScore(values, placed))
    return parts


def test_images_of_one_patient_are_no_evidence_of_their_own():
    """Taken as independent, four images per patient show a false gap in a quarter of all experiments."""
    rng = np.random.default_rng(0)
    drawn = [patients((0.8, 0.8), 40, 4, rng) for _ in range(EXPERIMENTS)]
    assert np.mean([measure_gap(parts).low > 0 for parts in drawn]) <= 1 - LEAST
    intervals = [part.measure().interval() for parts in drawn for part in parts]
    held = [low <= 0.8 <= high for low, high in intervals]
    assert np.mean(held) >= LEAST


def test_the_gap_is_the_range_and_one_seed_has_no_interval():
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((3, 2, 50))
    parts = [SubgroupScore(np.full(2, v), n) for v, n in zip((0.8, 0.9, 0.7), noise, strict=True)]
    assert measure_gap(parts).size == pytest.approx(0.2)
    alone = measure_gap([SubgroupScore(part.values[:1], part.influence[:1]) for part in parts])
    assert alone.size == pytest.approx(0.2) and math.isnan(alone.low) and math.isnan(alone.by_chance)


def test_a_perfect_score_is_known_to_have_no_known_error():
    perfect = SubgroupScore(np.ones(2), np.zeros((2, 30)))
    assert perfect.exact and perfect.measure().test_variance == 0
