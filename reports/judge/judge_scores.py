"""`judge` and `judge_many`: verdicts on arrays of labels and scores."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import UserError, unknown_name_error
from ..statistics.metric_influence import find_metric
from ..statistics.paired import MARGIN
from .score_verdict import PairedScores, ScoreVerdict, judge_pairs

JUDGED_KINDS = ("binary", "multiclass", "multilabel", "ordinal")
_REQUIRED = ("labels", "scores_a", "scores_b")
_OPTIONAL = ("kind", "groups", "margin", "metric")


def judge(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    kind: str = "binary",
    groups: ArrayLike | None = None,
    margin: float = MARGIN,
    metric: str = "auc",
) -> ScoreVerdict:
    """Judge whether A is better than B, from their scores of the same test images.

    With one training of each, the verdict is for these two trained models; with seeds, for other trainings
    like these.

    Args:
        labels: [n] class indices from 0; [n, classes] of 0 and 1 if multilabel.
        scores_a: [n] or [seeds, n] scores of class 1 if binary; otherwise [n, classes] or
            [seeds, n, classes]. Higher is more likely; balanced accuracy and the Brier score need
            probabilities.
        scores_b: the same of B; seeds are paired by place.
        kind: binary, multiclass, multilabel or ordinal.
        groups: [n], such as patients, whose images are not independent.
        margin: smaller differences count as none, in units of the metric.
        metric: auc, balanced_accuracy, average_precision or brier (lower is better).

    Raises:
        UserError: a shape, label, score or name is wrong, or the metric is undefined on these labels.
    """
    pair = check_scores(labels, scores_a, scores_b, kind, groups, margin, metric)
    return judge_pairs({"": pair})[""]


def judge_many(
    tasks: Mapping[str, Mapping[str, Any]],
    *,
    kind: str = "binary",
    margin: float = MARGIN,
    metric: str = "auc",
) -> dict[str, ScoreVerdict]:
    """Judge several tasks, with p-values corrected over the tasks as in reports.

    Args:
        tasks: task -> arguments of `judge` by name.
        kind: of the tasks that name none.
        margin: likewise.
        metric: likewise.

    Returns:
        Task -> its verdict, in the order of `tasks`.

    Raises:
        UserError: as `judge` does; the sentence names the task.
    """
    if not tasks:
        raise UserError("There is no task: pass {name: dict(labels=..., scores_a=..., scores_b=...)}.")
    common = {"kind": kind, "groups": None, "margin": margin, "metric": metric}
    pairs = {}
    for task, given in tasks.items():
        try:
            for name in given:
                if name not in (*_REQUIRED, *_OPTIONAL):
                    raise unknown_name_error("argument", str(name), (*_REQUIRED, *_OPTIONAL))
            for name in _REQUIRED:
                if name not in given:
                    raise UserError(f"{name} is missing: pass dict(labels=..., scores_a=..., scores_b=...).")
            pairs[task] = check_scores(**{**common, **given})
        except UserError as error:
            raise UserError(f"Task '{task}': {error}") from error
    return judge_pairs(pairs)


def check_scores(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    kind: str,
    groups: ArrayLike | None,
    margin: float,
    metric: str,
) -> PairedScores:
    """Check the arguments of `judge` and bring them into one shape."""
    if kind not in JUDGED_KINDS:
        raise unknown_name_error("kind of task", str(kind), JUDGED_KINDS)
    find_metric(metric)
    if not 0 < margin < 0.5:
        raise UserError(f"margin is {margin}: pass a number above 0 and below 0.5.")
    classes_first = _read_labels(labels, kind)
    n = len(classes_first)
    a, b = (_read_scores(name, s, n, kind) for name, s in (("scores_a", scores_a), ("scores_b", scores_b)))
    if a.shape != b.shape:
        raise UserError(
            f"scores_a holds {len(a)} trainings of {a.shape[-1]} classes and scores_b {len(b)} of "
            f"{b.shape[-1]}: seeds are paired by place, so pass the same seeds and classes of both."
        )
    truth = _truth_of_classes(classes_first, a.shape[-1])
    pair = PairedScores(kind, truth, a, b, _read_groups(groups, n), metric, float(margin))
    if pair.measure.needs_probabilities(kind):
        for name, scores in (("scores_a", a), ("scores_b", b)):
            judged = scores[..., 1:] if kind == "binary" else scores
            if outside := int(((judged < 0) | (judged > 1)).sum()):
                raise UserError(
                    f"{name} has {outside:,} values outside of [0, 1], and {pair.measure.title} needs "
                    "probabilities: apply a sigmoid or softmax first."
                )
    check_classes(pair)
    return pair


def check_classes(pair: PairedScores, names: tuple[str, ...] = ()) -> None:
    """Refuse a class without a positive or a negative image where the metric is undefined there.

    Raises:
        UserError: it names the class, by `names` or its number.
    """
    if not pair.measure.needs_every_class:
        return
    for place in np.flatnonzero(pair.truth.all(axis=0) | ~pair.truth.any(axis=0)):
        side = "negative" if pair.truth[:, place].all() else "positive"
        raise UserError(
            f"class {names[place] if names else place} has no {side} test image, so that "
            f"{pair.measure.title} is undefined: add such images, or leave the class out."
        )


def _read_labels(labels: ArrayLike, kind: str) -> NDArray[np.int64]:
    found = _as_array("labels", labels)
    dimensions, shape = (2, "[n, classes]") if kind == "multilabel" else (1, "[n]")
    if found.ndim != dimensions or not found.size:
        raise UserError(f"labels have the shape {list(found.shape)}: a {kind} task needs {shape}, n > 0.")
    is_whole = found.dtype.kind in "bui" or (found.dtype.kind == "f" and not (found % 1 != 0).any())
    if not is_whole:  # the remainder of NaN is NaN, which is not 0
        raise UserError("labels are not whole numbers: pass class indices from 0, or 0 and 1.")
    whole = found.astype(np.int64)
    if kind in ("binary", "multilabel") and ((whole < 0) | (whole > 1)).any():
        raise UserError(f"labels of a {kind} task must be 0 or 1: pass kind='multiclass' for more classes.")
    return whole


def _read_scores(name: str, scores: ArrayLike, n: int, kind: str) -> NDArray[np.float64]:
    """Return scores [seeds, n, classes]; a binary task gets the column of class 0."""
    found = _as_array(name, scores)
    if found.dtype.kind not in "bfiu":
        raise UserError(f"{name} are not numbers: pass an array of floats.")
    found = found.astype(np.float64)
    shaped = _with_classes(found, n, kind)
    if shaped is None or not shaped.size or (shaped.shape[-1] < 2 and kind != "multilabel"):
        shapes = "[n] or [seeds, n]" if kind == "binary" else "[n, classes] or [seeds, n, classes]"
        raise UserError(
            f"{name} have the shape {list(found.shape)} and there are {n:,} labels: pass {shapes} for a "
            f"{kind} task, or another kind."
        )
    if wrong := int((~np.isfinite(found)).sum()):
        first = [int(at) for at in np.argwhere(~np.isfinite(found))[0]]
        raise UserError(
            f"{name} have {wrong:,} values that are NaN or infinite, the first at {first}: correct them."
        )
    return shaped


def _with_classes(scores: NDArray[np.float64], n: int, kind: str) -> NDArray[np.float64] | None:
    """Return [seeds, n, classes], or None for another shape."""
    if kind == "binary" and scores.ndim in (1, 2) and scores.shape[-1] == n:
        own = scores.reshape(-1, n)
        return np.stack([1 - own, own], axis=-1)
    if scores.ndim == 2:
        scores = scores[None]
    fits = scores.ndim == 3 and scores.shape[1] == n and (kind != "binary" or scores.shape[2] == 2)
    return scores if fits else None


def _truth_of_classes(labels: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    if labels.ndim == 2:
        if labels.shape[1] != classes:
            raise UserError(f"labels have {labels.shape[1]} classes and scores {classes}: pass the same.")
        return labels > 0
    if (labels < 0).any() or (labels >= classes).any():
        raise UserError(
            f"labels go from {labels.min()} to {labels.max()} and there are scores of {classes} classes: "
            f"pass class indices from 0 to {classes - 1}."
        )
    return labels[:, None] == np.arange(classes)


def _read_groups(groups: ArrayLike | None, n: int) -> NDArray[np.generic] | None:
    """Return numbers of groups [n]."""
    if groups is None:
        return None
    found = _as_array("groups", groups)
    if found.shape != (n,):
        raise UserError(f"groups have the shape {list(found.shape)}: pass one per label, [{n}].")
    if any(each is None or each != each for each in found.tolist()):
        raise UserError("groups have empty values: give an image of unknown group one of its own.")
    return np.unique(found.astype(str), return_inverse=True)[1]


def _as_array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UserError(f"{name} have rows of unequal length: pass a whole array.") from error
