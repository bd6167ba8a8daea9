"""`knn`: votes of the nearest training images by cosine similarity of frozen features."""

import numpy as np
from numpy.typing import NDArray

from ..schema.plan import TrainingConfig
from ..training.metrics import Predictions, log_loss, primary_value, share_of_wins
from ..training.protocol import (
    PROTOCOLS,
    BenchProtocol,
    CostEstimate,
    EvalContext,
    ProtocolResult,
    SolverProblem,
    SolverWork,
    describe_choice,
)
from ..training.subsets import one_hot

_Array = NDArray[np.float64]
SELECTION = 1000
"""Cost of finding the nearest neighbors of a row, in features of its product; only for estimates of time."""


class KnnProtocol(BenchProtocol):
    """Choice of k in `TrainingConfig.k_grid`, up to the subset's size, on validation."""

    recipe_fields = ("k_grid",)
    frozen = True

    def score(self, job: EvalContext) -> ProtocolResult:
        """Predict by similarity-weighted votes; probabilities are the weighted shares of the labels."""
        from ..training.features import features_of

        features = features_of(job)
        train, val, test = (_unit_vectors(part) for part in features.select(job))
        votes = one_hot(job.labels("train"), len(job.task.classes)).astype(float)
        truth = one_hot(job.labels("val"), len(job.task.classes))
        grid = tuple(k for k in job.recipe.k_grid if k <= len(train)) or (len(train),)
        val_scores = _vote(val, train, votes, grid)
        scores = tuple(primary_value(Predictions(job.task.kind, truth, val_scores[k])) for k in grid)
        losses = [log_loss(truth, val_scores[k], job.task.kind) for k in grid]
        ranks = [
            (-1.0 if score is None else score, -loss) for score, loss in zip(scores, losses, strict=True)
        ]
        best = max(range(len(grid)), key=ranks.__getitem__)
        k = grid[best]

        def wins(a: int, b: int) -> float:
            return share_of_wins(job.task.kind, truth, val_scores[grid[a]], val_scores[grid[b]])

        criterion = "validation AUC, then validation loss"
        choice = describe_choice("k", tuple(map(float, grid)), scores, best, criterion, wins)
        return ProtocolResult(_vote(test, train, votes, (k,))[k], val_scores[k], features.weights, (choice,))

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count the forward passes."""
        return CostEstimate(seen=train + val + test)

    def solver_work(self, recipe: TrainingConfig, problem: SolverProblem) -> SolverWork:
        """Count the product of queries and training features, and the selection of the nearest."""
        pairs = float(problem.val + problem.test) * problem.train
        return SolverWork(pairs * (problem.features + SELECTION), problem.train)


def _unit_vectors(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _vote(
    queries: NDArray[np.float32], train: NDArray[np.float32], votes: _Array, grid: tuple[int, ...]
) -> dict[int, _Array]:
    """Return probabilities [queries, classes] for every k of the grid, from one neighbor search.

    `queries` [queries, features] and `train` [n, features] are unit vectors, `votes` [n, classes] is 0 or 1.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=max(grid), metric="cosine", algorithm="brute").fit(train)
    distance, index = search.kneighbors(queries)
    weight = np.clip(2 - distance.astype(float), 1e-6, None)[:, :, None]  # 1 + cosine: never negative
    return {k: (weight[:, :k] * votes[index[:, :k]]).sum(1) / weight[:, :k].sum(1) for k in grid}


PROTOCOLS.add("knn", KnnProtocol())
