"""Thresholds from validation: against scikit-learn's ROC curve, and never from the test set."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from mednet_bench.benchmark.training.thresholds import choose_thresholds, validation_thresholds


def at(truth: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float]:
    called = scores >= threshold
    return called[truth].mean(), (~called[~truth]).mean()


@pytest.mark.parametrize("levels", [5, 1000])
def test_each_rule_is_the_best_point_of_the_curve(levels: int):
    rng = np.random.default_rng(levels)
    labels = rng.integers(0, 2, 200)
    scores = np.round((rng.random(200) + labels) * levels / 2) / levels
    found = choose_thresholds("binary", ("a", "b"), labels, np.stack([1 - scores, scores], axis=1))
    alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    points = {rule: at(labels == 1, scores, found[rule]["b"]) for rule in found}
    assert sum(points["youden"]) == pytest.approx((hits + 1 - alarms).max())
    for value in (0.9, 0.95):
        sensitivity, specificity = points[f"sensitivity {value:.2f}"]
        assert sensitivity >= value and specificity == pytest.approx(1 - alarms[hits >= value].min())
        sensitivity, specificity = points[f"specificity {value:.2f}"]
        assert specificity >= value - 1e-9
        assert sensitivity == pytest.approx(hits[alarms <= 1 - value + 1e-12].max())


def test_a_specificity_out_of_reach_calls_nothing_positive():
    scores = np.array([0.9, 0.9, 0.1])
    found = choose_thresholds("binary", ("a", "b"), np.array([0, 1, 1]), np.stack([1 - scores, scores], 1))
    assert found["specificity 0.90"]["b"] > 0.9 and found["youden"]["b"] > 0.9


def test_classes_without_both_sides_have_none_and_patients_have_their_own():
    labels = np.array([0, 0, 1, 1])
    scores = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    found = validation_thresholds(
        "multiclass", ("a", "b", "c"), labels, scores, np.array([1, 1, 2, 2]), "mean"
    )
    assert set(found["image"]["youden"]) == {"a", "b"}
    assert found["patient"]["youden"]["b"] == pytest.approx(0.6, abs=1e-6)  # mean of 0.8 and 0.4
    assert found["image"]["youden"]["b"] == pytest.approx(0.8, abs=1e-6)
