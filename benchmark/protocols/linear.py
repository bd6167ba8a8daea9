"""`linear`: L2-regularized logistic regression on standardized features, backbone frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..schema.plan import TrainingConfig
from ..training.metrics import log_loss, share_of_wins
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

    from ..training.logistic_regression import LogisticFit

_Array = NDArray[np.float64]
ONE_THREAD = 1_000_000_000
"""Multiply-adds per round below which the solver uses one thread: several wait for one another, on a busy
machine for up to 25 times the computing time."""
USUAL_ROUNDS, START_SECONDS = 20, 0.05
"""Mean rounds of a column, and seconds of a fit that are independent of its size, for estimates."""


class LinearProtocol(BenchProtocol):
    """Choice of the penalty of `TrainingConfig.l2_grid` by validation loss, in every cell."""

    version = 2
    recipe_fields = ("l2_grid",)
    frozen = True

    def score(self, job: EvalContext) -> ProtocolResult:
        """Fit the probes of all penalties and labels at once, and predict with the best penalty."""
        import torch

        from ..training.features import features_of
        from ..training.logistic_regression import standardize

        features = features_of(job)
        seen = [torch.from_numpy(part).to(job.device) for part in features.select(job)]
        train, val, test = standardize(*seen)
        width = len(job.task.classes)
        truth = one_hot(job.labels("val"), width)
        grid = tuple(sorted(job.recipe.l2_grid, reverse=True))
        with limit_threads(train.numel() * width * len(grid) * 2 < ONE_THREAD):
            probes = LinearProbes.train(train, job.labels("train"), width, grid)
            fitted = [probes.predict(val, place) for place in range(len(grid))]
            scores = tuple(-log_loss(truth, on_val, job.task.kind) for on_val in fitted)
            best = int(np.argmax(scores))
            on_test = probes.predict(test, best)

        def wins(a: int, b: int) -> float:
            return share_of_wins(job.task.kind, truth, fitted[a], fitted[b], by_loss=True)

        choice = describe_choice("l2", grid, scores, best, "validation log likelihood", wins)
        return ProtocolResult(on_test, fitted[best], features.weights, (choice,))

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count the forward passes."""
        return CostEstimate(seen=train + val + test, solver_seconds=START_SECONDS)

    def solver_work(self, recipe: TrainingConfig, problem: SolverProblem) -> tuple[SolverWork, ...]:
        """Count the eigenvectors, and the products for all penalties and outputs together."""
        from ..training.logistic_regression import basis_multiply_adds, rounds_multiply_adds

        images, width = problem.train, problem.features
        columns = problem.outputs * len(recipe.l2_grid)
        products = rounds_multiply_adds(images, width, columns, USUAL_ROUNDS)
        basis = SolverWork(basis_multiply_adds(images, width), min(images, width))
        return basis, SolverWork(products, columns)


@dataclass(frozen=True, eq=False)
class LinearProbes:
    """Probes of every penalty.

    Attributes:
        constant: probabilities [classes] of what is not fitted: a class that no training image has, a label
            that all or none have, or the only class.
        outputs: classes that are fitted; empty if none.
        kind: of the probabilities: "multilabel", "binary" (one sigmoid of the second of two classes) or
            "multiclass".
    """

    constant: _Array
    outputs: NDArray[np.int64]
    kind: str
    fit: LogisticFit | None

    @staticmethod
    def train(
        features: Tensor, labels: NDArray[np.int64], width: int, grid: tuple[float, ...]
    ) -> LinearProbes:
        """Fit probes on standardized features [n, features].

        Args:
            labels: class indices [n], or [n, classes] of 0 and 1.
            width: number of classes.
            grid: penalties per image.
        """
        import torch

        from ..training.logistic_regression import fit_logistic

        member = one_hot(labels, width)
        varied = member.any(axis=0) & ~member.all(axis=0)
        outputs = np.flatnonzero(varied)
        kind = "multilabel" if labels.ndim == 2 else "binary" if len(outputs) == 2 else "multiclass"
        fit = None
        if len(outputs):
            targets = member[:, outputs[1:] if kind == "binary" else outputs]
            on_device = torch.from_numpy(targets).to(features.device)
            fit = fit_logistic(features, on_device, grid, softmax=kind == "multiclass")
        return LinearProbes(np.where(varied, 0.0, member[0]), outputs, kind, fit)

    def predict(self, features: Tensor, place: int) -> _Array:
        """Return probabilities [n, classes] by the penalty at `place` of the grid."""
        import torch

        from ..training.model import to_probabilities

        out = np.tile(self.constant, (len(features), 1))
        if self.fit is not None:
            logits = features @ self.fit.weights[place].T + self.fit.intercepts[place]
            if self.kind == "binary":
                logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
            out[:, self.outputs] = to_probabilities(logits, self.kind)
        return out


@contextmanager
def limit_threads(to_one: bool) -> Iterator[None]:
    """Let torch use one thread in the block if `to_one`."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if to_one else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


PROTOCOLS.add("linear", LinearProtocol())
