"""Clinical measures of every row with all labels: by image and by patient, by class and by subgroup."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...benchmark.schema.records import Record, TaskFacts
from ...benchmark.training.patient_level import aggregate_by_patient, has_patients
from ...benchmark.training.thresholds import RULES, YOUDEN
from ..statistics.influence import truth_of
from ..statistics.operating_points import (
    FEWEST_ALLOWED,
    Estimate,
    bootstrap_weights,
    confusion_counts,
    confusion_measures,
    estimate,
    mean_over_seeds,
    precision_heights,
    roc_heights,
    roc_measures,
    roc_points,
)
from .influence_input import StoredPredictions, by_patient, read_predictions
from .report_input import LeaderboardRow, ReportInput
from .subgroups import FEWEST_PER_SIDE, UNKNOWN_VALUE, read_subgroup_columns

MOST_LINES = 40
"""Lines (row, unit, class) that are computed: each draws the test set hundreds of times."""
CURVE = np.linspace(0, 1, 101)
"""Shares of false alarms, and sensitivities above 0, at which curves are averaged over seeds."""

_Draws = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SubgroupCalls:
    """One subgroup at the threshold `YOUDEN` of all; sensitivity and specificity NaN where images are few."""

    column: str
    value: str
    positives: int
    negatives: int
    measures: Mapping[str, Estimate]


@dataclass(frozen=True, eq=False)
class ClinicalLine:
    """One class of one row, by image or by patient; means over seeds.

    Attributes:
        unit: image or patient.
        label: the class, against the rest.
        ranking: measures of the ROC curve of the test set, see `roc_measures`.
        calls: rule of a threshold from validation -> sensitivity, specificity, PPV and NPV; empty where the
            records have none.
        confusion: true positives, false positives, false negatives and true negatives at `YOUDEN`.
        prevalence: share of positives that PPV and NPV apply to.
        roc: sensitivity at shares `CURVE` of false alarms.
        precision: precision at sensitivities `CURVE[1:]`.
    """

    row: LeaderboardRow
    unit: str
    label: str
    positives: int
    negatives: int
    ranking: Mapping[str, Estimate]
    calls: Mapping[str, Mapping[str, Estimate]]
    confusion: tuple[float, ...]
    prevalence: float
    roc: NDArray[np.float64]
    precision: NDArray[np.float64]
    subgroups: tuple[SubgroupCalls, ...]


@lru_cache(maxsize=1)  # for the section and the CSV file
def clinical_lines(results: ReportInput) -> tuple[ClinicalLine, ...]:
    """Measure the rows with the largest share of the labels, in their order, at most `MOST_LINES` lines."""
    largest = max((row.fraction for row in results.rows), default=0.0)
    records = {record.key: record for record in results.counted}
    found: list[ClinicalLine] = []
    for row in results.rows:
        if row.fraction == largest and not row.derived_from and len(found) < MOST_LINES:
            found += _row_lines(results, row, [results.cells_of(records[key]) for key in row.keys])
    return tuple(found[:MOST_LINES])


@dataclass(frozen=True, eq=False)
class _Scored:
    """Predictions of a row by unit: truth [n, classes], and per seed scores [n, classes] and folds [n]."""

    row: LeaderboardRow
    facts: TaskFacts
    unit: str
    truth: NDArray[np.bool_]
    groups: NDArray[np.generic] | None
    seeds: tuple[StoredPredictions, ...]
    cells: Sequence[tuple[Record, ...]]
    columns: Mapping[str, NDArray[np.str_]]
    weights: _Draws


def _row_lines(
    results: ReportInput, row: LeaderboardRow, cells: Sequence[tuple[Record, ...]]
) -> Iterator[ClinicalLine]:
    """Measure a row; `cells` are the records of each seed."""
    read = [read_predictions(results.prediction_files(key)) for key in row.keys]
    stored, facts = [each for each in read if each], cells[0][0].task
    if facts is None or len(stored) < len(read) or len({each.images for each in stored}) > 1:
        return
    first = stored[0]
    columns = read_subgroup_columns(results.prediction_files(row.keys[0]))
    of_image = _scored(row, facts, "image", stored, cells, columns, first.groups)
    yield from _lines(of_image, results.prevalence, not has_patients(first.groups))
    if first.groups is not None and has_patients(first.groups):
        one = aggregate_by_patient(facts.kind, first.labels, first.scores, first.groups).first
        whole = [by_patient(each, facts) for each in stored]
        columns = {name: values[one] for name, values in columns.items()}
        yield from _lines(
            _scored(row, facts, "patient", whole, cells, columns, None), results.prevalence, True
        )


def _scored(
    row: LeaderboardRow,
    facts: TaskFacts,
    unit: str,
    stored: Sequence[StoredPredictions],
    cells: Sequence[tuple[Record, ...]],
    columns: Mapping[str, NDArray[np.str_]],
    groups: NDArray[np.generic] | None,
) -> _Scored:
    truth = truth_of(stored[0].labels, len(facts.classes))
    weights = bootstrap_weights(groups, len(truth))
    return _Scored(row, facts, unit, truth, groups, tuple(stored), cells, columns, weights)


def _lines(of: _Scored, prevalence: float, with_subgroups: bool) -> Iterator[ClinicalLine]:
    """Measure every class that has positives and negatives in every fold."""
    for place in range(1 if of.facts.kind == "binary" else 0, len(of.facts.classes)):
        truth = of.truth[:, place]
        parts = [_folds(seed) for seed in of.seeds]
        if not all(0 < truth[part].sum() < part.sum() for folds in parts for part in folds):
            continue
        called = {rule: _called(of, place, rule) for rule in RULES}
        counts = {rule: _counts(of, truth, calls) for rule, calls in called.items() if calls is not None}
        stated = prevalence if of.facts.kind == "binary" else 0.0
        yield ClinicalLine(
            row=of.row,
            unit=of.unit,
            label=of.facts.classes[place],
            positives=int(truth.sum()),
            negatives=int((~truth).sum()),
            ranking=_ranking_estimates(of, truth, place, parts),
            calls={
                rule: _estimates(
                    mean_over_seeds([confusion_measures(each, stated) for each in seeds]), of, truth
                )
                for rule, seeds in counts.items()
            },
            confusion=tuple(np.mean([seed[0] for seed in counts[YOUDEN]], axis=0))
            if YOUDEN in counts
            else (),
            prevalence=stated or float(truth.mean()),
            **_curves(of, truth, place, parts),
            subgroups=tuple(_subgroups(of, truth, called[YOUDEN])) if with_subgroups else (),
        )


def _folds(seed: StoredPredictions) -> list[NDArray[np.bool_]]:
    """Return the images of each fold, whose networks' scores are not comparable; one part without folds."""
    if seed.folds is None:
        return [np.ones(len(seed.labels), bool)]
    return [seed.folds == fold for fold in np.unique(seed.folds)]


def _ranking(
    of: _Scored, truth: NDArray[np.bool_], place: int, parts: Sequence[Sequence[NDArray[np.bool_]]]
) -> dict[str, _Draws]:
    seeds = []
    for seed, folds in zip(of.seeds, parts, strict=True):
        scores = seed.scores[:, place].astype(float)
        points = [roc_points(truth[part], scores[part], of.weights[:, part]) for part in folds]
        seeds.append(mean_over_seeds([roc_measures(*each) for each in points]))
    return mean_over_seeds(seeds)


def _ranking_estimates(
    of: _Scored, truth: NDArray[np.bool_], place: int, parts: Sequence[Sequence[NDArray[np.bool_]]]
) -> dict[str, Estimate]:
    """Estimate the measures of the ROC curve; without interval where a fixed value allows too few errors."""
    found = _estimates(_ranking(of, truth, place, parts), of, truth)
    for name, each in found.items():
        _, at, fixed = name.partition(" at ")
        side = ~truth if fixed.startswith("specificity") else truth
        allowed = (1 - float(fixed.split()[-1])) * _fewest_units(of, side, parts) if at else np.inf
        if allowed < FEWEST_ALLOWED - 1e-9:
            found[name] = Estimate(each.value, np.nan, np.nan)
    return found


def _fewest_units(of: _Scored, side: NDArray[np.bool_], parts: Sequence[Sequence[NDArray[np.bool_]]]) -> int:
    return min(_units(of, side & part) for folds in parts for part in folds)


def _curves(
    of: _Scored, truth: NDArray[np.bool_], place: int, parts: Sequence[Sequence[NDArray[np.bool_]]]
) -> dict[str, NDArray[np.float64]]:
    points = [
        roc_points(truth[part], seed.scores[part, place].astype(float), np.ones((1, int(part.sum()))))
        for seed, folds in zip(of.seeds, parts, strict=True)
        for part in folds
    ]
    roc = np.mean([roc_heights(hits[0], alarms[0], CURVE) for hits, alarms in points], axis=0)
    precision = [precision_heights(hits[0], alarms[0], CURVE[1:]) for hits, alarms in points]
    return {"roc": roc, "precision": np.mean(precision, axis=0)}


def _called(of: _Scored, place: int, rule: str) -> list[NDArray[np.bool_]] | None:
    """Return by seed which images [n] a rule calls positive; None where a record has no threshold."""
    label, found = of.facts.classes[place], []
    for seed, cells in zip(of.seeds, of.cells, strict=True):
        known = [cell.thresholds.get(of.unit, {}).get(rule, {}).get(label) for cell in cells]
        if None in known:
            return None
        fold = np.zeros(len(seed.labels), int) if seed.folds is None else seed.folds
        found.append(seed.scores[:, place].astype(float) >= np.array(known, float)[fold])
    return found


def _counts(of: _Scored, truth: NDArray[np.bool_], calls: Sequence[NDArray[np.bool_]]) -> list[_Draws]:
    return [confusion_counts(truth, each, of.weights) for each in calls]


def _units(of: _Scored, chosen: NDArray[np.bool_]) -> int:
    return int(chosen.sum()) if of.groups is None else len(np.unique(of.groups[chosen]))


def _estimates(draws: Mapping[str, _Draws], of: _Scored, truth: NDArray[np.bool_]) -> dict[str, Estimate]:
    sides = {"sensitivity": _units(of, truth), "specificity": _units(of, ~truth)}
    return {name: estimate(each, sides.get(name.split()[0], 0)) for name, each in draws.items()}


def _subgroups(
    of: _Scored, truth: NDArray[np.bool_], calls: Sequence[NDArray[np.bool_]] | None
) -> Iterator[SubgroupCalls]:
    for name, values in of.columns.items() if calls else ():
        for value in np.unique(values[values != UNKNOWN_VALUE]).tolist():
            chosen = values == value
            sides = {"sensitivity": chosen & truth, "specificity": chosen & ~truth}
            seeds = [
                confusion_measures(confusion_counts(truth[chosen], each[chosen], of.weights[:, chosen]))
                for each in calls or ()
            ]
            draws = mean_over_seeds(seeds)
            few = {side: _units(of, images) < FEWEST_PER_SIDE for side, images in sides.items()}
            measures = {
                side: Estimate(np.nan, np.nan, np.nan)
                if few[side]
                else estimate(draws[side], _units(of, images))
                for side, images in sides.items()
            }
            ill, well = (int(images.sum()) for images in sides.values())
            yield SubgroupCalls(name, value, ill, well, measures)
