"""One score and label per patient, from those of the patient's images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PatientScores:
    """Labels and scores of patients, or of whatever else the groups are: studies, volumes, lesions.

    Attributes:
        labels: [patients], or multilabel [patients, classes].
        scores: [patients, classes].
        first: [patients] index of the first image of each; ascending by name of the group.
        left_out: number of patients without a label, see `aggregate_by_patient`.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    first: NDArray[np.int64]
    left_out: int


def aggregate_by_patient(
    kind: str,
    labels: NDArray[np.generic],
    scores: NDArray[np.floating],
    groups: NDArray[np.generic],
    how: str = "mean",
) -> PatientScores:
    """Aggregate the images of each patient.

    A patient whose images differ in their label has the highest one (binary: positive where any image is;
    multilabel: class by class); classes without an order have no highest one: such a patient is left out.

    Args:
        kind: binary, multiclass, multilabel or ordinal.
        labels: [n], or multilabel [n, classes].
        scores: [n, classes] probabilities.
        groups: [n] names of the patients.
        how: "mean" or "max" of the scores of each class; the maximum of a binary task is that of the second
            class, of which the first is the complement.
    """
    names, first, place = np.unique(groups, return_index=True, return_inverse=True)
    highest = np.zeros((len(names), *labels.shape[1:]), np.int64)
    lowest = np.full_like(highest, np.iinfo(np.int64).max)
    np.maximum.at(highest, place, labels.astype(np.int64))
    np.minimum.at(lowest, place, labels.astype(np.int64))
    found = np.zeros((len(names), scores.shape[1]))
    if how == "max":
        np.maximum.at(found, place, scores.astype(float))
        if kind == "binary":
            found[:, 0] = 1 - found[:, 1]
    else:
        np.add.at(found, place, scores.astype(float))
        found /= np.bincount(place)[:, None]
    kept = lowest == highest if kind == "multiclass" else np.ones(len(names), bool)
    return PatientScores(highest[kept], found[kept], first[kept].astype(np.int64), int((~kept).sum()))


def has_patients(groups: NDArray[np.generic] | None) -> bool:
    """Whether any patient has several images; None where patients are not known."""
    return groups is not None and len(np.unique(groups)) < len(groups)
