"""A metric: the recall of the class that is recognised worst."""

from mednet_bench.benchmark.metrics import Scored, UndefinedMetricError


def worst_recall(scored: Scored) -> float:
    """Return a number in [0, 1]; without an image of each class it is undefined, never 0."""
    if scored.kind == "multilabel":
        raise UndefinedMetricError("an image may have several labels")
    counts = scored.truth.sum(axis=0)
    if not counts.all():
        raise UndefinedMetricError("a class has no image")
    return float(((scored.truth & scored.predicted).sum(axis=0) / counts).min())
