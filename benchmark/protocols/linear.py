"""`linear`: L2-regularized logistic regression on standardized features, backbone frozen."""

import warnings

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

_Array = NDArray[np.float64]
EVALUATIONS = 60
"""Evaluations of loss and gradient per penalty and output, on average; only for estimates of time."""
START_SECONDS = 0.05
"""Of a fit, independent of its size."""
ITERATIONS = 400
SOLVER_TOLERANCE = 1e-4
"""Scikit-learn's default; ten times as much ends a warm start at once where the penalty is weak."""

ONE_THREAD = 50_000_000
"""Size of the feature matrix below which the solver uses one thread: several wait for one another, on a busy
machine for up to 25 times the computing time."""


class LinearProtocol(BenchProtocol):
    """Choice of the penalty of `TrainingConfig.l2_grid` by validation loss, in every cell."""

    recipe_fields = ("l2_grid",)
    frozen = True

    def score(self, job: EvalContext) -> ProtocolResult:
        """Fit one probe per penalty, from strong to weak, each with a warm start from the last."""
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        from ..training.features import features_of

        features = features_of(job)
        seen = features.select(job)
        scaler = StandardScaler().fit(seen[0])
        train, val, test = (np.asarray(scaler.transform(part), np.float32) for part in seen)
        width = len(job.task.classes)
        truth = one_hot(job.labels("val"), width)
        grid = tuple(sorted(job.recipe.l2_grid, reverse=True))
        columns = job.labels("train").reshape(len(train), -1).T  # multilabel: one per label; otherwise one
        with threadpool_limits(1 if train.size < ONE_THREAD else None):
            paths = [_fit_path(train, column, grid, (val, test), width) for column in columns]
        if job.task.kind == "multilabel":
            fitted = [
                tuple(np.stack([path[i][part][:, 1] for path in paths], axis=1) for part in (0, 1))
                for i in range(len(grid))
            ]
        else:
            fitted = paths[0]
        scores = tuple(-log_loss(truth, on_val, job.task.kind) for on_val, _ in fitted)
        best = int(np.argmax(scores))

        def wins(a: int, b: int) -> float:
            return share_of_wins(job.task.kind, truth, fitted[a][0], fitted[b][0], by_loss=True)

        choice = describe_choice("l2", grid, scores, best, "validation log likelihood", wins)
        on_val, on_test = fitted[best]
        return ProtocolResult(on_test, on_val, features.weights, (choice,))

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count the forward passes."""
        return CostEstimate(seen=train + val + test, solver_seconds=START_SECONDS)

    def solver_work(self, recipe: TrainingConfig, problem: SolverProblem) -> SolverWork:
        """Count two products with the features per evaluation, and one for the predictions."""
        columns = problem.outputs * len(recipe.l2_grid)
        rows = 2 * EVALUATIONS * problem.train + problem.val + problem.test
        return SolverWork(float(rows) * problem.features * columns, columns)


def _fit_path(
    train: NDArray[np.float32],
    labels: NDArray[np.int64],
    grid: tuple[float, ...],
    parts: tuple[NDArray[np.float32], ...],
    width: int,
) -> list[tuple[_Array, ...]]:
    """Fit the probes of one label column, and return the probabilities per penalty and part.

    Args:
        train: standardized features [n, features], like `parts`.
        labels: class indices [n]; 0 and 1 for a label of a multilabel task.
        grid: penalties per image, strong first; scikit-learn's C is 1 / (penalty n).
        width: number of classes of a single-label task.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(labels)
    width = max(width, 2)
    if len(seen) < 2:  # one class has probability 1
        constant = tuple(np.tile(np.eye(width)[seen[0]], (len(part), 1)) for part in parts)
        return [constant for _ in grid]
    probe = LogisticRegression(max_iter=ITERATIONS, tol=SOLVER_TOLERANCE, warm_start=True)
    probabilities = []
    for penalty in grid:
        probe.C = 1 / (penalty * len(train))
        with warnings.catch_warnings():
            # a weak penalty on separable data does not converge
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(train, labels)
        probabilities.append(tuple(_fill_classes(probe.predict_proba(part), seen, width) for part in parts))
    return probabilities


def _fill_classes(known: _Array, seen: NDArray[np.int64], width: int) -> _Array:
    """Expand probabilities of the classes seen in training to [n, width]; the others get 0."""
    out = np.zeros((len(known), width))
    out[:, seen] = known
    return out


PROTOCOLS.add("linear", LinearProtocol())
