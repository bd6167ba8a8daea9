"""Metric and influence of every test image, from the stored predictions of each row."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...benchmark.schema.records import Record
from ..statistics.influence import (
    _Floats,
    has_one_group_side,
    sum_within_groups,
    truth_of,
)
from ..statistics.metric_influence import JUDGED_METRICS, JudgedMetric, decided_sides
from .report_input import LeaderboardRow, ReportInput


@dataclass(frozen=True, eq=False)
class ScoreEvidence:
    """Test scores of one row, by seed.

    Attributes:
        seeds: ascending.
        values: metric [seeds].
        influence: [seeds, units]; a unit is a test image, or a group of them.
        images: hash of labels and groups, equal where the same images were scored.
        n_test: number of test images.
        groups: number of patients, smears or lesions of the test images; 0 if unknown.
        fewest: test images of the rarest class (multilabel: of the rarer side of a label); half of all where
            classes do not matter to the metric.
        majority: accuracy of always predicting the most frequent class.
        problem: why there are no scores, or "".
        metric: name of the metric.
        kind: binary, multiclass, multilabel or ordinal.
        sides: `decided_sides` of balanced accuracy; empty for other metrics.
    """

    seeds: tuple[int, ...] = ()
    values: _Floats = field(default_factory=lambda: np.empty(0))
    influence: _Floats = field(default_factory=lambda: np.empty((0, 0)))
    images: str = ""
    n_test: int = 0
    groups: int = 0
    fewest: int = 0
    majority: float = float("nan")
    problem: str = ""
    metric: str = "auc"
    kind: str = ""
    sides: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = ()

    @property
    def measure(self) -> JudgedMetric:
        """The metric."""
        return JUDGED_METRICS[self.metric]

    def at(self, seeds: Sequence[int]) -> tuple[_Floats, _Floats]:
        """Return metric [n] and influence [n, units] of the given seeds."""
        chosen = np.isin(self.seeds, seeds)
        return self.values[chosen], self.influence[chosen]

    def sides_at(self, seeds: Sequence[int]) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Return `sides` of the given seeds."""
        chosen = np.isin(self.seeds, seeds)
        return [(members, hit[chosen]) for members, hit in self.sides]


@lru_cache(maxsize=1)  # several analyses need it; [seeds, units] of every row is large
def score_evidence(results: ReportInput) -> Mapping[LeaderboardRow, ScoreEvidence]:
    """Read the predictions of every row."""
    records = {record.key: record for record in results.counted}
    found = {row: _row_evidence(results, row, [records[key] for key in row.keys]) for row in results.rows}
    return {row: replace(each, metric=results.verdict_metric) for row, each in found.items()}


def _row_evidence(results: ReportInput, row: LeaderboardRow, members: Sequence[Record]) -> ScoreEvidence:
    kind = members[0].task.kind if members[0].task else ""
    metric, measure = results.verdict_metric, JUDGED_METRICS[results.verdict_metric]
    if any(record.metrics.get(metric) is None for record in members):
        return ScoreEvidence(problem=f"the {measure.title} is undefined on this test set")
    scores, images, first = [], set(), None
    for record in members:
        read = read_predictions(results.predictions_of(record.key))
        if read is None:
            return ScoreEvidence(problem=f"the predictions of record {record.key} are missing or damaged")
        labels, record_scores, groups = read
        group_bytes = b"" if groups is None else groups.tobytes()
        images.add(hashlib.sha256(labels.tobytes() + group_bytes).hexdigest())
        scores.append(record_scores)
        first = first or (labels, groups)
    if len(images) > 1 or first is None:
        return ScoreEvidence(problem="its seeds were scored on different test images")
    truth = truth_of(first[0], scores[0].shape[1])
    keep = slice(1, None) if kind == "binary" else slice(None)
    by_class, judged = measure.needs_every_class, truth[:, keep]
    if by_class and (judged.all(axis=0) | ~judged.any(axis=0)).any():
        return ScoreEvidence(problem="a class has no positive, or no negative, test image")
    try:
        stacked = np.stack(scores).astype(float)
        if measure.needs_probabilities(kind) and ((stacked < 0) | (stacked > 1)).any():
            raise ValueError(f"scores are outside of [0, 1], and {measure.title} needs probabilities")
        values, influence = measure.compute(kind, truth, stacked)
    except ValueError as error:  # such as predictions of different shapes
        return ScoreEvidence(problem=str(error))
    recorded = np.array([record.metrics[metric] for record in members], dtype=float)
    if np.abs(values - recorded).max() > 1e-6:
        return ScoreEvidence(
            problem=f"its predictions do not give the {measure.title} that its records state"
        )
    fewest = int(np.minimum(truth.sum(axis=0), (~truth).sum(axis=0)).min()) if by_class else len(truth) // 2
    if np.isnan(influence).any() or (by_class and fewest < 2):
        single = f"a class has a single test image, so that its {measure.title} has no known error"
        return ScoreEvidence(problem=single)
    groups = 0 if first[1] is None else len(np.unique(first[1]))
    if groups == 1 and not by_class:
        return ScoreEvidence(problem="all test images are of one group: their error is unknown")
    if first[1] is not None and by_class and has_one_group_side(judged, first[1]):
        return ScoreEvidence(problem="all test images of a class are of one group: their error is unknown")
    return ScoreEvidence(
        seeds=row.seeds,
        values=values,
        influence=sum_within_groups(influence, first[1]),
        images=images.pop(),
        n_test=len(truth),
        groups=groups,
        fewest=fewest,
        majority=_majority(truth, kind),
        kind=kind,
        sides=decided_sides(kind, truth, stacked) if metric == "balanced_accuracy" else (),
    )


def _majority(truth: NDArray[np.bool_], kind: str) -> float:
    """Return the accuracy of always predicting the most frequent class, per label if multilabel."""
    share = truth.mean(axis=0)
    return float(np.maximum(share, 1 - share).mean() if kind == "multilabel" else share.max())


StoredPredictions = tuple[NDArray[np.generic], NDArray[np.float32], NDArray[np.generic] | None]


def read_predictions(path: Path | None) -> StoredPredictions | None:
    """Return labels, scores [n, classes] and groups [n] of one record; None if unreadable."""
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["labels"], arrays["scores"], arrays["groups"] if "groups" in arrays.files else None
    except Exception:  # absent, truncated or foreign bytes: numpy's reader may raise anything
        return None
