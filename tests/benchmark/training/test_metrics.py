"""Metrics against MedMNIST's evaluator, scikit-learn and slow references.

A benchmark's numbers are compared with published ones: a metric that is off in the fourth digit is wrong, and
0 in place of an undefined one lowers a mean unnoticed.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mednet_bench.benchmark.schema.records import PRIMARY_METRIC, MetricFacts
from mednet_bench.benchmark.training.metrics import (
    BUILT_IN_METRICS,
    LEAST_EVENTS,
    METRICS,
    MetricValues,
    Predictions,
    UndefinedMetricError,
    compute_metrics,
    count_events,
    describe_metric,
    log_loss,
    loss_chooses,
    metric_facts,
    primary_value,
)
from mednet_bench.benchmark.training.subsets import one_hot
from mednet_bench.reports.analysis.report_input import look_up_metric

KINDS = {"binary": 2, "multiclass": 5, "multilabel": 4, "ordinal": 5}
MEDMNIST = {
    "binary": "binary-class",
    "multiclass": "multi-class",
    "multilabel": "multi-label, binary-class",
    "ordinal": "ordinal-regression",
}
EXACT = 1e-12


def draw(kind: str, seed: int, n: int = 120, ties: bool = False) -> Predictions:
    """Labels and scores that go together a little; with ties the scores are rounded to tenths."""
    rng, classes = np.random.default_rng(seed), KINDS[kind]
    if kind == "multilabel":
        truth = rng.random((n, classes)) < 0.3
        scores = (0.25 * truth + rng.random((n, classes))).clip(0, 1)
        return Predictions(kind, truth, scores.round(1) if ties else scores)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    scores = rng.dirichlet(np.ones(classes), n) + 0.3 * np.eye(classes)[labels]
    scores = scores / scores.sum(axis=1, keepdims=True)
    if ties:  # tenths that still sum to 1: the rest goes to the first class
        scores = np.floor(scores * 10) / 10
        scores[:, 0] = (1 - scores[:, 1:].sum(axis=1)).round(1)
    return Predictions(kind, one_hot(labels, classes), scores)


def everything(preds: Predictions) -> MetricValues:
    """All metrics, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return compute_metrics(preds, tuple("abcdefgh"[: preds.truth.shape[1]]))


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Callable, Callable]]:
    """`getAUC` and `getACC` of MedMNIST, with a spare home: their import makes a folder there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        from medmnist.evaluator import getACC, getAUC

        yield getAUC, getACC


@pytest.mark.parametrize("ties", [False, True], ids=["all-different", "ties"])
@pytest.mark.parametrize("kind", KINDS)
def test_auc_and_accuracy_are_those_of_the_medmnist_evaluator(
    kind: str, ties: bool, evaluator: tuple[Callable, Callable]
) -> None:
    get_auc, get_acc = evaluator
    for seed in range(5):
        preds = draw(kind, seed, ties=ties)
        labels = preds.truth.astype(int) if kind == "multilabel" else preds.labels[:, None]
        values = everything(preds).values
        assert values["auc"] == pytest.approx(get_auc(labels, preds.scores, MEDMNIST[kind]), abs=EXACT)
        assert values["accuracy"] == pytest.approx(get_acc(labels, preds.scores, MEDMNIST[kind]), abs=EXACT)


def sklearn_values(preds: Predictions) -> dict[str, float]:
    """Every metric that scikit-learn has, called as its manual says for the kind of task."""
    truth, scores = preds.truth, preds.scores
    if preds.kind == "multilabel":
        columns = range(truth.shape[1])
        balanced = [reference.balanced_accuracy_score(truth[:, c], scores[:, c] > 0.5) for c in columns]
        return {
            "balanced_accuracy": float(np.mean(balanced)),
            "macro_f1": reference.f1_score(truth, scores > 0.5, average="macro"),
            "average_precision": reference.average_precision_score(truth, scores, average="macro"),
            "brier": float(np.mean([reference.brier_score_loss(truth[:, c], scores[:, c]) for c in columns])),
        }
    labels = truth.argmax(axis=1)
    if preds.kind == "binary":
        decisions = (scores[:, 1] > 0.5).astype(int)
        ranking = reference.average_precision_score(labels, scores[:, 1])
        brier = reference.brier_score_loss(labels, scores[:, 1])
    else:
        decisions = scores.argmax(axis=1)
        ranking = reference.average_precision_score(truth, scores, average="macro")
        # several classes: scikit-learn learnt this only in 1.7; the definition is Brier's own (1950)
        rows = zip(scores, truth, strict=True)
        brier = float(np.mean([sum((p - t) ** 2 for p, t in zip(*row, strict=True)) for row in rows]))
    return {
        "balanced_accuracy": reference.balanced_accuracy_score(labels, decisions),
        "macro_f1": reference.f1_score(labels, decisions, average="macro"),
        "average_precision": ranking,
        "brier": brier,
        "kappa": reference.cohen_kappa_score(labels, decisions, weights="quadratic"),
    }


@pytest.mark.parametrize("ties", [False, True], ids=["all-different", "ties"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_other_metrics_are_those_of_scikit_learn(kind: str, ties: bool) -> None:
    for seed in range(5):
        preds = draw(kind, seed, ties=ties)
        ours = everything(preds).values
        theirs = sklearn_values(preds)
        theirs = {name: value for name, value in theirs.items() if name in ours}
        assert len(theirs) == 5 if kind == "ordinal" else len(theirs) == 4
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_of_the_design_is_measured_and_kappa_only_for_grades(kind: str) -> None:
    wanted = {"auc", "accuracy", "balanced_accuracy", "macro_f1", "average_precision", "ece", "brier"}
    measured = everything(draw(kind, 0))
    assert set(measured.values) == wanted | ({"kappa"} if kind == "ordinal" else set())
    assert not measured.undefined


def slow_ece(preds: Predictions) -> float:
    """Guo et al. 2017, equation 3, image by image: 15 bins (0, 1/15], ..., (14/15, 1]."""
    pairs = []
    for truth, scores in zip(preds.truth, preds.scores, strict=True):
        if preds.kind == "multilabel":
            pairs += [(max(p, 1 - p), (p > 0.5) == t) for p, t in zip(scores, truth, strict=True)]
        else:
            winner = max(range(len(scores)), key=lambda c: scores[c])
            pairs.append((scores[winner], bool(truth[winner])))
    total = 0.0
    for place in range(15):
        inside = [(p, right) for p, right in pairs if place / 15 < p <= (place + 1) / 15]
        if inside:
            confidence = sum(p for p, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            total += len(inside) / len(pairs) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("ties", [False, True], ids=["all-different", "ties"])
@pytest.mark.parametrize("kind", KINDS)
def test_calibration_error_is_that_of_a_slow_reference(kind: str, ties: bool) -> None:
    for seed in range(5):
        preds = draw(kind, seed, ties=ties)  # .2, .4, .6 and .8 are on the edges of bins
        assert everything(preds).values["ece"] == pytest.approx(slow_ece(preds), abs=EXACT)


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    # .6 is the end of (8/15, 9/15]: it must not be averaged with the .61 of the next bin
    preds = Predictions("binary", one_hot(np.array([1, 0]), 2), np.array([[0.6, 0.4], [0.61, 0.39]]))
    assert METRICS["ece"](preds) == pytest.approx((0.6 + 0.39) / 2, abs=EXACT) == slow_ece(preds)


def test_certain_and_right_is_perfectly_calibrated_and_certain_and_wrong_is_not() -> None:
    # a confidence of exactly 1 belongs to the last bin; beside it it would fall out of the sum
    right = Predictions("binary", one_hot(np.array([0, 1, 1]), 2), np.eye(2)[[0, 1, 1]])
    wrong = Predictions("binary", one_hot(np.array([0, 1, 1]), 2), np.eye(2)[[1, 0, 0]])
    assert (METRICS["ece"](right), METRICS["ece"](wrong)) == (0, 1)


def without(kind: str, lost: int) -> Predictions:
    """A split in which one class does not occur, although scores for it exist."""
    preds = draw(kind, 3)
    if kind == "multilabel":
        truth = preds.truth.copy()
        truth[:, lost] = False
        return Predictions(kind, truth, preds.scores)
    keep = preds.labels != lost
    return Predictions(kind, preds.truth[keep], preds.scores[keep])


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_is_missing_leaves_the_metric_without_value_and_says_which(kind: str) -> None:
    # medmnist raises, scikit-learn warns and returns nan, 0 or .5 by version; any number would enter a mean
    measured = everything(without(kind, lost=1))
    for name in ("auc", "average_precision", "balanced_accuracy"):
        assert measured.values[name] is None
        assert "class 1" in measured.undefined[name]
    assert measured.per_class["auc"]["b"] is None
    assert measured.values["accuracy"] is not None


def test_a_label_that_every_image_has_leaves_its_auc_without_value() -> None:
    preds = draw("multilabel", 3)
    truth = preds.truth.copy()
    truth[:, 2] = True
    measured = everything(Predictions("multilabel", truth, preds.scores))
    assert measured.values["auc"] is None and "class 2" in measured.undefined["auc"]
    # precision needs positives only: where all are positive it is 1 by definition
    assert measured.per_class["average_precision"]["c"] == 1


def test_a_class_that_neither_occurs_nor_is_predicted_does_not_lower_the_f1() -> None:
    labels, decisions = np.array([0, 2, 2, 0]), np.array([0, 2, 0, 0])
    preds = Predictions("multiclass", one_hot(labels, 4), np.eye(4)[decisions])
    theirs = reference.f1_score(labels, decisions, average="macro")
    assert everything(preds).values["macro_f1"] == pytest.approx(theirs, abs=EXACT)
    # but one that is predicted and never right does
    wrong = np.array([0, 2, 1, 0])
    preds = Predictions("multiclass", one_hot(labels, 4), np.eye(4)[wrong])
    theirs = reference.f1_score(labels, wrong, average="macro")
    assert everything(preds).values["macro_f1"] == pytest.approx(theirs, abs=EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_that_chooses_is_that_of_the_kind_of_task(kind: str) -> None:
    preds = draw(kind, 4)
    if kind == "multilabel":
        columns = zip(preds.truth.T, preds.scores.T, strict=True)
        theirs = float(np.mean([reference.log_loss(truth, p, labels=[0, 1]) for truth, p in columns]))
    else:
        theirs = reference.log_loss(preds.labels, preds.scores, labels=range(KINDS[kind]))
    assert log_loss(preds.truth, preds.scores, kind) == pytest.approx(theirs, abs=1e-5)
    # one certain error is dear, but not infinite: it must not decide alone among 50 images
    certain = Predictions("binary", one_hot(np.array([0, 1]), 2), np.eye(2)[[0, 0]])
    assert log_loss(certain.truth, certain.scores, "binary") == pytest.approx(-np.log(1e-7) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "positives", "images", "events"),
    [
        ("binary", [70, 30], 100, 30),  # both columns have the same events
        ("multiclass", [60, 30, 10], 100, 40 + 30 + 10),
        ("multilabel", [30, 97], 100, 30 + 3),  # of a finding that nearly all have, its absence is rare
        ("multilabel", [30, 0], 100, 30),
        ("ordinal", [0, 0, 0], 0, 0),
    ],
)
def test_an_event_is_the_rarer_side_of_a_class(
    kind: str, positives: list[int], images: int, events: int
) -> None:
    truth = np.arange(images)[:, None] < np.array(positives)
    assert count_events(kind, truth) == events


@pytest.mark.parametrize("few", [True, False])
def test_events_decide_whether_the_loss_chooses_and_images_do_not(few: bool) -> None:
    events = LEAST_EVENTS - few
    assert loss_chooses("binary", one_hot(np.repeat([0, 1], [1000, events]))) == few
    assert loss_chooses("multiclass", one_hot(np.arange(events) % 9)) == few


@pytest.mark.parametrize("kind", KINDS)
def test_one_image_is_measured_without_a_warning(kind: str) -> None:
    preds = draw(kind, 0)
    one = everything(Predictions(kind, preds.truth[:1], preds.scores[:1]))
    assert one.values["auc"] is None
    assert one.values["accuracy"] in (0, 1) or kind == "multilabel"
    assert set(one.undefined) == {name for name, value in one.values.items() if value is None}


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_has_no_metric_but_a_reason(kind: str) -> None:
    preds = draw(kind, 0)
    none = everything(Predictions(kind, preds.truth[:0], preds.scores[:0]))
    assert set(none.values.values()) == {None}
    assert set(none.undefined) == set(none.values)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_that_say_nothing_have_an_auc_of_one_half(kind: str) -> None:
    preds = draw(kind, 1)
    constant = np.full(preds.scores.shape, 1 / (2 if kind == "multilabel" else KINDS[kind]))
    values = everything(Predictions(kind, preds.truth, constant)).values
    assert values["auc"] == pytest.approx(0.5, abs=EXACT)
    if kind != "multilabel":  # the first class for every image: chance, however unequal they are
        assert values["balanced_accuracy"] == pytest.approx(1 / KINDS[kind], abs=EXACT)


def test_an_undecided_score_counts_as_no_in_both_halves_of_balanced_accuracy() -> None:
    # two neighbors that disagree give exactly .5, and MedMNIST's cut is "> .5": these are right answers
    preds = Predictions("multilabel", np.array([[True], [False], [False]]), np.full((3, 1), 0.5))
    theirs = reference.balanced_accuracy_score([1, 0, 0], [0, 0, 0])
    assert METRICS["balanced_accuracy"](preds) == theirs == 0.5


def test_kappa_measures_distance_in_grades_even_where_a_grade_does_not_occur() -> None:
    # Grades 0, 1 and 4 occur, 2 and 3 neither as label nor as prediction. Taken by their rank (0, 1, 2)
    # a confusion of 1 with 4 would cost as little as one of 0 with 2.
    labels, decisions = np.array([0, 1, 4, 4, 0, 1]), np.array([0, 4, 4, 1, 1, 1])
    preds = Predictions("ordinal", one_hot(labels, 5), np.eye(5)[decisions])
    observed = np.mean((labels - decisions) ** 2)
    expected = np.mean((labels[:, None] - decisions[None]) ** 2)
    assert METRICS["kappa"](preds) == pytest.approx(1 - observed / expected, abs=EXACT)


def test_kappa_of_one_single_grade_has_no_value() -> None:
    preds = Predictions("ordinal", one_hot(np.array([2, 2, 2]), 5), np.eye(5)[[2, 2, 2]])
    measured = everything(preds)
    assert measured.values["kappa"] is None and "same class" in measured.undefined["kappa"]


@pytest.mark.parametrize("kind", KINDS)
def test_values_per_class_are_one_against_the_rest(kind: str) -> None:
    preds = draw(kind, 2)
    measured = everything(preds)
    single = np.eye(KINDS[kind])[preds.scores.argmax(1)] > 0
    predicted = preds.scores > 0.5 if kind == "multilabel" else single
    for place, name in enumerate("abcdefgh"[: KINDS[kind]]):
        truth, scores = preds.truth[:, place], preds.scores[:, place]
        of_class = {metric: values[name] for metric, values in measured.per_class.items()}
        assert of_class == pytest.approx(
            {
                "auc": reference.roc_auc_score(truth, scores),
                "average_precision": reference.average_precision_score(truth, scores),
                "recall": reference.recall_score(truth, predicted[:, place]),
                "f1": reference.f1_score(truth, predicted[:, place]),
            },
            abs=EXACT,
        )


def test_the_primary_metric_is_the_auc_or_nothing() -> None:
    assert primary_value(draw("ordinal", 0)) == everything(draw("ordinal", 0)).values["auc"]
    assert primary_value(without("ordinal", 4)) is None
    with pytest.raises(UndefinedMetricError):
        METRICS["auc"](without("ordinal", 4))


kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 10_000)


@settings(max_examples=40, deadline=None)
@given(kinds, seeds, st.booleans())
def test_the_order_of_the_images_does_not_matter(kind: str, seed: int, ties: bool) -> None:
    preds = draw(kind, seed, ties=ties)
    order = np.random.default_rng(seed).permutation(len(preds.truth))
    mixed = Predictions(kind, preds.truth[order], preds.scores[order])
    assert everything(mixed).values == pytest.approx(everything(preds).values, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(kinds, seeds, st.booleans())
def test_only_the_order_of_the_scores_makes_the_auc(kind: str, seed: int, ties: bool) -> None:
    preds = draw(kind, seed, ties=ties)
    auc = METRICS["auc"]
    stretched = Predictions(kind, preds.truth, preds.scores**3)
    reversed_ = Predictions(kind, preds.truth, -preds.scores)
    assert auc(stretched) == pytest.approx(auc(preds), abs=EXACT)
    assert auc(reversed_) == pytest.approx(1 - auc(preds), abs=EXACT)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_names_of_the_classes_do_not_matter(seed: int) -> None:
    preds = draw("multiclass", seed)
    order = np.random.default_rng(seed).permutation(KINDS["multiclass"])
    renamed = Predictions("multiclass", preds.truth[:, order], preds.scores[:, order])
    assert everything(renamed).values == pytest.approx(everything(preds).values, abs=1e-9)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
def test_what_a_plug_in_cannot_mean_is_undefined_with_its_reason(value: float):
    with METRICS.aside():
        METRICS.register("odd")(describe_metric("Odd", low=0, high=1)(lambda preds: value))
        found = everything(draw("binary", 0))
    assert found.values["odd"] is None and found.undefined["odd"]
    assert ("it gave nan" if np.isnan(value) else "outside of the range") in found.undefined["odd"]


def test_a_plug_in_that_ends_the_process_leaves_a_reason_and_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    def leave(preds: Predictions) -> float:
        raise SystemExit(0)

    with METRICS.aside():
        METRICS.register("odd")(leave)
        monkeypatch.setattr(METRICS, "is_foreign", lambda name: True)
        found = everything(draw("binary", 0))
    assert found.undefined == {"odd": "the plug-in failed (SystemExit: 0)"}


def test_a_value_within_the_range_is_kept_and_an_open_end_is_none():
    with METRICS.aside():
        METRICS.register("odd")(describe_metric(low=0)(lambda preds: 1e9))
        assert everything(draw("binary", 0)).values == {"odd": 1e9}
        assert metric_facts() == {"odd": MetricFacts(low=0.0)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 1, "high": 0},
        {"low": 0.5, "high": 0.5},
        {"high": float("inf")},
        {"lower_is_better": "yes"},
        {"title": 3},
        {"low": "0"},
        {"chance": float("nan")},
    ],
)
def test_a_description_that_makes_no_sense_is_refused_when_the_plug_in_is_loaded(wrong: dict[str, Any]):
    with pytest.raises(ValueError):
        describe_metric(**wrong)


def test_a_built_in_metric_is_one_object_that_reports_read_without_plug_ins():
    assert list(BUILT_IN_METRICS) == [name for name in METRICS if not METRICS.is_foreign(name)]
    for name, metric in BUILT_IN_METRICS.items():
        assert (
            METRICS[name] is metric
            and look_up_metric(name, {name: MetricFacts(title="else")}) is metric.facts
        )
        assert metric.facts.title and metric.facts.help
    assert {name for name, metric in BUILT_IN_METRICS.items() if metric.facts.sign < 0} == {"ece", "brier"}
    assert PRIMARY_METRIC in BUILT_IN_METRICS and not set(BUILT_IN_METRICS) & set(metric_facts())


@pytest.mark.parametrize("kind", KINDS)
def test_guessing_gives_the_chance_level_of_the_primary_metric(kind: str):
    preds = draw(kind, 0)
    guess = Predictions(kind, preds.truth, np.full(preds.truth.shape, 1 / preds.truth.shape[1]))
    assert primary_value(guess) == BUILT_IN_METRICS[PRIMARY_METRIC].facts.chance


def test_an_infinite_end_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"high \(inf\) must be finite, or None"):
        describe_metric(low=0, high=float("inf"))
