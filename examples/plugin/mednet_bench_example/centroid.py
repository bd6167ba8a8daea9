"""A protocol with an option: the class whose mean of frozen features is nearest."""

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import softmax

from mednet_bench.benchmark.schema.plan import TrainingConfig
from mednet_bench.benchmark.training.protocol import BenchProtocol, CostEstimate, EvalContext, ProtocolResult
from mednet_bench.benchmark.training.subsets import one_hot
from mednet_bench.core.errors import UserError


class CentroidOptions(msgspec.Struct, frozen=True):
    """Set by `--protocol-option example-centroid.shrinkage=0.5`; part of the key of every cell."""

    shrinkage: Annotated[
        float,
        msgspec.Meta(ge=0, le=1, description="Share of the way from each class mean to the mean of all."),
    ] = 0.0


class CentroidProtocol(BenchProtocol):
    """Probabilities fall with the squared distance to each class mean."""

    options = CentroidOptions
    frozen = True

    def score(self, job: EvalContext) -> ProtocolResult:
        """Predict the validation subset and the test split from the labels of the training subset."""
        from mednet_bench.benchmark.training.features import features_of  # here, since it imports torch

        if job.task.kind == "multilabel":
            raise UserError("example-centroid needs one label per image: leave out multilabel tasks.")
        features = features_of(job)
        train, val, test = features.select(job)
        truth = one_hot(job.labels("train"), len(job.task.classes))  # [n, classes]
        means = truth.T @ train / truth.sum(axis=0)[:, None]  # [classes, features]
        centers = means + job.options.shrinkage * (train.mean(axis=0) - means)
        scale = np.maximum(train.std(axis=0), 1e-6)
        return ProtocolResult(
            test_scores=probabilities(test / scale, centers / scale),
            val_scores=probabilities(val / scale, centers / scale),
            weights=features.weights,
        )

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count the forward passes; the rest costs next to nothing."""
        return CostEstimate(seen=train + val + test)


def probabilities(images: NDArray[np.float32], centers: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return [n, classes] from features [n, features] and class means [classes, features]."""
    return softmax(-cdist(images, centers, "sqeuclidean") / images.shape[1], axis=1)


CENTROID = CentroidProtocol()
