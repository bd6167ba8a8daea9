"""Influence of each test image on other metrics than AUC, on the scale of `auc_influence`.

The influence of an image is its first-order effect on the metric (Hampel 1974, JASA 69:383), divided by
``sqrt(n (n - 1))``: the squares sum to the variance of the metric over draws of n images, the infinitesimal
jackknife (Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, SIAM), to which a bootstrap of
the images converges. It is exact for means, such as the Brier score, and for recall, the mean of its class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.errors import unknown_name_error
from .influence import _Floats, macro_auc_influence

_Truth = NDArray[np.bool_]
MetricInfluence = tuple[_Floats, _Floats]
"""Metric [...] and influence [..., n] of networks [...] on the same n images."""


@dataclass(frozen=True)
class JudgedMetric:
    """A metric whose sampling error has a closed form.

    Attributes:
        title: name in a sentence.
        compute: kind, truth [n, classes] and scores [..., n, classes] -> `MetricInfluence`; values
            equal those of `benchmark.training.metrics`.
        needs_probabilities: whether scores must be in [0, 1], by kind.
        needs_every_class: whether it is undefined without a positive, or a negative, image of a class.
        lower_is_better: whether smaller values are better.
    """

    title: str
    compute: Callable[[str, _Truth, _Floats], MetricInfluence]
    needs_probabilities: Callable[[str], bool] = lambda kind: False
    needs_every_class: bool = True
    lower_is_better: bool = False

    @property
    def full_title(self) -> str:
        """Title, with the direction where lower is better."""
        return self.title + (" (lower is better)" if self.lower_is_better else "")

    def largest(self, kind: str) -> float:
        """Return the largest possible value, and difference of two values."""
        return 2.0 if self.lower_is_better and kind in ("multiclass", "ordinal") else 1.0


def _auc(kind: str, truth: _Truth, scores: _Floats) -> MetricInfluence:
    return macro_auc_influence(*_judged_classes(kind, truth, scores))


def _judged_classes(kind: str, truth: _Truth, scores: _Floats) -> tuple[_Truth, _Floats]:
    """Return the classes that are scored one against the rest: of a binary task the last alone."""
    keep = slice(1, None) if kind == "binary" else slice(None)
    return truth[:, keep], scores[..., keep]


def balanced_accuracy_influence(kind: str, truth: _Truth, scores: _Floats) -> MetricInfluence:
    """Return the mean recall over classes, per image of each class, and its influence.

    A multilabel task has two classes per label, positive and negative, decided at 0.5 as in a binary task.
    The influence is NaN in a class with a single image, and 0 in one without a difference.
    """
    value, influence = np.zeros(scores.shape[:-2]), np.zeros(scores.shape[:-1])
    sides = list(decided_sides(kind, truth, scores))
    for members, hit in sides:
        recall, n = hit[..., members].mean(axis=-1), int(members.sum())
        value += recall / len(sides)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = (hit[..., members] - recall[..., None]) / np.sqrt(n * (n - 1.0))
        influence[..., members] += scaled / len(sides)
    return value, influence


def decided_sides(kind: str, truth: _Truth, scores: _Floats) -> list[tuple[_Truth, _Truth]]:
    """Return the images [n] of every class, and whether each image would be a hit there [..., n]."""
    if kind in ("binary", "multilabel"):
        truth, scores = _judged_classes(kind, truth, scores)
        chosen = scores > 0.5
        sides = [(truth[:, place], chosen[..., place]) for place in range(truth.shape[1])]
        return sides + [(~members, ~hit) for members, hit in sides]
    decisions = scores.argmax(axis=-1)
    return [(truth[:, place], decisions == place) for place in range(truth.shape[1])]


def agreement_reason(
    a: Sequence[tuple[_Truth, _Truth]], b: Sequence[tuple[_Truth, _Truth]], margin: float
) -> str:
    """Return why the error of a difference in balanced accuracy is too small; "" if it is not.

    Where the two never disagree within a class, its error is taken as 0. By the rule of three (Hanley &
    Lippman-Hand 1983, JAMA 249:1743) up to 3 / n of the images may disagree.

    Args:
        a: `decided_sides` of one.
        b: of the other, on the same images.
        margin: of equivalence.
    """
    both = zip(a, b, strict=True)
    sides = [int(members.sum()) for (members, x), (_, y) in both if (x[:, members] == y[:, members]).all()]
    if sides and 3 / (min(sides) * len(a)) > margin:
        return f"the two agree on all {min(sides)} test images of a class: its error is taken as 0"
    return ""


def average_precision_influence(kind: str, truth: _Truth, scores: _Floats) -> MetricInfluence:
    """Return the macro average precision and its influence.

    Average precision is the mean, over positive images, of the precision where their score is the threshold.
    An image changes it by its own precision, by the precision at every threshold up to its score, and by the
    prevalence. Boyd, Eng & Page (2013, ECML PKDD, LNCS 8190:451) compare intervals for it.
    """
    truth, scores = _judged_classes(kind, truth, scores)
    value, influence = np.zeros(scores.shape[:-2]), np.zeros(scores.shape[:-1])
    for place in range(truth.shape[1]):
        for index in np.ndindex(scores.shape[:-2]):
            of_class = _one_average_precision(truth[:, place], scores[(*index, slice(None), place)])
            value[index] += of_class[0] / truth.shape[1]
            influence[index] += of_class[1] / truth.shape[1]
    return value, influence


def _one_average_precision(truth: _Truth, scores: _Floats) -> tuple[float, _Floats]:
    n, positives = len(truth), int(truth.sum())
    place = np.unique(scores, return_inverse=True)[1]  # ties share a threshold
    at, hits_at = np.bincount(place), np.bincount(place, truth)
    above, hits = at[::-1].cumsum()[::-1], hits_at[::-1].cumsum()[::-1]  # [levels], score at least the level
    precision = hits / above
    value = float((hits_at * precision).sum() / positives)
    # an image above a threshold moves its precision by (truth - precision) / above, for each positive there
    per_hit = (hits_at / above).cumsum()
    of_precision = (hits_at * precision / above).cumsum()
    moved = truth * (precision + per_hit)[place] - of_precision[place]
    effect = (moved - value * truth) * n / positives  # of an image; the prevalence is estimated too
    return value, effect / np.sqrt(n * (n - 1.0))


def brier_influence(kind: str, truth: _Truth, scores: _Floats) -> MetricInfluence:
    """Return the Brier score, per label if binary or multilabel, else over classes, and its influence."""
    squared = (scores - truth) ** 2
    if kind == "binary":
        each = squared[..., -1]
    else:
        each = squared.mean(axis=-1) if kind == "multilabel" else squared.sum(axis=-1)
    value, n = each.mean(axis=-1), len(truth)
    return value, (each - value[..., None]) / np.sqrt(n * (n - 1.0))


JUDGED_METRICS = {
    "auc": JudgedMetric("AUC", _auc),
    "balanced_accuracy": JudgedMetric(
        "balanced accuracy", balanced_accuracy_influence, lambda kind: kind in ("binary", "multilabel")
    ),
    "average_precision": JudgedMetric("average precision", average_precision_influence),
    "brier": JudgedMetric("Brier score", brier_influence, lambda kind: True, False, lower_is_better=True),
}
"""Metrics of verdicts by name."""


def find_metric(name: str) -> JudgedMetric:
    """Return the metric of this name.

    Raises:
        UserError: there is none.
    """
    if name not in JUDGED_METRICS:
        raise unknown_name_error("metric with a known error", str(name), JUDGED_METRICS)
    return JUDGED_METRICS[name]
