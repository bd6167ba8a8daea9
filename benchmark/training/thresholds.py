"""Thresholds of a score, chosen on validation images; test images never choose one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .patient_level import aggregate_by_patient
from .subsets import one_hot

YOUDEN = "youden"
FIXED = (0.90, 0.95)
"""Sensitivities and specificities at which thresholds are chosen."""
RULES = (YOUDEN, *(f"{side} {value:.2f}" for side in ("sensitivity", "specificity") for value in FIXED))
"""`youden` has the highest sensitivity plus specificity; the others reach the sensitivity, or specificity,
with the most of the other one."""

ClassThresholds = dict[str, dict[str, float]]
"""Rule -> class -> smallest score that is called positive."""


def validation_thresholds(
    kind: str,
    classes: Sequence[str],
    labels: NDArray[np.int64],
    scores: NDArray[np.floating],
    groups: NDArray[np.int64] | None,
    how: str,
) -> dict[str, ClassThresholds]:
    """Return the thresholds of single images, and of patients where these are known, by unit.

    Args:
        kind: binary (only the second class has thresholds), multiclass, multilabel or ordinal.
        classes: names in label order.
        labels: of the validation images, [n] or multilabel [n, classes].
        scores: their probabilities, [n, classes].
        groups: their patients, [n], if known.
        how: "mean" or "max", see `aggregate_by_patient`.
    """
    stored: NDArray[np.float64] = scores.astype(np.float32).astype(np.float64)  # as test scores are
    found = {"image": choose_thresholds(kind, classes, labels, stored)}
    if groups is not None:
        by_patient = aggregate_by_patient(kind, labels, stored, groups, how)
        found["patient"] = choose_thresholds(kind, classes, by_patient.labels, by_patient.scores)
    return found


def choose_thresholds(
    kind: str, classes: Sequence[str], labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> ClassThresholds:
    """Choose a threshold by each of `RULES` for each class against the rest, where both occur."""
    truth = one_hot(labels, len(classes))
    found: ClassThresholds = {rule: {} for rule in RULES}
    for place in range(1 if kind == "binary" else 0, len(classes)):
        positive = truth[:, place]
        if positive.any() and not positive.all():
            for rule, threshold in zip(RULES, _by_rule(positive, scores[:, place]), strict=True):
                found[rule][classes[place]] = threshold
    return found


def _by_rule(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> list[float]:
    """Return the thresholds of one class in the order of `RULES`; ties go to the higher threshold."""
    levels, place = np.unique(-scores, return_inverse=True)  # from the highest score down
    hits, alarms = np.bincount(place, positive).cumsum(), np.bincount(place, ~positive).cumsum()
    none = np.nextafter(np.float32(-levels[0]), np.float32(np.inf))  # above every score: nothing is positive
    thresholds = np.concatenate([[float(none)], -levels])
    sensitivity = np.concatenate([[0.0], hits / positive.sum()])
    specificity = 1 - np.concatenate([[0.0], alarms / (~positive).sum()])
    chosen = [int(np.argmax(sensitivity + specificity))]
    chosen += [int(np.argmax(sensitivity >= value - 1e-12)) for value in FIXED]
    for value in FIXED:
        enough = specificity >= value - 1e-12
        chosen.append(int(np.argmax(np.where(enough, sensitivity, -1.0))))
    return thresholds[chosen].tolist()
