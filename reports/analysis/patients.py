"""Results by patient: the scores of a patient's images make one, and verdicts count patients."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ...benchmark.schema.records import PRIMARY_METRIC
from ...benchmark.training.patient_level import has_patients
from ..statistics.stats import describe_values
from .influence_input import by_patient, read_predictions, score_evidence
from .report_input import LeaderboardRow, ReportInput


@dataclass(frozen=True, eq=False)
class PatientResults:
    """Rows whose patients have several images, by patient.

    Attributes:
        results: the rows with the AUC by patient alone; verdicts on it are by patient.
        images: row by patient -> the same row by image.
        left_out: row by patient -> number of patients without a label, whose images are of several classes.
    """

    results: ReportInput
    images: dict[LeaderboardRow, LeaderboardRow]
    left_out: dict[LeaderboardRow, int]


@lru_cache(maxsize=1)
def patient_results(results: ReportInput) -> PatientResults | None:
    """Return the results by patient; None where no patient of a test set has several images."""
    chosen: list[tuple[LeaderboardRow, int]] = []
    for row, known in score_evidence(results).items():
        if not known.problem and not 0 < known.groups < known.n_test:
            continue
        stored = read_predictions(results.prediction_files(row.keys[0]))
        if stored is not None and stored.groups is not None and has_patients(stored.groups):
            left = len(np.unique(stored.groups)) - len(by_patient(stored, results.tasks.get(row.task)).labels)
            chosen.append((row, left))
    if not chosen:
        return None
    bare = replace(results, rows=tuple(row for row, _ in chosen), unit="patient")
    bare = replace(bare, verdict_metric=PRIMARY_METRIC)
    rows = {
        replace(row, stats={PRIMARY_METRIC: describe_values(evidence.values)}): row
        for row, evidence in score_evidence(bare).items()
    }
    left_out = dict(zip(rows, (left for _, left in chosen), strict=True))
    return PatientResults(replace(bare, rows=tuple(rows)), rows, left_out)
