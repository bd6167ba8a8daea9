"""AUC and its sampling error, against scikit-learn, DeLong's definition and a bootstrap."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mednet_bench.reports.statistics.influence import auc_influence, macro_auc_influence, sum_within_groups


def sample(rng, n=200, classes=1, networks=2, decimals=2):
    """Draw scores with many ties, of networks that share half of their noise."""
    truth = rng.random((n, classes)) < 0.3
    shared = rng.normal(size=(n, classes))
    scores = shared + rng.normal(size=(networks, n, classes)) + truth
    return truth, scores.round(decimals)


@pytest.mark.parametrize("n", [51, 200])
def test_the_auc_is_that_of_scikit_learn_with_ties(n):
    truth, scores = sample(np.random.default_rng(0), n=n, decimals=1)
    auc, _ = auc_influence(truth[:, 0], scores[..., 0])
    assert auc == pytest.approx([roc_auc_score(truth[:, 0], s[:, 0]) for s in scores], abs=1e-12)


def test_the_macro_auc_is_that_of_scikit_learn():
    truth, scores = sample(np.random.default_rng(1), classes=4)
    auc, _ = macro_auc_influence(truth, scores)
    assert auc == pytest.approx([roc_auc_score(truth, s, average="macro") for s in scores], abs=1e-12)


def test_squares_and_products_sum_to_delongs_variances():
    truth, scores = sample(np.random.default_rng(2), n=80, decimals=1)
    _, influence = auc_influence(truth[:, 0], scores[..., 0])
    # DeLong, DeLong & Clarke-Pearson 1988, by their definition: one kernel per pair of images
    positive, negative = scores[:, truth[:, 0], 0], scores[:, ~truth[:, 0], 0]
    kernel = (positive[:, :, None] > negative[:, None]) + 0.5 * (positive[:, :, None] == negative[:, None])
    s10, s01 = np.cov(kernel.mean(axis=2)), np.cov(kernel.mean(axis=1))
    delong = s10 / positive.shape[1] + s01 / negative.shape[1]
    assert influence @ influence.T == pytest.approx(delong, rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True])
def test_the_variance_is_what_a_bootstrap_converges_to(grouped):
    rng = np.random.default_rng(3)
    truth, scores = sample(rng, n=400, classes=3)
    groups = np.arange(400) // 4 if grouped else None
    if grouped:  # images of one group are near copies with similar scores
        truth, scores = truth[::4].repeat(4, axis=0), scores[:, ::4].repeat(4, axis=1)
        scores = scores + rng.normal(0, 0.1, scores.shape)
    _, influence = macro_auc_influence(truth, scores)
    units = sum_within_groups(influence[0] - influence[1], groups)
    drawn = []
    for _ in range(600):
        chosen = rng.integers(0, len(units), len(units))
        images = (chosen[:, None] * 4 + np.arange(4)).ravel() if grouped else chosen
        first, second = (roc_auc_score(truth[images], s[images], average="macro") for s in scores)
        drawn.append(float(first) - float(second))
    assert np.sqrt((units**2).sum()) == pytest.approx(np.std(drawn), rel=0.12)
    if grouped:  # taken as independent, copies would halve the error
        assert np.sqrt((units**2).sum()) > 1.6 * np.sqrt(((influence[0] - influence[1]) ** 2).sum())


def test_a_class_without_a_positive_or_negative_image_has_no_auc():
    truth = np.array([[True, False], [True, True], [True, False]])
    with pytest.raises(ValueError, match="no positive, or no negative"):
        macro_auc_influence(truth, np.zeros((1, 3, 2)))


def test_a_class_with_a_single_image_has_an_auc_without_a_known_error():
    auc, influence = auc_influence(np.array([True, False, False]), np.array([0.9, 0.1, 0.95]))
    assert auc == 0.5
    assert np.isnan(influence).any()


def test_two_patients_of_one_class_are_two_however_many_the_other_class_has():
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(22), 5)
    truth = groups < 2
    _, influence = auc_influence(truth, rng.normal(size=110) + truth)
    # Obuchowski 1997: each class has its own number of clusters
    expected = 0.0
    for side in (truth, ~truth):
        sums = np.bincount(groups[side], influence[side])
        clusters = len(np.unique(groups[side]))
        expected += clusters / (clusters - 1) * (sums**2).sum()
    units = sum_within_groups(influence, groups, truth[:, None])
    assert (units**2).sum() == pytest.approx(expected, rel=1e-12)
    assert expected > 1.1 * (sum_within_groups(influence, groups) ** 2).sum()
    both = np.stack([truth, ~truth], axis=1)
    assert sum_within_groups(influence, groups, both) == pytest.approx(units), "sides are the same"
