"""Error rates of the verdicts in simulated experiments with a known truth.

An experiment is two inits, their seeds and a test set, drawn from a binormal model.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from .influence import _Floats, auc_influence
from .paired import (
    ALPHA,
    CEILING,
    DIFFERENT,
    MARGIN,
    STRICT_ALPHA,
    WITHIN,
    PairedDifference,
    decide,
    paired_difference,
)
from .uneven_seeds import seeds_are_uneven

SIMULATED_SEEDS = (3, 5, 10)
SIMULATED_IMAGES = (150, 600, 2000)
PREVALENCES = (0.5, 0.1)
AUCS = (0.6, 0.75, 0.9, 0.98, 0.995)
SEED_SDS = (0.002, 0.01, 0.03)
DIFFERENCES = (0.0, -MARGIN, -0.05)
"""None, exactly the margin, and one that matters; negative, since .995 has little above it."""

LEAST_COVERAGE, MOST_WRONG = 0.93, 0.05
PROMISED_AUC = 0.98
"""Coverage is promised up to this AUC. Above it trainings spread unevenly and intervals are too narrow on one
side (flag near-ceiling); the rates of wrong verdicts are promised there too."""
REDRAW_RATE = 0.04
"""Error rates above this are estimated again, so that chance among hundreds of rates does not decide."""
REDRAW_FACTOR = 5
IMAGE, OWN, NOISE = 0.5, 0.2, 0.3
"""Shares of a score's variance: of the image for all inits, for this init, and for this training alone."""


@dataclass(frozen=True)
class SimulatedTruth:
    """Parameters from which an experiment is drawn.

    Attributes:
        seeds: trainings per init.
        prevalence: share of positive images, exact in every draw.
        auc: expected AUC of the first init, over trainings and images.
        difference: expected AUC of the second init minus that of the first.
        seed_sd: standard deviation over trainings of an init's AUC on infinitely many images.
    """

    seeds: int
    images: int
    prevalence: float
    auc: float
    difference: float
    seed_sd: float


@dataclass(frozen=True, eq=False)
class SimulatedExperiment:
    """Difference of one experiment, second init minus first, and its data.

    Attributes:
        values: difference per seed [seeds].
        influence: difference of the influences [seeds, images].
        auc: of every training [2, seeds].
    """

    measured: PairedDifference
    values: _Floats
    influence: _Floats
    auc: _Floats


def simulate_experiment(truth: SimulatedTruth, rng: np.random.Generator) -> SimulatedExperiment:
    """Draw one experiment and measure it as a report would."""
    scores, labels = draw_scores(truth, rng)
    auc, influence = auc_influence(labels, scores)
    values, shares = auc[1] - auc[0], influence[1] - influence[0]
    return SimulatedExperiment(paired_difference(values, shares), values, shares, auc)


def draw_scores(truth: SimulatedTruth, rng: np.random.Generator) -> tuple[_Floats, np.ndarray]:
    """Draw the scores [2, seeds, images] of one experiment and the labels [images].

    A positive image scores higher by the init's mean distance plus a normal deviate of the training. Around
    that, scores have unit variance, split into `IMAGE`, `OWN` and `NOISE`.
    """
    n, positives = truth.images, round(truth.images * truth.prevalence)
    labels = np.arange(n) < positives
    inits = [class_distance(mean, truth.seed_sd) for mean in (truth.auc, truth.auc + truth.difference)]
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
    """Return mean and sd, over trainings, of the class distance that gives this AUC and its sd.

    With distance d the AUC is Phi(d / sqrt 2); its mean over normal d has a closed form, the sd of d is found
    by root search.

    Raises:
        ValueError: no normal distance gives so large a spread at this AUC.
    """
    nodes, weights = _normal_quadrature()

    def mean_of(sd: float) -> float:
        return float(np.sqrt(2 + sd**2) * ndtri(auc))

    def excess(sd: float) -> float:
        values = ndtr((mean_of(sd) + sd * nodes) / np.sqrt(2))
        return float(np.sqrt(weights @ (values - auc) ** 2) - seed_sd)

    sd = float(brentq(excess, 0.0, 20.0))  # type: ignore[arg-type]
    return mean_of(sd), sd


@cache
def _normal_quadrature() -> tuple[_Floats, _Floats]:
    """Return nodes and weights [80] of the mean over a standard normal deviate."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return nodes, weights / weights.sum()


def percentile_bootstrap(
    differences: _Floats, influences: _Floats, rng: np.random.Generator, draws: int = 500
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval over seeds and images, unused by verdicts.

    Args:
        differences: [seeds].
        influences: [seeds, images] of the difference; the resampled AUC is a first-order approximation.
        rng: random numbers.
        draws: number of resamples.
    """
    seeds, images = influences.shape
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds  # [draws, seeds]
    times = rng.multinomial(images, np.full(images, 1 / images), draws) - 1  # [draws, images]
    moved = chosen @ differences + ((chosen @ influences) * times).sum(axis=1)
    low, high = np.quantile(moved, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class ErrorRates:
    """Rates over many experiments with one truth, each 0 to 1.

    Attributes:
        experiments: number of experiments.
        covered: share whose 95 % interval contains the true difference.
        wrong: share with verdict better or worse in the wrong direction, or in any if there is no difference.
        equivalent: share with verdict equivalent.
        found: share with verdict better or worse in the true direction.
        width: mean half-width of the interval.
        bootstrap: share whose percentile bootstrap contains the true difference; NaN where not computed.
    """

    truth: SimulatedTruth
    experiments: int
    covered: float
    wrong: float
    equivalent: float
    found: float
    width: float
    bootstrap: float = math.nan

    @property
    def wrong_equivalent(self) -> float:
        """Share with a wrong verdict equivalent; 0 where the true difference is within the margin."""
        return self.equivalent if abs(self.truth.difference) >= MARGIN else 0.0

    @property
    def near_limit(self) -> bool:
        """Whether a rate is so near its limit that more experiments are needed."""
        covers = self.covered >= LEAST_COVERAGE + 0.01 or self.truth.auc > PROMISED_AUC
        return max(self.wrong, self.wrong_equivalent) > REDRAW_RATE or not covers

    @property
    def holds(self) -> bool:
        """Whether every promise is kept, within two standard errors of the simulation."""
        chance = [2 * math.sqrt(p * (1 - p) / self.experiments) for p in (LEAST_COVERAGE, MOST_WRONG)]
        covers = self.covered >= LEAST_COVERAGE - chance[0] or self.truth.auc > PROMISED_AUC
        return covers and max(self.wrong, self.wrong_equivalent) <= MOST_WRONG + chance[1]


def simulated_truths() -> list[SimulatedTruth]:
    """Return all truths of the calibration page."""
    grid = itertools.product(SIMULATED_SEEDS, SIMULATED_IMAGES, PREVALENCES, AUCS, SEED_SDS, DIFFERENCES)
    return [
        SimulatedTruth(seeds, images, prevalence, auc, difference, seed_sd)
        for seeds, images, prevalence, auc, seed_sd, difference in grid
    ]


def error_rates(
    truth: SimulatedTruth, experiments: int, seed: int = 0, bootstrap: bool = False
) -> ErrorRates:
    """Draw experiments and count their verdicts, each alone in its family.

    Args:
        truth: parameters of the experiments.
        experiments: number of experiments.
        seed: seeds the random numbers, together with the truth.
        bootstrap: also compute the percentile bootstrap, which takes longer than everything else.
    """
    facts = [round(1e4 * abs(value)) for value in asdict(truth).values()]
    rng = np.random.default_rng([seed, *facts])
    true, counts, width, inside = truth.difference, np.zeros(4), 0.0, 0
    for _ in range(experiments):
        drawn = simulate_experiment(truth, rng)
        measured, seen = drawn.measured, drawn.measured.difference
        reach, top = measured.half_width(), drawn.auc.mean(axis=1).max() >= CEILING
        within = abs(seen) + measured.half_width(2 * (STRICT_ALPHA if top else ALPHA)) < MARGIN
        blunt = measured.test_variance == 0 or bool(within and top and seeds_are_uneven(drawn.auc))
        shown = decide(abs(seen) > reach, within, blunt)  # by intervals, which is faster than by p-values
        counts += (
            abs(seen - true) <= reach,
            shown == DIFFERENT and seen * true <= 0,
            shown == WITHIN,
            shown == DIFFERENT and seen * true > 0,
        )
        width += reach
        if bootstrap:
            low, high = percentile_bootstrap(drawn.values, drawn.influence, rng)
            inside += low <= true <= high
    covered, wrong, equivalent, found = (counts / experiments).tolist()
    share = inside / experiments if bootstrap else math.nan
    return ErrorRates(truth, experiments, covered, wrong, equivalent, found, width / experiments, share)


def calibrate_verdicts(
    experiments: int, jobs: int, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[ErrorRates]:
    """Estimate the error rates of every truth, again with more experiments near a limit.

    Args:
        experiments: number per truth.
        jobs: number of processes.
        on_progress: called with (done, total) after every truth.
    """
    grid = simulated_truths()
    rates = list(_run_parallel(grid, experiments, 0, jobs, lambda done: on_progress(done, len(grid))))
    again = [place for place, rate in enumerate(rates) if rate.near_limit]
    redrawn = [grid[place] for place in again]
    fresh = _run_parallel(redrawn, REDRAW_FACTOR * experiments, 1, jobs, lambda done: None)
    for place, rate in zip(again, fresh, strict=True):
        rates[place] = replace(rate, bootstrap=rates[place].bootstrap)
    return rates


def _run_parallel(
    grid: Sequence[SimulatedTruth], experiments: int, seed: int, jobs: int, on_done: Callable[[int], None]
) -> Iterator[ErrorRates]:
    tasks = [(truth, experiments, seed, seed == 0 and _shows_bootstrap(truth)) for truth in grid]
    if jobs <= 1:
        yield from _report_each(map(_rates, tasks), on_done)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from _report_each(pool.map(_rates, tasks), on_done)
        except BaseException:  # without this an interrupt waits for all remaining tasks
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _report_each(rates: Iterable[ErrorRates], on_done: Callable[[int], None]) -> Iterator[ErrorRates]:
    for done, rate in enumerate(rates, start=1):
        on_done(done)
        yield rate


def _rates(task: tuple[SimulatedTruth, int, int, bool]) -> ErrorRates:
    return error_rates(*task)


def _shows_bootstrap(truth: SimulatedTruth) -> bool:
    return (truth.difference, truth.images, truth.auc, truth.prevalence) == (0, 2000, 0.75, 0.5)


def calibration_summary(found: Sequence[ErrorRates]) -> list[tuple[str, str, float, float, float]]:
    """Return (seeds, images, least coverage, most wrong, most wrong equivalent) per group.

    Coverage counts only the truths for which it is promised.
    """
    lines = []
    for seeds, images in itertools.product(SIMULATED_SEEDS, SIMULATED_IMAGES):
        group = [rate for rate in found if (rate.truth.seeds, rate.truth.images) == (seeds, images)]
        lines.append(
            (
                str(seeds), f"{images:,}",
                min(rate.covered for rate in group if rate.truth.auc <= PROMISED_AUC),
                max(rate.wrong for rate in group), max(rate.wrong_equivalent for rate in group),
            )
        )  # fmt: skip
    return lines
