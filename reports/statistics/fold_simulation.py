"""Simulated cross-validations of learners whose expected difference is known."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cross_validation import average_over_folds
from .influence import _Floats, macro_auc_influence
from .paired import ALPHA, PairedDifference, paired_difference, t_quantile

FOLD_COUNT = 5
FEATURE_COUNT = 30
WEAKER = 0.7
"""Length of the weaker learner's signal, relative to that of the two equal ones."""
IMAGES, PATIENTS, LABEL_NOISE, LUCK = "images", "patients", "label noise", "uneven trainings"
POOL_KINDS = (IMAGES, PATIENTS, LABEL_NOISE, LUCK)
FLIPPED = 0.15
"""Share of wrong labels with label noise."""
LUCK_SD = 0.015
"""Standard deviation, per image of the pool, of the starting point of uneven trainings."""


@dataclass(frozen=True, eq=False)
class FoldExperiment:
    """Cross-validation of three learners on one pool: two equally good in expectation, the third worse.

    Attributes:
        folds: AUC [3, repeats * FOLD_COUNT].
        values: AUC per repeat [3, repeats].
        influence: of every image or patient [3, repeats, units].
    """

    folds: _Floats
    values: _Floats
    influence: _Floats

    def measure(self, other: int, corrected: bool = True) -> PairedDifference:
        """Return the difference of the first learner to the second (1) or the third (2)."""
        values, influence = (each[0] - each[other] for each in (self.values, self.influence))
        return paired_difference(values, influence, cross_validated=corrected)

    def resampled_t_half_width(self, other: int) -> float:
        """Return the half-width by the corrected resampled t test, unused by verdicts.

        Sources: Nadeau & Bengio 2003, Machine Learning 52:239; Bouckaert & Frank 2004, PAKDD.
        """
        differences = self.folds[0] - self.folds[other]
        count = len(differences)
        variance = differences.var(ddof=1) * (1 / count + 1 / (FOLD_COUNT - 1))
        return t_quantile(ALPHA, count - 1) * math.sqrt(variance)


def simulate_folds(rng: np.random.Generator, kind: str, pool: int, repeats: int) -> FoldExperiment:
    """Draw a pool of images and cross-validate three ridge regressions on it.

    Every learner sees its own noisy version of the features of an image, with a signal in its own direction.

    Args:
        rng: random numbers.
        kind: one of `POOL_KINDS`.
        pool: number of images.
        repeats: partitions, each with trainings of its own.
    """
    patients = draw_patients(rng, pool) if kind == PATIENTS else np.arange(pool)
    truth = np.array((rng.permutation(patients[-1] + 1) % 2)[patients] * 2 - 1, dtype=np.float64)

    def noise() -> _Floats:
        own = rng.standard_normal((pool, FEATURE_COUNT))
        if kind != PATIENTS:
            return own
        return np.sqrt(0.5) * (own + rng.standard_normal((patients[-1] + 1, FEATURE_COUNT))[patients])

    common = noise()
    signals = [size * _signal(learner) for learner, size in enumerate((1.0, 1.0, WEAKER))]
    seen = [truth[:, None] * signal + np.sqrt(0.5) * (common + noise()) for signal in signals]
    if kind == LABEL_NOISE:
        truth = truth * np.where(rng.random(pool) < FLIPPED, -1.0, 1.0)
    folds = np.stack([draw_partition(rng, truth, patients) for _ in range(repeats)])
    luck = LUCK_SD * pool if kind == LUCK else 0.01
    scores = np.stack([_score_folds(rng, x, truth, folds, luck) for x in seen])
    return _measure_folds(truth > 0, scores, folds, patients if kind == PATIENTS else None)


def _signal(learner: int) -> _Floats:
    """Return half the distance of the classes in the features of a learner, fixed for the population."""
    drawn = np.random.default_rng([5, learner]).standard_normal(FEATURE_COUNT)
    return 0.75 * drawn / np.linalg.norm(drawn)


def draw_patients(rng: np.random.Generator, pool: int) -> NDArray[np.int64]:
    """Return the patient of each image [pool], ascending: one to four images each."""
    return np.repeat(np.arange(pool), rng.integers(1, 5, pool))[:pool]


def draw_partition(
    rng: np.random.Generator, truth: _Floats, patients: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the fold of each image [n], stratified by the label of a patient's first image."""
    first = truth[np.unique(patients, return_index=True)[1]]
    order = np.concatenate([rng.permutation(np.flatnonzero(first == side)) for side in (1.0, -1.0)])
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(order)) % FOLD_COUNT
    return fold[patients]


def _score_folds(
    rng: np.random.Generator, x: _Floats, truth: _Floats, folds: NDArray[np.int64], luck: float
) -> _Floats:
    """Return the scores [repeats, n] of ridge regressions that start at a random point."""
    scores = np.empty(folds.shape)
    for repeat, fold_of in enumerate(folds):
        for fold in range(FOLD_COUNT):
            tested = fold_of == fold
            inner, start = x[~tested], luck * rng.standard_normal(FEATURE_COUNT)
            gram = inner.T @ inner + 10 * np.eye(FEATURE_COUNT)
            weight = np.linalg.solve(gram, inner.T @ truth[~tested] + 10 * start)
            scores[repeat, tested] = x[tested] @ weight
    return scores


def _measure_folds(
    labels: NDArray[np.bool_], scores: _Floats, folds: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> FoldExperiment:
    per_fold: list[float] = []

    def compute(truth: NDArray[np.bool_], of_fold: _Floats) -> tuple[_Floats, _Floats]:
        auc, influence = macro_auc_influence(truth, of_fold)
        per_fold.append(float(auc[0]))
        return auc, influence

    found = [average_over_folds(compute, labels[:, None], each[..., None], folds, groups) for each in scores]
    values, influence = (np.stack(parts) for parts in zip(*found, strict=True))
    return FoldExperiment(np.reshape(per_fold, (len(scores), -1)), values, influence)
