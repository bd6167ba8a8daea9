"""How often the verdicts are wrong: experiments with a known truth, over the range that reports meet."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from .paired import ALPHA, CEILING, DIFFERENT, MARGIN, WITHIN, decide
from .simulation import SimulatedTruth, percentile_bootstrap, simulate_experiment

SIMULATED_SEEDS = (3, 5, 10)
SIMULATED_IMAGES = (150, 600, 2000)
PREVALENCES = (0.5, 0.1)
AUCS = (0.6, 0.75, 0.9, 0.98, 0.995)
SEED_SDS = (0.002, 0.01, 0.03)
DIFFERENCES = (0.0, -MARGIN, -0.05)
"""None, just the margin, and one that matters; downwards, since .995 leaves no room above."""

LEAST_COVERAGE, MOST_WRONG = 0.93, 0.05
PROMISED_AUC = 0.98
"""Up to this AUC the coverage is promised. Above, trainings spread unevenly and intervals are too narrow to
one side, as the flag near-ceiling says; the rates of wrong verdicts are promised there too."""
AGAIN = 0.04
"""Error rates above this are drawn again, so that chance among hundreds of rates does not decide."""
TIMES_MORE = 5


@dataclass(frozen=True)
class ErrorRates:
    """What came of many experiments with one truth.

    Attributes:
        truth: what they were drawn from.
        experiments: how many.
        covered: share whose 95 % interval holds the true difference.
        wrong: share that says better or worse against the truth (of no difference: at all).
        equivalent: share that says equivalent.
        found: share that says better or worse in the true direction.
        width: mean half-width of the interval.
        bootstrap: share whose percentile bootstrap holds the true difference; NaN where it was not drawn.
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
        """Share that wrongly says equivalent; 0 where the true difference is within the margin."""
        return self.equivalent if abs(self.truth.difference) >= MARGIN else 0.0

    @property
    def close(self) -> bool:
        """Whether a rate is near its limit, so that more experiments should decide."""
        covers = self.covered >= LEAST_COVERAGE + 0.01 or self.truth.auc > PROMISED_AUC
        return max(self.wrong, self.wrong_equivalent) > AGAIN or not covers

    @property
    def holds(self) -> bool:
        """Whether every promise is kept, as far as so many experiments can tell: two standard errors."""
        chance = [2 * math.sqrt(p * (1 - p) / self.experiments) for p in (LEAST_COVERAGE, MOST_WRONG)]
        covers = self.covered >= LEAST_COVERAGE - chance[0] or self.truth.auc > PROMISED_AUC
        return covers and max(self.wrong, self.wrong_equivalent) <= MOST_WRONG + chance[1]


def simulated_truths() -> list[SimulatedTruth]:
    """Return every truth that the calibration page shows."""
    grid = itertools.product(SIMULATED_SEEDS, SIMULATED_IMAGES, PREVALENCES, AUCS, SEED_SDS, DIFFERENCES)
    return [
        SimulatedTruth(seeds, images, prevalence, auc, difference, seed_sd)
        for seeds, images, prevalence, auc, seed_sd, difference in grid
    ]


def error_rates(
    truth: SimulatedTruth, experiments: int, seed: int = 0, bootstrap: bool = False
) -> ErrorRates:
    """Draw experiments and count what the verdicts say, one comparison at a time, without Holm's correction.

    Args:
        truth: what to draw from.
        experiments: how many.
        seed: of the random numbers, together with the truth.
        bootstrap: also draw the percentile bootstrap, which takes longer than everything else.
    """
    facts = [round(1e4 * abs(value)) for value in asdict(truth).values()]
    rng = np.random.default_rng([seed, *facts])
    true, counts, width, inside = truth.difference, np.zeros(4), 0.0, 0
    for _ in range(experiments):
        drawn = simulate_experiment(truth, rng)
        measured, seen = drawn.measured, drawn.measured.difference
        reach, blunt = measured.half_width(), drawn.higher >= CEILING
        within = abs(seen) + measured.half_width(2 * ALPHA) < MARGIN
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
    experiments: int, jobs: int, told: Callable[[int, int], None] = lambda done, total: None
) -> list[ErrorRates]:
    """Draw every truth; what comes close to its limit is drawn again, with fresh numbers and many more.

    Args:
        experiments: per truth.
        jobs: processes.
        told: is called with (done, total) after every truth.
    """
    grid = simulated_truths()
    first = list(_spread(grid, experiments, 0, jobs, lambda done: told(done, len(grid))))
    again = [place for place, found in enumerate(first) if found.close]
    fresh = _spread([grid[place] for place in again], TIMES_MORE * experiments, 1, jobs, lambda done: None)
    for place, found in zip(again, fresh, strict=True):
        first[place] = replace(found, bootstrap=first[place].bootstrap)
    return first


def _spread(
    grid: Sequence[SimulatedTruth], experiments: int, seed: int, jobs: int, told: Callable[[int], None]
) -> Iterator[ErrorRates]:
    from concurrent.futures import ProcessPoolExecutor

    tasks = [(truth, experiments, seed, seed == 0 and _shows_bootstrap(truth)) for truth in grid]
    if jobs <= 1:
        yield from _counted(map(_rates, tasks), told)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from _counted(pool.map(_rates, tasks), told)
        except BaseException:  # or an interrupt would wait for all that is left
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _counted(found: Iterable[ErrorRates], told: Callable[[int], None]) -> Iterator[ErrorRates]:
    for done, item in enumerate(found, start=1):
        told(done)
        yield item


def _rates(task: tuple[SimulatedTruth, int, int, bool]) -> ErrorRates:
    return error_rates(*task)


def _shows_bootstrap(truth: SimulatedTruth) -> bool:
    return (truth.difference, truth.images, truth.auc, truth.prevalence) == (0, 2000, 0.75, 0.5)


def calibration_summary(found: Sequence[ErrorRates]) -> list[tuple[str, str, float, float, float]]:
    """Return (seeds, images, least coverage, most wrong better or worse, most wrong equivalent) per group.

    The coverage is that of the truths for which it is promised.
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
