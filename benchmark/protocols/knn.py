"""`knn`: votes of the nearest training images by cosine similarity of frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:  # importing torch takes seconds, and a finished run needs none of it
    from torch import Tensor

SELECTION = 400
"""Cost of finding the nearest neighbors of a row, in features of its product; only for estimates of time."""


class KnnProtocol(BenchProtocol):
    """Choice of k in `TrainingConfig.k_grid`, up to the subset's size, on validation."""

    version = 2
    recipe_fields = ("k_grid",)
    frozen = True

    def score(self, job: EvalContext) -> ProtocolResult:
        """Predict by similarity-weighted votes; probabilities are the weighted shares of the labels."""
        import torch

        from ..training.features import features_of
        from ..training.nearest_neighbors import neighbor_shares

        features = features_of(job)
        train, val, test = (torch.from_numpy(part).to(job.device) for part in features.select(job))
        votes = torch.from_numpy(one_hot(job.labels("train"), len(job.task.classes))).to(job.device)
        truth = one_hot(job.labels("val"), len(job.task.classes))
        grid = tuple(k for k in job.recipe.k_grid if k <= len(train)) or (len(train),)
        shares = neighbor_shares(val, train, votes, grid)
        val_scores = {k: _to_array(share) for k, share in zip(grid, shares, strict=True)}
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
        (on_test,) = neighbor_shares(test, train, votes, (k,))
        return ProtocolResult(_to_array(on_test), val_scores[k], features.weights, (choice,))

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count the forward passes."""
        return CostEstimate(seen=train + val + test)

    def solver_work(self, recipe: TrainingConfig, problem: SolverProblem) -> tuple[SolverWork, ...]:
        """Count the product of queries and training features, and the selection of the nearest."""
        from ..training.nearest_neighbors import neighbor_multiply_adds

        queries = problem.val + problem.test
        products = neighbor_multiply_adds(problem.train, queries, problem.features + SELECTION)
        return (SolverWork(products, problem.train),)


def _to_array(shares: Tensor) -> NDArray[np.float64]:
    return shares.cpu().double().numpy()  # in this order: not every device has float64


PROTOCOLS.add("knn", KnnProtocol())
