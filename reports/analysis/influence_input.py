"""Metric and influence of every test image, from the stored predictions of each row."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...benchmark.schema.records import Record, TaskFacts
from ...benchmark.training.patient_level import aggregate_by_patient
from ..statistics.cross_validation import average_over_folds
from ..statistics.influence import (
    _Floats,
    fewest_groups_of_a_side,
    truth_of,
)
from ..statistics.metric_influence import JUDGED_METRICS, JudgedMetric, decided_sides
from ..statistics.verdict_terms import LEAST_GROUPS
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
        fewest_groups: groups on the rarer side of a class, of all where classes do not matter; 0 if unknown.
        majority: accuracy of always predicting the most frequent class.
        problem: why there are no scores, or "".
        metric: name of the metric.
        kind: binary, multiclass, multilabel or ordinal.
        sides: `decided_sides` of balanced accuracy; empty for other metrics.
        partitions: hash of the folds per seed; "" without cross-validation.
    """

    seeds: tuple[int, ...] = ()
    values: _Floats = field(default_factory=lambda: np.empty(0))
    influence: _Floats = field(default_factory=lambda: np.empty((0, 0)))
    images: str = ""
    n_test: int = 0
    groups: int = 0
    fewest: int = 0
    fewest_groups: int = 0
    majority: float = float("nan")
    problem: str = ""
    metric: str = "auc"
    kind: str = ""
    sides: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = ()
    partitions: tuple[str, ...] = ()

    @property
    def cross_validated(self) -> bool:
        """Whether every value is a mean over folds."""
        return any(self.partitions)

    def partitions_at(self, seeds: Sequence[int]) -> list[str]:
        """Return `partitions` of the given seeds."""
        return [each for seed, each in zip(self.seeds, self.partitions, strict=True) if seed in seeds]

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


@lru_cache(maxsize=2)  # by image and by patient; several analyses need it; [seeds, units] is large
def score_evidence(results: ReportInput) -> Mapping[LeaderboardRow, ScoreEvidence]:
    """Read the predictions of every row."""
    records = {record.key: record for record in results.counted}
    found = {row: _row_evidence(results, row, [records[key] for key in row.keys]) for row in results.rows}
    return {row: replace(each, metric=results.verdict_metric) for row, each in found.items()}


def _row_evidence(results: ReportInput, row: LeaderboardRow, members: Sequence[Record]) -> ScoreEvidence:
    kind = members[0].task.kind if members[0].task else ""
    metric, measure = results.verdict_metric, JUDGED_METRICS[results.verdict_metric]
    of_images = results.unit == "image"  # records have the metrics of these alone
    if of_images and any(record.metrics.get(metric) is None for record in members):
        return ScoreEvidence(problem=f"the {measure.title} is undefined on this test set")
    stored = []
    for record in members:
        read = read_predictions(results.prediction_files(record.key))
        if read is None:
            return ScoreEvidence(problem=f"the predictions of record {record.key} are missing or damaged")
        stored.append(by_patient(read, members[0].task) if results.unit == "patient" else read)
    images, first = {read.images for read in stored}, stored[0]
    if len(images) > 1:
        return ScoreEvidence(problem="its seeds were scored on different test images")
    truth = truth_of(first.labels, first.scores.shape[1])
    keep = slice(1, None) if kind == "binary" else slice(None)
    by_class, judged = measure.needs_every_class, truth[:, keep]
    if by_class and (judged.all(axis=0) | ~judged.any(axis=0)).any():
        return ScoreEvidence(problem="a class has no positive, or no negative, test image")
    try:
        stacked = np.stack([read.scores for read in stored]).astype(float)
        if measure.needs_probabilities(kind) and ((stacked < 0) | (stacked > 1)).any():
            raise ValueError(f"scores are outside of [0, 1], and {measure.title} needs probabilities")
        compute = partial(measure.compute, kind)
        folds = stacked_folds(stored)
        values, influence = average_over_folds(compute, truth, stacked, folds, first.groups, by_class)
    except ValueError as error:  # such as predictions of different shapes
        return ScoreEvidence(problem=str(error))
    recorded = np.array([record.metrics.get(metric) for record in members], dtype=float)
    if of_images and np.abs(values - recorded).max() > 1e-6:
        return ScoreEvidence(
            problem=f"its predictions do not give the {measure.title} that its records state"
        )
    fewest = int(np.minimum(truth.sum(axis=0), (~truth).sum(axis=0)).min()) if by_class else len(truth) // 2
    if np.isnan(influence).any() or (by_class and fewest < 2):
        single = f"a class has a single test image, so that its {measure.title} has no known error"
        return ScoreEvidence(problem=single)
    groups = 0 if first.groups is None else len(np.unique(first.groups))
    groups = groups if of_images else len(truth)
    rarer = groups
    if by_class and groups:
        rarer = fewest if first.groups is None else fewest_groups_of_a_side(judged, first.groups)
    if groups == 1 and not by_class:
        return ScoreEvidence(problem="all test images are of one group: their error is unknown")
    few = min(_fewest_groups(judged, read) for read in stored) if by_class else LEAST_GROUPS
    few = few if of_images or row.folds else min(few, fewest)
    if few < (2 if row.folds else LEAST_GROUPS):
        where = f"in one of {row.folds} folds " if row.folds else ""
        of = "one group" if few == 1 else f"{few} groups"
        return ScoreEvidence(problem=f"{where}all test images of a class are of {of}: their error is unknown")
    return ScoreEvidence(
        seeds=row.seeds,
        values=values,
        influence=influence,
        images=images.pop(),
        n_test=len(truth),
        groups=groups,
        fewest=fewest,
        fewest_groups=rarer,
        majority=_majority(truth, kind),
        kind=kind,
        sides=decided_sides(kind, truth, stacked) if metric == "balanced_accuracy" else (),
        partitions=tuple(read.partition for read in stored),
    )


def stacked_folds(stored: Sequence["StoredPredictions"]) -> NDArray[np.int64] | None:
    """Return the fold of each test image by seed, [seeds, n]; None without cross-validation."""
    folds = [read.folds for read in stored if read.folds is not None]
    return np.stack(folds) if folds else None


def _fewest_groups(truth: NDArray[np.bool_], read: "StoredPredictions") -> int:
    """Return the groups of the positives or negatives of a class, the fewest of any fold."""
    if read.groups is None:
        return LEAST_GROUPS
    folds = np.zeros(len(truth), dtype=int) if read.folds is None else read.folds
    parts = (folds == fold for fold in np.unique(folds))
    return min(fewest_groups_of_a_side(truth[part], read.groups[part]) for part in parts)


def _majority(truth: NDArray[np.bool_], kind: str) -> float:
    """Return the accuracy of always predicting the most frequent class, per label if multilabel."""
    share = truth.mean(axis=0)
    return float(np.maximum(share, 1 - share).mean() if kind == "multilabel" else share.max())


@dataclass(frozen=True, eq=False)
class StoredPredictions:
    """Predictions of one seed; of a cross-validated one those of all folds, in the order of the pool.

    Attributes:
        labels: [n], or multilabel [n, classes].
        scores: [n, classes].
        groups: [n], if known.
        folds: [n] index of the fold that scored each image; None without cross-validation.
        rows: [n] ascending index of each image in the pool; None likewise.
    """

    labels: NDArray[np.generic]
    scores: NDArray[np.floating]
    groups: NDArray[np.generic] | None = None
    folds: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None

    @property
    def images(self) -> str:
        """Hash of labels, groups and rows, equal where the same images were scored."""
        parts = (self.labels, self.groups, self.rows)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts if part is not None)).hexdigest()

    @property
    def partition(self) -> str:
        """Hash of the folds; "" without cross-validation."""
        return "" if self.folds is None else hashlib.sha256(self.folds.tobytes()).hexdigest()


def by_patient(stored: StoredPredictions, task: TaskFacts | None) -> StoredPredictions:
    """Return one row per patient, in the order of their names; images without groups stay as they are."""
    if stored.groups is None:
        return stored
    kind, how = (task.kind, task.patient_score) if task else ("", "mean")
    found = aggregate_by_patient(kind, stored.labels, stored.scores, stored.groups, how)
    folds = None if stored.folds is None else stored.folds[found.first]
    rows = None if stored.rows is None else stored.rows[found.first]
    return StoredPredictions(found.labels, found.scores, None, folds, rows)


def read_predictions(paths: Sequence[Path | None]) -> StoredPredictions | None:
    """Return the predictions of one seed from its file, or from those of all folds; None if unreadable."""
    names = ("labels", "scores", "groups", "folds", "rows")
    arrays = read_arrays(paths, names.__contains__)
    if not arrays or not {"labels", "scores"} <= arrays.keys():
        return None
    return StoredPredictions(**{name: arrays[name] for name in names if name in arrays})  # type: ignore[arg-type]


def read_arrays(
    paths: Sequence[Path | None], wanted: Callable[[str], bool]
) -> dict[str, NDArray[np.generic]] | None:
    """Return the wanted arrays of one seed by name; None if a file is unreadable.

    Those of several folds are joined in the order of the pool, with `folds`, the place in `paths` [n], and
    `rows`, which every fold must have and no two images share.
    """
    if len(paths) == 1:
        return _read_file(paths[0], lambda name: wanted(name) and name not in ("folds", "rows"))
    parts = [_read_file(path, lambda name: wanted(name) or name == "rows") for path in paths]
    folds = [part for part in parts if part and "rows" in part]
    if len(folds) < len(paths):
        return None
    names = set.intersection(*map(set, folds))
    try:
        rows = np.concatenate([part["rows"] for part in folds])
        order = np.argsort(rows, kind="stable")
        joined = {name: np.concatenate([part[name] for part in folds])[order] for name in sorted(names)}
        joined["folds"] = np.repeat(np.arange(len(folds)), [len(part["rows"]) for part in folds])[order]
    except (ValueError, IndexError):  # arrays of different lengths or shapes
        return None
    return joined if len(np.unique(rows)) == len(rows) else None


def _read_file(path: Path | None, wanted: Callable[[str], bool]) -> dict[str, NDArray[np.generic]] | None:
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if wanted(name)}
    except Exception:  # absent, truncated or foreign bytes: numpy's reader may raise anything
        return None
