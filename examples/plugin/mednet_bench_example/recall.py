"""Two metrics: the recall of the class that is recognized worst, and the share of it that is missed."""

from mednet_bench.benchmark.training.metrics import Predictions, UndefinedMetricError, describe_metric


@describe_metric(title="Worst recall", help="recall of the class that is recognized worst", low=0, high=1)
def worst_recall(scored: Predictions) -> float:
    """Return a number in [0, 1]; without an image of each class it is undefined, never 0."""
    if scored.kind == "multilabel":
        raise UndefinedMetricError("an image may have several labels")
    counts = scored.truth.sum(axis=0)
    if not counts.all():
        raise UndefinedMetricError("a class has no image")
    return float(((scored.truth & scored.predicted).sum(axis=0) / counts).min())


@describe_metric(title="Worst miss", help="missed share of that class", lower_is_better=True, low=0, high=1)
def worst_miss(scored: Predictions) -> float:
    """Return 1 - recall, an error: whatever ranks or judges takes the smaller one for the better one."""
    return 1 - worst_recall(scored)
