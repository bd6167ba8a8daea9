"""From the predictions that were kept to what the statistics need: the AUC of every seed, image by image."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...benchmark.schema.records import Record
from ..statistics.influence import _Floats, macro_auc_influence, sum_within_groups
from .results import LeaderboardRow, Results

METRIC = "auc"
"""Verdicts are about the primary metric, for which the error of every image is known in closed form."""


@dataclass(frozen=True, eq=False)
class ScoreEvidence:
    """The test scores of one row, seed by seed.

    Attributes:
        seeds: those whose predictions could be read, ascending.
        values: AUC [seeds].
        influence: [seeds, units], see `influence`; a unit is a test image, or a group of them.
        images: which images were scored: a hash of labels and groups.
        n_test: test images.
        groups: patients, smears or lesions that the test images come from; 0 where nobody knows.
        fewest: images of the rarest class in the test set (of a multilabel task: of the rarer side).
        majority: accuracy of always giving the most frequent answer.
        problem: why there is nothing, or "".
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

    def at(self, seeds: Sequence[int]) -> tuple[_Floats, _Floats]:
        """Return AUC [n] and influence [n, units] of some of the seeds."""
        chosen = np.isin(self.seeds, seeds)
        return self.values[chosen], self.influence[chosen]


@lru_cache(maxsize=1)  # verdicts and labels saved ask; [seeds, units] of every row is large
def score_evidence(results: Results) -> Mapping[LeaderboardRow, ScoreEvidence]:
    """Read the predictions behind every row."""
    records = {record.key: record for record in results.counted}
    return {row: _of_row(results, row, [records[key] for key in row.keys]) for row in results.rows}


def _of_row(results: Results, row: LeaderboardRow, members: Sequence[Record]) -> ScoreEvidence:
    kind = members[0].task.kind if members[0].task else ""
    if any(record.metrics.get(METRIC) is None for record in members):
        return ScoreEvidence(problem="the AUC is undefined on this test set")
    scores, images, first = [], set(), None
    for record in members:
        read = read_predictions(results.predictions_of(record.key))
        if read is None:
            return ScoreEvidence(problem=f"the predictions of record {record.key} are missing or damaged")
        labels, of_record, groups = read
        images.add(
            hashlib.sha256(labels.tobytes() + (b"" if groups is None else groups.tobytes())).hexdigest()
        )
        scores.append(of_record)
        first = first or (labels, groups)
    if len(images) > 1 or first is None:
        return ScoreEvidence(problem="its seeds were scored on different test images")
    truth = truth_of(first[0], scores[0].shape[1])
    keep = slice(1, None) if kind == "binary" else slice(None)
    try:
        values, influence = macro_auc_influence(truth[:, keep], np.stack(scores)[..., keep].astype(float))
    except ValueError as error:
        return ScoreEvidence(problem=str(error))
    recorded = np.array([record.metrics[METRIC] for record in members], dtype=float)
    if np.abs(values - recorded).max() > 1e-6:
        return ScoreEvidence(problem="its predictions do not give the AUC that its records state")
    if np.isnan(influence).any():
        return ScoreEvidence(problem="a class has a single test image, so that its AUC has no known error")
    if first[1] is not None and _lumped(truth[:, keep], first[1]):
        return ScoreEvidence(problem="all test images of a class are of one group: their error is unknown")
    return ScoreEvidence(
        seeds=row.seeds,
        values=values,
        influence=sum_within_groups(influence, first[1]),
        images=images.pop(),
        n_test=len(truth),
        groups=0 if first[1] is None else len(np.unique(first[1])),
        fewest=int(np.minimum(truth.sum(axis=0), (~truth).sum(axis=0)).min()),
        majority=_majority(truth, kind),
    )


def _majority(truth: NDArray[np.bool_], kind: str) -> float:
    """Return the accuracy of always giving the most frequent answer; of a multilabel task, per label."""
    share = truth.mean(axis=0)
    return float(np.maximum(share, 1 - share).mean() if kind == "multilabel" else share.max())


def truth_of(labels: NDArray[np.generic], classes: int) -> NDArray[np.bool_]:
    """Return [n, classes] booleans from class indices [n], or from the 0 and 1 of a multilabel task."""
    return labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(classes)  # type: ignore[operator]


def _lumped(truth: NDArray[np.bool_], groups: NDArray[np.generic]) -> bool:
    """Whether the positive or the negative images of a class are all of one group: nothing varies there."""
    sides = (side for column in truth.T for side in (column, ~column))
    return any(len(np.unique(groups[side])) < 2 for side in sides)


Read = tuple[NDArray[np.generic], NDArray[np.float32], NDArray[np.generic] | None]


def read_predictions(path: Path | None) -> Read | None:
    """Return labels, scores [n, classes] and groups of one record; None where they cannot be read."""
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["labels"], arrays["scores"], arrays["groups"] if "groups" in arrays.files else None
    except Exception:  # absent, cut, or not ours: foreign bytes break numpy's reader in any way
        return None
