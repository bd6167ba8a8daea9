"""A metric: the share of images that is missed of the class that is recognized worst."""

from mednet_bench.benchmark.training.metrics import Predictions, UndefinedMetricError, describe_metric


@describe_metric("Worst miss", "missed share of the worst class", lower_is_better=True, low=0, high=1)
def worst_miss(predictions: Predictions) -> float:
    """Return a number in [0, 1]; without an image of each class it is undefined, never 0."""
    if predictions.kind == "multilabel":
        raise UndefinedMetricError("an image may have several labels")
    counts = predictions.truth.sum(axis=0)  # [classes]
    if not counts.all():
        raise UndefinedMetricError("a class has no image")
    return float(((predictions.truth & ~predictions.predicted).sum(axis=0) / counts).max())
