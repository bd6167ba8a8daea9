"""Experiments with a known truth: two inits, their seeds and a test set, drawn from a binormal model."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .influence import _Floats, auc_influence
from .paired import PairedDifference, paired_difference

IMAGE, OWN, NOISE = 0.5, 0.2, 0.3
"""Shares of a score's variance: how hard the image is for all, for this init, and in this training alone."""


@dataclass(frozen=True)
class SimulatedTruth:
    """What an experiment is drawn from.

    Attributes:
        seeds: trainings per init.
        images: test images.
        prevalence: share of positive images, exact in every draw.
        auc: expected AUC of the first init, over trainings and images.
        difference: expected AUC of the second minus that of the first.
        seed_sd: standard deviation over trainings of an init's AUC on endless images.
    """

    seeds: int
    images: int
    prevalence: float
    auc: float
    difference: float
    seed_sd: float


@dataclass(frozen=True, eq=False)
class SimulatedExperiment:
    """One experiment: the difference, second init minus first, and what it was measured from.

    Attributes:
        measured: the difference with its errors.
        values: difference per seed [seeds].
        influence: likewise, per test image [seeds, images].
        higher: the higher of the two mean AUCs.
    """

    measured: PairedDifference
    values: _Floats
    influence: _Floats
    higher: float


def simulate_experiment(truth: SimulatedTruth, rng: np.random.Generator) -> SimulatedExperiment:
    """Draw one experiment and measure it as a report would."""
    scores, labels = draw_scores(truth, rng)
    auc, influence = auc_influence(labels, scores)
    values, shares = auc[1] - auc[0], influence[1] - influence[0]
    return SimulatedExperiment(
        paired_difference(values, shares), values, shares, float(auc.mean(axis=1).max())
    )


def draw_scores(truth: SimulatedTruth, rng: np.random.Generator) -> tuple[_Floats, np.ndarray]:
    """Draw the scores [2, seeds, images] of one experiment and the labels [images].

    A positive image scores higher by a distance that is the init's mean plus the training's own luck; all
    scores have unit variance around it, shared between inits and trainings as `IMAGE`, `OWN` and `NOISE` say.
    """
    n, positives = truth.images, round(truth.images * truth.prevalence)
    labels = np.arange(n) < positives
    inits = [
        class_distance(truth.auc, truth.seed_sd),
        class_distance(truth.auc + truth.difference, truth.seed_sd),
    ]
    mean, luck = np.array(inits).T[..., None]
    apart = mean + luck * rng.standard_normal((2, truth.seeds))
    scores = (
        np.sqrt(IMAGE) * rng.standard_normal(n)
        + np.sqrt(OWN) * rng.standard_normal((2, 1, n))
        + np.sqrt(NOISE) * rng.standard_normal((2, truth.seeds, n))
    )
    return scores + apart[..., None] * labels, labels


@lru_cache
def class_distance(auc: float, seed_sd: float) -> tuple[float, float]:
    """Return mean and sd over trainings of the distance of the classes that give this AUC and its sd.

    With distance d the AUC is Phi(d / sqrt 2), and its mean over normal d has a closed form; the sd of d is
    searched for.

    Raises:
        ValueError: no normal distance has so large a spread at this AUC.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri

    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()

    def mean_of(sd: float) -> float:
        return float(np.sqrt(2 + sd**2) * ndtri(auc))

    def excess(sd: float) -> float:
        values = ndtr((mean_of(sd) + sd * nodes) / np.sqrt(2))
        return float(np.sqrt(weights @ (values - auc) ** 2) - seed_sd)

    sd = float(brentq(excess, 0.0, 20.0))  # type: ignore[arg-type]
    return mean_of(sd), sd


def percentile_bootstrap(
    differences: _Floats, influences: _Floats, rng: np.random.Generator, draws: int = 500
) -> tuple[float, float]:
    """Return the plain 95 % percentile interval over resampled seeds and images, to show why it is not used.

    Args:
        differences: [seeds].
        influences: [seeds, images], of the difference; the resampled AUC is taken to first order.
    """
    seeds, images = influences.shape
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds  # [draws, seeds]
    times = rng.multinomial(images, np.full(images, 1 / images), draws) - 1  # [draws, images]
    moved = chosen @ differences + ((chosen @ influences) * times).sum(axis=1)
    low, high = np.quantile(moved, [0.025, 0.975])
    return float(low), float(high)
