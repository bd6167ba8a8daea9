"""The linear probe against a plain scikit-learn one, and its choices by validation alone."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import toys
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mednet_bench.benchmark.training.features import features_of
from mednet_bench.benchmark.training.metrics import log_loss
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext, ProtocolResult
from mednet_bench.benchmark.training.subsets import one_hot
from mednet_bench.tasks.task import Split

KINDS = {
    "binary": toys.Toy(kind="binary", classes=2, clear=0.8),
    "multiclass": toys.Toy(classes=4, clear=0.8),
    "ordinal": toys.Toy(kind="ordinal", classes=3, clear=0.8),
    "multilabel": toys.Toy(kind="multilabel", classes=3, clear=0.8),
}
LINEAR = PROTOCOLS["linear"]


def job_of(tmp_path: Path, toy: toys.Toy, fraction: float = 1.0, **recipe: object) -> EvalContext:
    settings = msgspec.structs.replace(toys.QUICK, **recipe)
    return toys.Bench(toys.task_of(toy), tmp_path, recipe=settings).job("linear", fraction)


def plain(job: EvalContext, strength: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of val and test by the manual: scale, fit to the end, predict."""
    train, val, test = features_of(job).select(job)
    scaler = StandardScaler().fit(train)
    labels = job.labels("train")
    c = 1 / (strength * len(train))

    def fit(column: NDArray[np.int64]) -> LogisticRegression:
        probe = LogisticRegression(C=c, max_iter=5000, tol=1e-8)
        return probe.fit(scaler.transform(train).astype(float), column)

    parts = [scaler.transform(part).astype(float) for part in (val, test)]
    if labels.ndim == 2:
        probes = [fit(column) for column in labels.T]
        found = [np.stack([probe.predict_proba(part)[:, 1] for probe in probes], axis=1) for part in parts]
    else:
        probe = fit(labels)
        found = [probe.predict_proba(part) for part in parts]
    return found[0], found[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [0.03, 0.3, 3.0])
def test_probabilities_are_those_of_a_plain_logistic_regression(
    kind: str, strength: float, tmp_path: Path
) -> None:
    job = job_of(tmp_path, KINDS[kind], l2_grid=(strength,))
    outcome = LINEAR.score(job)
    on_val, on_test = plain(job, strength)
    np.testing.assert_allclose(outcome.val_scores, on_val, atol=5e-3)
    np.testing.assert_allclose(outcome.test_scores, on_test, atol=5e-3)
    assert not outcome.choices[0].at_edge  # one value has no edge


@pytest.mark.parametrize("kind", KINDS)
def test_the_chosen_penalty_of_the_grid_gives_its_own_probabilities(kind: str, tmp_path: Path) -> None:
    outcome = LINEAR.score(job_of(tmp_path, KINDS[kind]))
    on_val, on_test = plain(job_of(tmp_path, KINDS[kind]), outcome.choices[0].value)
    np.testing.assert_allclose(outcome.test_scores, on_test, atol=1e-2)
    np.testing.assert_allclose(outcome.val_scores, on_val, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_penalty_with_the_best_validation_likelihood_is_taken(kind: str, tmp_path: Path) -> None:
    job = job_of(tmp_path, KINDS[kind])
    (choice,) = LINEAR.score(job).choices
    assert set(choice.grid) == set(job.recipe.l2_grid)
    scores = dict(zip(choice.grid, choice.scores, strict=True))
    assert choice.value == max(choice.grid, key=lambda strength: scores[strength] or -np.inf)
    truth = one_hot(job.labels("val"), len(job.task.classes))
    strong = [strength for strength in choice.grid if strength >= 0.03]
    likelihood = {strength: -log_loss(truth, plain(job, strength)[0], kind) for strength in strong}
    for strength, at_the_end in likelihood.items():
        assert scores[strength] == pytest.approx(at_the_end, abs=0.01), strength
    assert likelihood[choice.value] > max(likelihood.values()) - 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_every_penalty_is_a_fit_of_its_own(kind: str, tmp_path: Path) -> None:
    (choice,) = LINEAR.score(job_of(tmp_path, KINDS[kind])).choices
    assert len(set(choice.scores)) == len(choice.grid)


def test_the_edge_of_the_grid_is_marked(tmp_path: Path) -> None:
    wide = LINEAR.score(job_of(tmp_path, KINDS["multiclass"])).choices[0]
    assert not wide.at_edge
    weaker = tuple(value for value in wide.grid if value < wide.value)
    stronger = tuple(value for value in wide.grid if value > wide.value)
    for grid, edge in ((weaker, max), (stronger, min)):
        choice = LINEAR.score(job_of(tmp_path, KINDS["multiclass"], l2_grid=grid)).choices[0]
        assert choice.value == edge(grid) and choice.at_edge


def without(toy: toys.Toy, *lost: int) -> toys.InMemory:
    """The toy's images with no training image of the lost classes."""
    splits = toys.splits_of(toy)
    train = splits["train"]
    keep = ~np.isin(train.labels, lost)
    return toys.InMemory({**splits, "train": Split(train.images[keep], train.labels[keep])}, "sha256:without")


def test_a_class_that_was_never_seen_gets_no_probability(tmp_path: Path) -> None:
    toy = replace(KINDS["multiclass"], clear=3.0)
    task = toys.task_of(toy, source=without(toy, 1))
    outcome = LINEAR.score(toys.Bench(task, tmp_path).job("linear"))
    for scores in (outcome.val_scores, outcome.test_scores):
        assert scores.shape[1] == 4
        assert (scores[:, 1] == 0).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)
    # and the others kept their places
    labels = task.source.load(16, toys.NOWHERE)["test"].labels
    seen = labels != 1
    assert (outcome.test_scores[seen].argmax(axis=1) == labels[seen]).mean() > 0.5


def test_a_single_class_is_certain(tmp_path: Path) -> None:
    toy = KINDS["multiclass"]
    task = toys.task_of(toy, source=without(toy, 0, 1, 3))
    outcome = LINEAR.score(toys.Bench(task, tmp_path).job("linear"))
    assert (outcome.test_scores == np.eye(4)[2]).all()


def test_a_finding_that_no_image_has_is_never_predicted(tmp_path: Path) -> None:
    toy = KINDS["multilabel"]
    splits = toys.splits_of(toy)
    labels = splits["train"].labels.copy()
    labels[:, 0], labels[:, 2] = 0, 1
    source = toys.InMemory({**splits, "train": replace(splits["train"], labels=labels)}, "sha256:none")
    outcome = LINEAR.score(toys.Bench(toys.task_of(toy, source=source), tmp_path).job("linear"))
    assert (outcome.test_scores[:, 0] == 0).all() and (outcome.test_scores[:, 2] == 1).all()
    assert 0 < outcome.test_scores[:, 1].min() < outcome.test_scores[:, 1].max() < 1


def scores(outcome: ProtocolResult) -> tuple[bytes, bytes]:
    return outcome.test_scores.tobytes(), outcome.val_scores.tobytes()


def test_the_same_cell_gives_the_same_bits(tmp_path: Path) -> None:
    one, two = (LINEAR.score(job_of(tmp_path / place, KINDS["multiclass"], 0.5)) for place in "ab")
    assert scores(one) == scores(two) and one.choices == two.choices
