"""Test metrics of labels and probabilities; an undefined one is None with a reason.

AUC and accuracy equal those of `medmnist.Evaluator`: macro one-vs-rest AUC; accuracy at 0.5 per label for
binary and multilabel tasks, by the largest probability otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.registry import Registry, not_callable
from ..schema.records import PRIMARY_METRIC, MetricFacts
from .subsets import one_hot

ECE_BINS = 15

_Array = NDArray[np.float64]


class UndefinedMetricError(ValueError):
    """The metric is undefined on these labels; the message is the reason."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and probabilities of one split.

    Attributes:
        kind: binary, multiclass, multilabel or ordinal.
        truth: [n, classes] booleans, one true per row unless multilabel.
        scores: [n, classes] probabilities; rows sum to 1 unless multilabel.
    """

    kind: str
    truth: NDArray[np.bool_]
    scores: _Array

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices [n] of a single-label task."""
        return self.truth.argmax(axis=1)

    @property
    def decisions(self) -> NDArray[np.int64]:
        """Predicted class indices [n] of a single-label task; binary by MedMNIST's threshold 0.5."""
        if self.kind == "binary":
            return (self.scores[:, -1] > 0.5).astype(np.int64)
        return self.scores.argmax(axis=1)

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """Predicted labels as [n, classes] booleans."""
        if self.kind == "multilabel":
            return self.scores > 0.5
        return one_hot(self.decisions, self.truth.shape[1])

    @property
    def confidence(self) -> tuple[_Array, NDArray[np.bool_]]:
        """Confidence and correctness of every decision, flat; a multilabel image has one per label."""
        if self.kind == "multilabel":
            return np.where(self.predicted, self.scores, 1 - self.scores).ravel(), (
                self.predicted == self.truth
            ).ravel()
        return self.scores.max(axis=1), self.scores.argmax(axis=1) == self.labels


MetricFunction = Callable[[Predictions], float]


@dataclass(frozen=True)
class PerClassScores:
    """Values per class, of which a metric is a mean.

    Attributes:
        name: key in records; that of the metric where the two are called alike.
        compute: labels and probabilities -> values [classes], NaN where undefined.
    """

    name: str
    title: str
    compute: Callable[[Predictions], _Array]


@dataclass(frozen=True)
class Metric:
    """A test metric, and all that is known of it.

    Attributes:
        facts: title, help, direction and range.
        kinds: kinds of task that have it; () for all.
        per_class: for a built-in metric that is a mean over classes.
    """

    compute: MetricFunction
    facts: MetricFacts
    kinds: tuple[str, ...] = ()
    per_class: PerClassScores | None = None

    def __call__(self, preds: Predictions) -> float:
        """Compute the metric; a value outside of its range counts as undefined."""
        value, low, high = self.compute(preds), self.facts.low, self.facts.high
        if (low is not None and value < low) or (high is not None and value > high):
            raise UndefinedMetricError(f"the plug-in gave {value:g}, outside of the range that it declares")
        return value


def describe_metric(
    title: str = "",
    help: str = "",
    lower_is_better: bool | None = False,
    low: float | None = None,
    high: float | None = None,
    chance: float = 0.0,
) -> Callable[[MetricFunction], Metric]:
    """Return a decorator for a plug-in's metric; see `MetricFacts`.

    Raises:
        ValueError: `low` is not below `high`, or an argument has a wrong type.
    """
    facts = MetricFacts(
        title=title, help=help, lower_is_better=lower_is_better, low=low, high=high, chance=chance
    )
    # a fact that cannot be decoded would make the record unreadable
    facts = msgspec.convert(msgspec.to_builtins(facts), MetricFacts)
    ends = [end for end in (low, high) if end is not None]
    if not np.isfinite(chance):
        raise ValueError(f"chance ({chance}) must be finite")
    if not np.isfinite(ends).all() or (len(ends) == 2 and ends[0] >= ends[1]):
        raise ValueError(f"low ({low}) and high ({high}) must be finite, or None, and low below high")
    return lambda metric: Metric(metric, facts)


METRICS: Registry[MetricFunction] = Registry("metric", group="mednet_bench.metrics", fault=not_callable)
"""Metrics by name: a `Metric`, or a plug-in's function without a description."""


@dataclass(frozen=True)
class MetricValues:
    """Metrics of one split: values, reasons of the undefined ones, and values per class name."""

    values: dict[str, float | None]
    undefined: dict[str, str] = field(default_factory=dict)
    per_class: dict[str, dict[str, float | None]] = field(default_factory=dict)


def compute_metrics(preds: Predictions, classes: tuple[str, ...]) -> MetricValues:
    """Compute every metric that applies to the kind of task; `classes` are names in label order."""
    values: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for name, metric in METRICS.items():
        if isinstance(metric, Metric) and metric.kinds and preds.kind not in metric.kinds:
            continue
        try:
            if not len(preds.truth):
                raise UndefinedMetricError("there is no image in this split")
            value = float(metric(preds))  # a plug-in's bool would make the record unreadable
            if not np.isfinite(value):
                raise UndefinedMetricError(f"it gave {value:g}")
            values[name] = value
        except UndefinedMetricError as reason:
            values[name], undefined[name] = None, str(reason)
        except (Exception, SystemExit) as error:
            if not METRICS.is_foreign(name):
                raise
            # a plug-in must not discard hours of training
            values[name], undefined[name] = None, f"the plug-in failed ({type(error).__name__}: {error})"
    per_class = {
        scores.name: {
            label: None if np.isnan(value) else float(value)
            for label, value in zip(classes, scores.compute(preds), strict=True)
        }
        for metric in BUILT_IN_METRICS.values()
        if (scores := metric.per_class)
    }
    return MetricValues(values, undefined, per_class)


def metric_facts() -> dict[str, MetricFacts]:
    """Return the facts of the metrics that plug-ins describe."""
    return {
        name: metric.facts
        for name, metric in METRICS.items()
        if isinstance(metric, Metric) and name not in BUILT_IN_METRICS
    }


def primary_value(preds: Predictions) -> float | None:
    """Return the primary metric, or None where it is undefined."""
    try:
        return METRICS[PRIMARY_METRIC](preds)
    except UndefinedMetricError:
        return None


def _mean_over_classes(per_class: Callable[[Predictions], _Array], first: int = 0) -> MetricFunction:
    """Return the mean over the classes from index `first` on; undefined where one of them is."""

    def macro(preds: Predictions) -> float:
        values = per_class(preds)[first:]
        if np.isnan(values).any():
            which = ", ".join(map(str, first + np.flatnonzero(np.isnan(values))))
            raise UndefinedMetricError(f"class {which} has no positive, or no negative, image in this split")
        return float(values.mean())

    return macro


def _auc_per_class(preds: Predictions) -> _Array:
    """AUC [classes] by the rank-sum identity; ties count half (Hanley & McNeil 1982)."""
    from scipy.stats import rankdata

    positives = preds.truth.sum(axis=0)  # [classes]
    negatives = len(preds.truth) - positives
    ranks = rankdata(preds.scores, axis=0)
    rank_sum = np.where(preds.truth, ranks, 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (rank_sum - positives * (positives + 1) / 2) / np.where(
            positives * negatives, positives * negatives, np.nan
        )


def _average_precision_per_class(preds: Predictions) -> _Array:
    from sklearn.metrics import average_precision_score

    return np.array(
        [
            average_precision_score(truth, scores) if truth.any() else np.nan
            for truth, scores in zip(preds.truth.T, preds.scores.T, strict=True)
        ]
    )


def _recall_per_class(preds: Predictions) -> _Array:
    return _share_of_hits(preds.truth, preds.predicted)


def _specificity_per_class(preds: Predictions) -> _Array:
    return _share_of_hits(~preds.truth, ~preds.predicted)


def _share_of_hits(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> _Array:
    """Share [classes] of the positives that are predicted; NaN for a class without positives."""
    count = truth.sum(axis=0)
    return np.where(count, (truth & predicted).sum(axis=0) / np.maximum(count, 1), np.nan)


def _f1_per_class(preds: Predictions) -> _Array:
    """F1 [classes]; NaN for a class that neither occurs nor is predicted."""
    twice_hits = 2 * (preds.truth & preds.predicted).sum(axis=0)
    total = preds.truth.sum(axis=0) + preds.predicted.sum(axis=0)
    return np.where(total, twice_hits / np.maximum(total, 1), np.nan)


def auc(preds: Predictions) -> float:
    """Macro one-vs-rest area under the ROC curve; for binary tasks that of class 1."""
    return _mean_over_classes(_auc_per_class, first=1 if preds.kind == "binary" else 0)(preds)


def accuracy(preds: Predictions) -> float:
    """Share of correct decisions; for multilabel tasks over all labels."""
    if preds.kind == "multilabel":
        return float((preds.predicted == preds.truth).mean())
    return float((preds.decisions == preds.labels).mean())


def balanced_accuracy(preds: Predictions) -> float:
    """Mean recall over classes; if multilabel, (sensitivity + specificity) / 2 over labels."""
    if preds.kind != "multilabel":
        return _mean_over_classes(_recall_per_class)(preds)
    return _mean_over_classes(lambda s: (_recall_per_class(s) + _specificity_per_class(s)) / 2)(preds)


def macro_f1(preds: Predictions) -> float:
    """Mean F1 over the classes that occur or are predicted."""
    values = _f1_per_class(preds)
    if np.isnan(values).all():
        raise UndefinedMetricError("no class occurs or is predicted in this split")
    return float(np.nanmean(values))


def average_precision(preds: Predictions) -> float:
    """Macro area under the step-wise precision-recall curve; for binary tasks that of class 1."""
    return _mean_over_classes(_average_precision_per_class, first=1 if preds.kind == "binary" else 0)(preds)


def kappa(preds: Predictions) -> float:
    """Quadratic weighted kappa of an ordinal task."""
    from sklearn.metrics import cohen_kappa_score

    if len(np.unique(np.concatenate([preds.labels, preds.decisions]))) < 2:
        raise UndefinedMetricError("every label and every prediction is the same class")
    grades = np.arange(preds.truth.shape[1])  # all of them, so that distances are in grades and not in ranks
    return float(cohen_kappa_score(preds.labels, preds.decisions, labels=grades, weights="quadratic"))


def ece(preds: Predictions) -> float:
    """Expected calibration error, `|accuracy - confidence|` over 15 equal bins, weighted by size."""
    confidence, correct = preds.confidence
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    gap = np.bincount(bins, weights=correct - confidence, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(confidence))


def brier(preds: Predictions) -> float:
    """Brier score: per label in [0, 1] if binary or multilabel, else over classes in [0, 2]."""
    squared = (preds.scores - preds.truth) ** 2
    if preds.kind == "binary":
        return float(squared[:, -1].mean())
    return float(squared.mean() if preds.kind == "multilabel" else squared.sum(axis=1).mean())


BUILT_IN_METRICS = {
    "auc": Metric(
        auc,
        MetricFacts(title="AUC", help="area under the ROC curve, macro one-vs-rest", chance=0.5),
        per_class=PerClassScores("auc", "AUC", _auc_per_class),
    ),
    "accuracy": Metric(accuracy, MetricFacts(title="Accuracy", help="share of correct decisions")),
    "balanced_accuracy": Metric(
        balanced_accuracy,
        MetricFacts(title="Balanced acc.", help="mean recall over classes"),
        per_class=PerClassScores("recall", "Recall", _recall_per_class),
    ),
    "macro_f1": Metric(
        macro_f1,
        MetricFacts(title="Macro F1", help="mean F1 over classes"),
        per_class=PerClassScores("f1", "F1", _f1_per_class),
    ),
    "average_precision": Metric(
        average_precision,
        MetricFacts(title="Avg. precision", help="area under the precision-recall curve, macro"),
        per_class=PerClassScores("average_precision", "Avg. precision", _average_precision_per_class),
    ),
    "kappa": Metric(
        kappa,
        MetricFacts(title="Kappa", help="quadratic weighted kappa, ordinal tasks only"),
        kinds=("ordinal",),
    ),
    "ece": Metric(ece, MetricFacts(title="ECE", help="expected calibration error", lower_is_better=True)),
    "brier": Metric(brier, MetricFacts(title="Brier", help="Brier score", lower_is_better=True)),
}
"""Built-in metrics in the order of tables; readable without looking for plug-ins."""

for _name, _metric in BUILT_IN_METRICS.items():
    METRICS.add(_name, _metric)


def log_loss(truth: NDArray[np.bool_], scores: _Array, kind: str) -> float:
    """Return the mean negative log likelihood of `scores`, like `truth` [n, classes].

    It chooses hyper-parameters. Multilabel tasks count every label, others the true class; probabilities are
    clipped, so that one certain error is not infinite.
    """
    scores = np.clip(scores, 1e-7, 1 - 1e-7)
    if kind == "multilabel":
        return float(-np.where(truth, np.log(scores), np.log1p(-scores)).mean())
    return float(-np.log(scores[truth]).mean())


LEAST_EVENTS = 50
"""Validation events from which on the AUC chooses; with fewer the loss does, see docs/science.md."""


def count_events(kind: str, truth: NDArray[np.bool_]) -> int:
    """Return the events of labels [n, classes]: per class the fewer of positives and negatives, summed.

    The two classes of a binary task have the same events, which count once.
    """
    positives = truth[:, 1 if kind == "binary" else 0 :].sum(axis=0)
    return int(np.minimum(positives, len(truth) - positives).sum())


def loss_chooses(kind: str, truth: NDArray[np.bool_]) -> bool:
    """Whether the loss, and not the AUC, chooses hyper-parameters on these labels [n, classes]."""
    return count_events(kind, truth) < LEAST_EVENTS


DRAWS = 200
"""Bootstrap draws of `share_of_wins`: a standard error of at most .036."""


def share_of_wins(kind: str, truth: NDArray[np.bool_], a: _Array, b: _Array, by_loss: bool = False) -> float:
    """Return how often predictions `a` beat `b` on validation images drawn anew, paired, with a fixed seed.

    Args:
        kind: binary, multiclass, multilabel or ordinal.
        truth: [n, classes], like the probabilities `a` and `b`.
        by_loss: compare by the loss, instead of by the primary metric and then, if it ties, by the loss.
    """
    rng = np.random.default_rng(0)
    wins = 0
    for _ in range(DRAWS):
        rows = rng.integers(0, len(truth), len(truth))
        drawn, one, two = truth[rows], a[rows], b[rows]
        gain = log_loss(drawn, two, kind) - log_loss(drawn, one, kind)
        if not by_loss:
            first, second = (primary_value(Predictions(kind, drawn, scores)) for scores in (one, two))
            if first is not None and second is not None and abs(first - second) > 1e-9:
                gain = first - second
        wins += gain > 0
    return wins / DRAWS
