"""Nearest neighbors against a reference that looks at every pair."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import toys
from numpy.typing import NDArray

from mednet_bench.benchmark.training import nearest_neighbors
from mednet_bench.benchmark.training.features import features_of
from mednet_bench.benchmark.training.metrics import Predictions, log_loss, primary_value
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext
from mednet_bench.benchmark.training.subsets import one_hot

KNN = PROTOCOLS["knn"]
TOYS = {
    "multiclass": toys.Toy(classes=3, clear=1.0),
    "binary": toys.Toy(kind="binary", classes=2, clear=1.0),
    "multilabel": toys.Toy(kind="multilabel", classes=3, clear=1.0),
}


def job_of(tmp_path: Path, kind: str, grid: tuple[int, ...], fraction: float = 1.0) -> EvalContext:
    recipe = msgspec.structs.replace(toys.QUICK, k_grid=grid)
    return toys.Bench(toys.task_of(TOYS[kind]), tmp_path, recipe=recipe).job("knn", fraction)


def brute_force(job: EvalContext, split: str, k: int) -> NDArray[np.float64]:
    """Sort all training images by cosine to every query; the k first vote by 1 + cosine."""
    train, val, test = (part.astype(float) for part in features_of(job).select(job))
    truth = one_hot(job.labels("train"), len(job.task.classes))
    rows = []
    for query in {"val": val, "test": test}[split]:
        cosine = [query @ image / np.linalg.norm(query) / np.linalg.norm(image) for image in train]
        nearest = sorted(range(len(train)), key=lambda i: -cosine[i])[:k]
        weights = np.array([1 + cosine[i] for i in nearest])
        rows.append((weights[:, None] * truth[nearest]).sum(axis=0) / weights.sum())
    return np.array(rows)


@pytest.mark.parametrize("kind", TOYS)
@pytest.mark.parametrize("k", [1, 4, 17])
def test_votes_are_those_of_brute_force(kind: str, k: int, tmp_path: Path) -> None:
    job = job_of(tmp_path, kind, (k,))
    outcome = KNN.score(job)
    np.testing.assert_allclose(outcome.test_scores, brute_force(job, "test", k), atol=1e-5)
    np.testing.assert_allclose(outcome.val_scores, brute_force(job, "val", k), atol=1e-5)
    assert outcome.choices[0].value == k and not outcome.choices[0].at_edge


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = KNN.score(job_of(tmp_path, "multilabel", (4, 17)))
    monkeypatch.setattr(nearest_neighbors, "CPU_BLOCK", 1)  # one query per product
    parts = KNN.score(job_of(tmp_path, "multilabel", (4, 17)))
    np.testing.assert_allclose(parts.test_scores, whole.test_scores, atol=1e-5)
    np.testing.assert_allclose(parts.val_scores, whole.val_scores, atol=1e-5)


@pytest.mark.parametrize("kind", TOYS)
def test_probabilities_are_shares(kind: str, tmp_path: Path) -> None:
    scores = KNN.score(job_of(tmp_path, kind, (5,))).test_scores
    assert scores.min() >= 0 and scores.max() <= 1 + 1e-9
    if kind != "multilabel":
        np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_an_image_is_its_own_nearest_neighbor(tmp_path: Path) -> None:
    splits = toys.splits_of(TOYS["multiclass"])
    source = toys.InMemory({**splits, "test": splits["train"]}, "sha256:itself")
    task = toys.task_of(TOYS["multiclass"], source=source)
    recipe = msgspec.structs.replace(toys.QUICK, k_grid=(1,))
    outcome = KNN.score(toys.Bench(task, tmp_path, recipe=recipe).job("knn"))
    assert (outcome.test_scores.argmax(axis=1) == splits["train"].labels).all()


def test_more_neighbors_than_labels_are_never_asked_for(tmp_path: Path) -> None:
    job = job_of(tmp_path, "multiclass", (1, 5, 20, 50), fraction=0.1)
    assert len(job.subset.train) == 6
    (choice,) = KNN.score(job).choices
    assert choice.grid == (1, 5) and len(choice.scores) == 2
    # where none of the grid fits, all labels vote
    (choice,) = KNN.score(job_of(tmp_path, "multiclass", (50,), fraction=0.1)).choices
    assert choice.grid == (6,)


def test_the_number_of_neighbors_with_the_best_validation_auc_is_taken(tmp_path: Path) -> None:
    job = job_of(tmp_path, "multiclass", (1, 5, 20))
    (choice,) = KNN.score(job).choices
    truth = one_hot(job.labels("val"), 3)
    votes = [Predictions("multiclass", truth, brute_force(job, "val", k)) for k in (1, 5, 20)]
    expected = [primary_value(vote) for vote in votes]
    assert choice.scores == pytest.approx(expected, abs=1e-6)
    assert choice.value == (1, 5, 20)[int(np.argmax(expected))]
    assert not choice.at_edge or choice.value in (1, 20)


def test_among_equal_aucs_the_better_probabilities_win(tmp_path: Path) -> None:
    # Where all is easy every k has AUC 1, and one neighbor is never unsure, even where it should be.
    task = toys.task_of(toys.Toy(classes=2, kind="binary", clear=6.0))
    recipe = msgspec.structs.replace(toys.QUICK, k_grid=(60, 30, 1))
    job = toys.Bench(task, tmp_path, recipe=recipe).job("knn")
    (choice,) = KNN.score(job).choices
    truth = one_hot(job.labels("val"), 2)
    losses = [log_loss(truth, brute_force(job, "val", k), "binary") for k in (60, 30, 1)]
    tied = [place for place, score in enumerate(choice.scores) if score == max(choice.scores)]  # type: ignore[type-var]
    assert len(tied) > 1
    assert choice.value == (60, 30, 1)[min(tied, key=losses.__getitem__)]
