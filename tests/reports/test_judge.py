"""Verdicts on arrays of scores, against scikit-learn, DeLong's definition, bootstraps and known truths."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import mednet_bench as mb
from mednet_bench.benchmark.training.metrics import METRICS, Predictions
from mednet_bench.core.errors import UserError
from mednet_bench.reports.statistics.metric_influence import JUDGED_METRICS
from mednet_bench.reports.statistics.multiplicity import adjust_by_bh

SKLEARN = {
    "auc": roc_auc_score,
    "average_precision": average_precision_score,
    "balanced_accuracy": lambda truth, scores: balanced_accuracy_score(truth, scores > 0.5),
    "brier": brier_score_loss,
}
PAGE = (Path(__file__).parents[2] / "docs" / "judge.md").read_text(encoding="utf-8")


def predictions(load, classifier, seed=0, train=120, noise=0.0):
    """Predict held-out samples of real data: labels [n] and probabilities [n, classes]."""
    images, labels = load(return_X_y=True)
    order = np.random.default_rng(5).permutation(len(labels))
    test, pool = order[: len(labels) // 2], order[len(labels) // 2 :]
    chosen = np.random.default_rng(seed).permutation(pool)[:train]
    model = make_pipeline(StandardScaler(), classifier).fit(images[chosen], labels[chosen])
    return labels[test], model.predict_proba(images[test])


@pytest.fixture(scope="module")
def cancer():
    """Labels [n], and probabilities [5, n] of two classifiers on breast-cancer data."""
    labels, _ = predictions(load_breast_cancer, GaussianNB())
    a = [predictions(load_breast_cancer, LogisticRegression(), s)[1][:, 1] for s in range(5)]
    b = [
        predictions(load_breast_cancer, DecisionTreeClassifier(max_depth=3, random_state=0), s)[1][:, 1]
        for s in range(5)
    ]
    return labels, np.array(a), np.array(b)


@pytest.mark.parametrize("metric", JUDGED_METRICS)
def test_the_values_are_those_of_scikit_learn(cancer, metric):
    labels, a, b = cancer
    found = mb.judge(labels, a[0], b[0], metric=metric)
    expected = [SKLEARN[metric](labels, scores[0]) for scores in (a, b)]
    assert (found.value_a, found.value_b) == pytest.approx(expected, abs=1e-12)
    assert found.difference == pytest.approx(expected[0] - expected[1], abs=1e-12)
    several = mb.judge(labels, a, b, metric=metric)
    assert several.value_a == pytest.approx(np.mean([SKLEARN[metric](labels, s) for s in a]), abs=1e-12)
    two_columns = mb.judge(labels, np.stack([1 - a, a], -1), np.stack([1 - b, b], -1), metric=metric)
    assert two_columns == several


@pytest.mark.parametrize("metric", JUDGED_METRICS)
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_the_values_of_several_classes_are_those_of_the_metrics_of_a_run(kind, metric):
    labels, a = predictions(load_wine, GaussianNB(), train=20)
    _, b = predictions(load_wine, DecisionTreeClassifier(random_state=0), train=20)
    truth = labels[:, None] == np.arange(3)
    given = labels
    if kind == "multilabel":
        truth = given = truth | (np.arange(3 * len(labels)).reshape(-1, 3) % 5 == 0)
    found = mb.judge(given, a, b, kind=kind, metric=metric)
    expected = [METRICS[metric](Predictions(kind, truth, scores)) for scores in (a, b)]
    assert (found.value_a, found.value_b) == pytest.approx(expected, abs=1e-12)
    if kind == "multiclass":
        assert mb.judge(labels, a, b, kind="ordinal", metric=metric) == found


def delong_variance(labels, a, b):
    """Variance of the difference of two AUCs, by the definition of DeLong et al. 1988."""
    components = []
    for scores in (a, b):
        positive, negative = scores[labels == 1], scores[labels == 0]
        kernel = np.array([[(x > y) + 0.5 * (x == y) for y in negative] for x in positive])
        components.append((kernel.mean(axis=1), kernel.mean(axis=0)))
    (v10_a, v01_a), (v10_b, v01_b) = components
    of_positive = np.var(v10_a - v10_b, ddof=1) / len(v10_a)
    return of_positive + np.var(v01_a - v01_b, ddof=1) / len(v01_a)


def test_the_variance_of_the_auc_is_delongs(cancer):
    labels, a, b = cancer
    found = mb.judge(labels, a[1], b[1]).paired
    assert found.test_variance == pytest.approx(delong_variance(labels, a[1], b[1]), rel=1e-10)
    assert found.seed_variance == 0


@pytest.mark.parametrize("metric", JUDGED_METRICS)
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_the_variance_is_what_a_bootstrap_converges_to(metric, kind):
    rng, n = np.random.default_rng(3), 400
    classes = 2 if kind == "binary" else 3
    labels = rng.integers(0, classes, n)
    truth = labels[:, None] == np.arange(classes)
    if kind == "multilabel":
        truth = rng.random((n, classes)) < 0.3
    shared = rng.normal(size=(n, classes))
    raw = [(shared + rng.normal(size=(n, classes)) + 1.5 * truth).round(1) for _ in range(2)]
    a, b = (norm.cdf(s - 0.7) if kind == "multilabel" else np.exp(s) / np.exp(s).sum(1)[:, None] for s in raw)
    compute = JUDGED_METRICS[metric].compute
    _, influence = compute(kind, truth, np.stack([a, b]))
    assert influence.sum(axis=1) == pytest.approx(0, abs=1e-9)
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, n, n)
        values, _ = compute(kind, truth[rows], np.stack([a, b])[:, rows])
        drawn.append(values[0] - values[1])
    assert math.sqrt(((influence[0] - influence[1]) ** 2).sum()) == pytest.approx(np.std(drawn), rel=0.13)


def truth_of_difference(metric, strengths, spread):
    """Return the expected metric of A minus that of B, by 2 million draws, or exactly for the AUC."""
    if metric == "auc":  # of two normal classes: Phi of their distance over the root of their variances
        a, b = (norm.cdf(d / math.sqrt(2 + spread**2)) for d in strengths)
        return a - b
    rng = np.random.default_rng(9)
    labels = rng.random(2_000_000) < 0.4
    values = [
        SKLEARN[metric](labels, norm.cdf(d * labels + rng.normal(size=labels.size) - 0.6)) for d in strengths
    ]
    return values[0] - values[1]


@pytest.mark.parametrize(
    ("metric", "seeds"),
    [("auc", 1), ("auc", 3), ("balanced_accuracy", 1), ("average_precision", 1), ("brier", 1)],
)
def test_the_interval_covers_the_truth(metric, seeds):
    rng, strengths, spread = np.random.default_rng(11), (1.6, 1.3), 0.3 * (seeds > 1)
    truth, covered, draws, n = truth_of_difference(metric, strengths, spread), 0, 250, 150
    for _ in range(draws):
        labels = (rng.random(n) < 0.4).astype(int)
        shared = rng.normal(size=n) * math.sqrt(0.5)
        scores = []
        for d in strengths:
            own = d + spread * rng.normal(size=(seeds, 1))
            scores.append(
                norm.cdf(own * labels + shared + rng.normal(size=(seeds, n)) * math.sqrt(0.5) - 0.6)
            )
        low, high = mb.judge(labels, *scores, metric=metric).interval
        covered += low <= truth <= high
    assert covered / draws >= 0.95 - 2.5 * math.sqrt(0.95 * 0.05 / draws)


def test_the_probabilities_follow_the_interval_and_sum_to_one(cancer):
    labels, a, b = cancer
    for metric, count in itertools.product(JUDGED_METRICS, (1, 5)):
        found = mb.judge(labels, a[:count], b[:count], metric=metric, margin=0.02)
        back = mb.judge(labels, b[:count], a[:count], metric=metric, margin=0.02)
        assert found.p_better + found.p_within_margin + found.p_worse == pytest.approx(1)
        assert (back.p_better, back.p_worse) == pytest.approx((found.p_worse, found.p_better))
        assert {found.verdict, back.verdict} in ({"better", "worse"}, {"undecided"}, {"equivalent"})
    found = mb.judge(labels, a[0], b[0])
    at_edge = mb.judge(labels, a[0], b[0], margin=found.interval[0])
    assert at_edge.p_better == pytest.approx(0.975)


def test_a_lower_brier_score_is_better(cancer):
    labels, a, b = cancer
    found = mb.judge(labels, a[0], b[0], metric="brier")
    assert found.verdict == "better" and found.difference < 0 and found.p_better > 0.97
    assert mb.judge(labels, b[0], a[0], metric="brier").verdict == "worse"


def test_without_seeds_the_verdict_is_for_these_two_trained_models(cancer):
    labels, a, b = cancer
    alone, one = mb.judge(labels, a[0], b[0]), mb.judge(labels, a[:1], b[:1])
    assert alone == one and alone.seeds == 1 and alone.has("fixed-models")
    assert alone.estimand.startswith("for these two trained models")
    several = mb.judge(labels, a, b)
    assert several.seeds == 5 and not several.has("fixed-models") and several.paired.seed_variance > 0
    assert several.estimand.startswith("for other trainings like these 5")
    repeated = mb.judge(labels, a[[0, 0, 0]], b[[0, 0, 0]])
    assert repeated.has("fixed-models") and repeated.interval == pytest.approx(alone.interval)


@pytest.mark.parametrize("metric", JUDGED_METRICS)
def test_groups_widen_the_interval(cancer, metric):
    labels, a, b = (each[..., :70] for each in cancer)
    copies = [np.repeat(each, 4, axis=-1) for each in (labels, a[0], b[0])]
    alone = mb.judge(labels, a[0], b[0], metric=metric)
    blind = mb.judge(*copies, metric=metric)
    grouped = mb.judge(*copies, metric=metric, groups=[f"p{i // 4}" for i in range(280)])
    width = {
        name: np.ptp(each.interval)
        for name, each in (("alone", alone), ("blind", blind), ("grouped", grouped))
    }
    assert width["grouped"] == pytest.approx(width["alone"], rel=0.1)
    assert width["blind"] < 0.6 * width["grouped"]
    assert (grouped.groups, grouped.n) == (70, 280) and "groups" in grouped.estimand


def test_equal_scores_are_equivalent_where_they_differ_little(cancer):
    labels, a, _ = (np.tile(each, 8) for each in cancer)
    a = np.clip(a[0] * 0.4 + np.random.default_rng(0).random(len(labels)) * 0.6, 0, 1)
    jitter = np.clip(a + np.random.default_rng(1).normal(0, 0.001, len(a)), 0, 1)
    assert mb.judge(labels, a, jitter).verdict == "equivalent"
    assert mb.judge(labels, a, jitter, margin=0.00001).verdict == "undecided"


@pytest.mark.parametrize(
    ("flag", "labels", "a", "b"),
    [
        ("no-evidence", [0] * 30 + [1] * 30, np.arange(60), np.arange(60)),
        ("no-evidence", [0] * 50 + [1], np.arange(51) % 7, np.arange(51) % 5),
        ("no-evidence", [0, 0, 0, 1, 1, 1], [1, 2, 5, 3, 4, 6], [1, 2, 3, 4, 5, 6]),
        ("few-test", [0] * 50 + [1] * 6, np.arange(56) % 7, np.arange(56) % 5),
        ("below-chance", [0] * 30 + [1] * 30, -np.arange(60) % 41, np.arange(60) % 43),
        ("perfect", [0] * 30 + [1] * 30, np.arange(60), np.arange(60) % 43),
        ("near-ceiling", [0] * 30 + [1] * 30, np.arange(60), np.arange(60) % 43),
        ("fixed-models", [0] * 30 + [1] * 30, np.arange(60), np.arange(60) % 43),
    ],
)
def test_a_reason_to_doubt_is_a_flag(flag, labels, a, b):
    found = mb.judge(labels, a, b)
    assert found.has(flag) and all(each.reason for each in found.flags)
    if flag == "no-evidence":
        assert found.verdict == "undecided" and math.isnan(found.p) and math.isnan(found.interval[0])
    assert len(repr(found)) < 300


def test_groups_and_classes_without_a_known_error_are_flags(cancer):
    labels, a, b = cancer
    assert mb.judge(labels, a[0], b[0], groups=labels).has("no-evidence")
    assert mb.judge(labels, a[0], b[0], groups=np.arange(len(labels)) % 6).has("few-groups")
    of_one_class = np.where(labels == 1, np.arange(len(labels)) % 4, np.arange(len(labels)))
    assert mb.judge(labels, a[0], b[0], groups=of_one_class).has("few-groups")
    assert not mb.judge(labels, a[0], b[0], groups=of_one_class, metric="brier").has("few-groups")
    all_hit = [np.where(labels == 1, 0.9, scores[0]) for scores in (a, b)]
    agreeing = {
        margin: mb.judge(labels, *all_hit, metric="balanced_accuracy", margin=margin)
        for margin in (0.005, 0.05)
    }
    assert agreeing[0.005].has("no-disagreement") and not agreeing[0.05].has("no-disagreement")


def test_many_tasks_are_corrected_as_in_reports(cancer):
    labels, a, b = cancer
    tasks = {f"t{i}": {"labels": labels, "scores_a": a[i], "scores_b": b[i]} for i in range(3)}
    tasks["brier"] = {**tasks["t0"], "metric": "brier"}
    tasks["none"] = {"labels": labels, "scores_a": a[0], "scores_b": a[0]}
    found = mb.judge_many(tasks)
    assert list(found) == list(tasks) and found["brier"].metric == "brier"
    judged = [each for each in found.values() if not math.isnan(each.p)]
    assert len(judged) == 4
    assert [each.p_adjusted for each in judged] == adjust_by_bh([each.p for each in judged])
    alone = mb.judge(**tasks["t1"])
    assert (alone.p, alone.interval) == (found["t1"].p, found["t1"].interval) and alone.p == alone.p_adjusted


SOME = {"labels": [0, 1] * 20, "scores_a": np.arange(40) / 40, "scores_b": np.arange(40)[::-1] / 40}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"kind": "multi-class"}, "no kind of task 'multi-class'; did you mean 'multiclass'?"),
        ({"metric": "brier_score"}, "no metric with a known error 'brier_score'; did you mean 'brier'?"),
        ({"margin": 0}, "margin is 0: pass a number above 0"),
        ({"labels": [0.5] * 40}, "labels are not whole numbers"),
        ({"labels": [math.nan] * 40}, "labels are not whole numbers"),
        ({"labels": ["x"] * 40}, "labels are not whole numbers"),
        ({"labels": [0, 2] * 20}, "labels of a binary task must be 0 or 1"),
        ({"labels": [[0], [1]]}, r"labels have the shape \[2, 1\]"),
        ({"labels": []}, r"labels have the shape \[0\]"),
        ({"labels": [1] * 40}, "class 0 has no positive test image, so that AUC is undefined"),
        ({"scores_a": [0.1] * 39}, r"scores_a have the shape \[39\] and there are 40 labels"),
        ({"scores_a": [[0.1], [0.1, 0.2]]}, "scores_a have rows of unequal length"),
        ({"scores_a": ["x"] * 40}, "scores_a are not numbers"),
        (
            {"scores_b": [math.nan, *[0.1] * 39]},
            r"scores_b have 1 values that are NaN or infinite, .* at \[0\]",
        ),
        ({"scores_b": np.full((2, 40), 0.5)}, "scores_a holds 1 trainings .* and scores_b 2"),
        ({"scores_b": np.arange(40), "metric": "brier"}, "scores_b has 38 values outside of .* sigmoid"),
        ({"groups": [1] * 39}, r"groups have the shape \[39\]"),
        ({"groups": [None, *range(39)]}, "groups have empty values"),
        ({"kind": "multiclass"}, r"pass \[n, classes\] or \[seeds, n, classes\] for a multiclass task"),
    ],
)
def test_a_wrong_argument_is_one_sentence_with_its_cure(changed, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        mb.judge(**{**SOME, **changed})
    assert str(error.value).endswith((".", "?")) and "\n" not in str(error.value)
    with pytest.raises(UserError, match=f"Task 'x': .*{sentence}"):
        mb.judge_many({"x": {**SOME, **changed}})


def test_labels_and_scores_of_several_classes_must_fit():
    scores = np.random.default_rng(0).random((40, 3))
    with pytest.raises(UserError, match="labels go from 0 to 3 and there are scores of 3 classes"):
        mb.judge([0, 3] * 20, scores, scores, kind="multiclass")
    with pytest.raises(UserError, match="class 2 has no positive test image"):
        mb.judge([0, 1] * 20, scores, scores, kind="multiclass")
    assert mb.judge([0, 1] * 20, scores, scores[::-1], kind="multiclass", metric="brier").p > 0
    with pytest.raises(UserError, match="labels have 2 classes and scores 3"):
        mb.judge([[0, 1]] * 40, scores, scores, kind="multilabel")


def test_tasks_name_their_arguments():
    with pytest.raises(UserError, match="Task 'x': There is no argument 'score_a'; did you mean"):
        mb.judge_many({"x": {**SOME, "score_a": 1}})
    with pytest.raises(UserError, match="Task 'x': labels is missing"):
        mb.judge_many({"x": {"scores_a": [1], "scores_b": [1]}})
    with pytest.raises(UserError, match="There is no task"):
        mb.judge_many({})


def test_ten_lines_of_the_documentation_give_the_interval(cancer):
    labels, a, b = cancer
    (code,) = [
        each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "mednet_bench" not in each
    ]
    for of_a, of_b in ((a[0], b[0]), (a[3], b[3]), (a[0][::-1].copy(), b[1])):
        names = {"labels": labels, "scores_a": of_a, "scores_b": of_b}
        exec(code, names)
        found = mb.judge(labels, of_a, of_b)
        assert (names["difference"], names["low"], names["high"]) == pytest.approx(
            (found.difference, *found.interval), abs=1e-9
        )
    assert len([line for line in code.splitlines() if line and not line.startswith(("import", "from"))]) <= 10


def test_the_python_example_of_the_documentation_runs(cancer):
    labels, a, b = cancer
    examples = [
        each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "mednet_bench" in each
    ]
    assert examples
    for code in examples:
        exec(code, {"labels": labels, "scores_a": a, "scores_b": b, "groups": np.arange(len(labels)) // 2})
