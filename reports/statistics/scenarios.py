"""Error rates where the simulation of one comparison says nothing: families of tasks, luck, tuning, labels.

Every scenario is a function of (draws, rng, setting) that returns the rates it measured.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from .calibration import IMAGE, NOISE, OWN, SimulatedTruth, class_distance, error_rates
from .families import moderate_differences
from .fold_simulation import POOL_KINDS, simulate_folds
from .influence import _Floats, auc_influence, macro_auc_influence, sum_within_groups
from .labels_saved import labels_saved
from .multiplicity import adjust_by_bh
from .paired import ALPHA, MARGIN, PairedDifference, paired_difference
from .uneven_seeds import seeds_are_uneven

PAGE_TASKS = 12
PAGE_SEED_SD = 0.015
PAGE_DIFFERENCE = 0.05
PAGE_KINDS = {"none": (0.0,), "all": (PAGE_DIFFERENCE,), "half": (PAGE_DIFFERENCE, 0.0)}
"""Which tasks of a page differ, repeated over its tasks."""
LEAST_FOUND = {3: 0.25, 5: 0.45}
"""Seeds -> share of the true differences of a page that must be called."""
SKEW_SHARE, SKEW_LOSS = 0.15, 0.084
"""Share of one init's trainings that fail, and the AUC that they lose; its mean is that of the other."""
RATE_AUCS = (0.85, 0.83, 0.81)
"""True AUC of each learning rate of the tuning scenario."""
UNLIKE_RATES = "every seed, unlike rates"
LEAST_LABELS_COVERAGE = 0.93


@dataclass(frozen=True)
class ScenarioRate:
    """One rate of one scenario.

    Attributes:
        family: what is simulated.
        setting: with which parameters.
        name: what is counted.
        draws: number of simulated experiments or pages.
        count: number of trials of the rate, for its standard error.
        value: the rate, 0 to 1; NaN where nothing could be counted.
        limit: what it should not exceed, or fall below; NaN where it is only printed.
        at_least: whether `limit` is a lower bound.
        promised: whether verdicts claim to keep the limit here.
    """

    family: str
    setting: str
    name: str
    draws: int
    count: int
    value: float
    limit: float = math.nan
    at_least: bool = False
    promised: bool = True

    @property
    def holds(self) -> bool:
        """Whether the limit is kept within two standard errors."""
        if math.isnan(self.limit) or math.isnan(self.value):
            return True
        chance = 2 * math.sqrt(self.limit * (1 - self.limit) / max(self.count, 1))
        above = self.value - self.limit
        return above >= -chance if self.at_least else above <= chance

    @property
    def status(self) -> str:
        """Return "holds", "broken", "broken, not promised", or "" where nothing is asked."""
        if math.isnan(self.limit) or math.isnan(self.value):
            return ""
        return "holds" if self.holds else "broken" if self.promised else "broken, not promised"


def draw_two_inits(
    rng: np.random.Generator, apart: _Floats, labels: np.ndarray, image: _Floats | None = None
) -> _Floats:
    """Draw scores [2, seeds, n] around class distances [2, seeds], as in docs/calibration.md.

    Args:
        rng: random numbers.
        apart: class distance of every training.
        labels: [n] booleans.
        image: [n] deviates that all trainings share; drawn if None.
    """
    _, seeds = apart.shape
    n = len(labels)
    shared = rng.standard_normal(n) if image is None else image
    noise = np.sqrt(OWN) * rng.standard_normal((2, 1, n)) + np.sqrt(NOISE) * rng.standard_normal(
        (2, seeds, n)
    )
    return np.sqrt(IMAGE) * shared + noise + apart[..., None] * labels


def draw_distances(rng: np.random.Generator, aucs: Sequence[float], seeds: int, seed_sd: float) -> _Floats:
    """Draw class distances [inits, seeds] of trainings with these mean AUCs."""
    mean, luck = np.array([class_distance(round(auc, 3), round(seed_sd, 4)) for auc in aucs]).T[..., None]
    return mean + luck * rng.standard_normal((len(aucs), seeds))


def measure_scores(labels: np.ndarray, scores: _Floats) -> PairedDifference:
    """Measure the difference of two inits from scores [2, seeds, n]."""
    auc, influence = auc_influence(labels, scores)
    return paired_difference(auc[0] - auc[1], influence[0] - influence[1])


def is_called(measured: PairedDifference) -> bool:
    """Whether a single comparison is called better or worse."""
    return abs(measured.difference) > measured.half_width()


def is_equivalent(measured: PairedDifference) -> bool:
    """Whether a single comparison is called equivalent."""
    return abs(measured.difference) + measured.half_width(2 * ALPHA) < MARGIN


def simulate_page(
    rng: np.random.Generator, seeds: int, spread: float, differences: Sequence[float]
) -> list[PairedDifference]:
    """Draw one comparison per task, 156 to 2,000 test images, seed sd times a log-normal factor."""
    sizes = np.geomspace(156, 2000, len(differences)).round().astype(int)
    found = []
    for n, difference in zip(sizes.tolist(), differences, strict=True):
        auc, prevalence = rng.uniform(0.75, 0.93), rng.choice([0.5, 0.3, 0.15])
        labels = np.arange(n) < round(n * prevalence)
        factor = min(float(np.exp(spread * rng.standard_normal())), 8.0)
        apart = draw_distances(rng, (auc, auc - difference), seeds, PAGE_SEED_SD * factor)
        found.append(measure_scores(labels, draw_two_inits(rng, apart, labels)))
    return found


def hillis_p(measured: PairedDifference) -> float:
    """Return the p-value of Obuchowski and Rockette with the degrees of freedom of Hillis.

    Seeds are readers and images cases: the interaction of init and seed plus the part of the images' error
    that all seeds share. Not used by verdicts, see docs/calibration.md.

    Sources: Obuchowski & Rockette 1995, Communications in Statistics 24:285; Hillis 2007, Statistics in
    Medicine 26:596.
    """
    from scipy.special import stdtr

    variance = measured.seed_variance + measured.shared_variance
    freedom = (measured.seeds - 1) * (variance / measured.seed_variance) ** 2
    return float(2 * stdtr(freedom, -abs(measured.difference) / math.sqrt(variance)))


PAGE_METHODS: dict[str, Callable[[list[PairedDifference]], list[float]]] = {
    "verdicts": lambda page: [each.p_value() for each in moderate_differences(page)],
    "not moderated": lambda page: [each.p_value() for each in page],
    "Obuchowski-Rockette-Hillis": lambda page: [hillis_p(each) for each in page],
}
"""Method -> p-values of a page; all are corrected by Benjamini and Hochberg."""


def page_rates(draws: int, rng: np.random.Generator, setting: tuple[int, float, str]) -> list[ScenarioRate]:
    """Count the calls on pages of tasks, of which none, all or half differ."""
    seeds, spread, kind = setting
    pattern = PAGE_KINDS[kind]
    differences = [pattern[task % len(pattern)] for task in range(PAGE_TASKS)]
    true = np.array(differences) != 0
    called = {method: np.zeros((draws, PAGE_TASKS), dtype=bool) for method in PAGE_METHODS}
    right = np.zeros((draws, PAGE_TASKS), dtype=bool)
    for draw in range(draws):
        page = simulate_page(rng, seeds, spread, differences)
        right[draw] = true & (np.array([each.difference for each in page]) > 0)
        for method, p_values in PAGE_METHODS.items():
            called[method][draw] = np.array(adjust_by_bh(p_values(page))) < ALPHA
    text = f"{seeds} seeds, spread {spread:g}, {kind} differ"
    return [
        rate
        for method, calls in called.items()
        for rate in _count_calls(method, text, calls, calls & right, setting)
    ]


def _count_calls(
    method: str, text: str, calls: np.ndarray, right: np.ndarray, setting: tuple[int, float, str]
) -> Iterator[ScenarioRate]:
    """Count false calls [draws, tasks] of a method; only that of the verdicts has limits."""
    seeds, _, kind = setting
    ours, draws, false = method == "verdicts", len(calls), calls & ~right
    family = "pages" if ours else f"pages, {method}"

    def rate(name: str, hits: int, of: int, limit: float, least: bool = False) -> ScenarioRate:
        value, asked = hits / of if of else math.nan, limit if ours else math.nan
        return ScenarioRate(family, text, name, draws, of, value, asked, least)

    some = int(false.any(axis=1).sum())
    if kind == "none":
        yield rate("pages with a call where none differs", some, draws, ALPHA)
        return
    yield rate("pages with a false call", some, draws, math.nan)
    yield rate("false calls among calls", int(false.sum()), int(calls.sum()), ALPHA)
    if kind == "all":
        limit = LEAST_FOUND.get(seeds, math.nan)
        yield rate(f"true differences called, {seeds} seeds", int(right.sum()), right.size, limit, True)


def luck_rates(draws: int, rng: np.random.Generator, setting: tuple[int, bool]) -> list[ScenarioRate]:
    """Count false verdicts and flags with normal, or with skewed, luck of one init."""
    seeds, skewed = setting
    labels = np.arange(2000) < 1000
    good, normal = 0.85 + SKEW_SHARE * SKEW_LOSS, class_distance(0.85, 0.005)
    levels = np.array([class_distance(round(auc, 4), 0.005)[0] for auc in (good, good - SKEW_LOSS)])
    seen = np.zeros((draws, 3), dtype=bool)
    for draw in range(draws):
        apart = normal[0] + normal[1] * rng.standard_normal((2, seeds))
        failed = skewed & (rng.random(seeds) < SKEW_SHARE)
        if skewed:
            apart[1] += levels[failed.astype(int)] - normal[0]
        auc, influence = auc_influence(labels, draw_two_inits(rng, apart, labels))
        measured = paired_difference(auc[0] - auc[1], influence[0] - influence[1])
        seen[draw] = is_called(measured), seeds_are_uneven(auc), failed.any()
    wrong, flagged, fails = seen.T
    family, text = ("skewed luck" if skewed else "normal luck"), f"{seeds} seeds, sd .005"

    def rate(name: str, of: np.ndarray, among: np.ndarray, limit: float = math.nan) -> ScenarioRate:
        count = int(among.sum())
        value = float(of[among].mean()) if count else math.nan
        least = math.isnan(limit)
        return ScenarioRate(family, text, name, draws, count, value, limit, least, promised=not skewed)

    every = np.ones(draws, dtype=bool)
    found = [rate("false better/worse", wrong, every, ALPHA)]
    if not skewed:
        return [*found, rate("uneven-seeds raised", flagged, every, ALPHA)]
    return [
        *found,
        rate("false better/worse without the flag", wrong & ~flagged, every, ALPHA),
        rate("uneven-seeds raised where a training failed", flagged, fails),
    ]


def structure_rates(draws: int, rng: np.random.Generator, setting: tuple[str, int]) -> list[ScenarioRate]:
    """Count false verdicts with images in groups, several classes, or several labels per image."""
    kind, seeds = setting
    called = same = covered = 0
    for _ in range(draws):
        for difference in (0.0, MARGIN):
            measured = _draw_structured(rng, kind, seeds, difference)
            covered += abs(measured.difference - difference) <= measured.half_width()
            if difference:
                same += is_equivalent(measured)
            else:
                called += is_called(measured)
    text = f"{seeds} seeds, sd .005"
    return [
        ScenarioRate(kind, text, "false better/worse", draws, draws, called / draws, ALPHA),
        ScenarioRate(kind, text, "false equivalent at the margin", draws, draws, same / draws, ALPHA),
        ScenarioRate(kind, text, "coverage", draws, 2 * draws, covered / (2 * draws), 0.93, at_least=True),
    ]


def _draw_structured(rng: np.random.Generator, kind: str, seeds: int, difference: float) -> PairedDifference:
    apart = draw_distances(rng, (0.88, 0.88 - difference), seeds, 0.005)
    if kind == "groups":  # 150 patients of 4 images, of one class and with a deviate of their own
        groups = np.repeat(np.arange(150), 4)
        labels = groups < 60
        image = np.sqrt(0.5) * (rng.standard_normal(150)[groups] + rng.standard_normal(600))
        auc, influence = auc_influence(labels, draw_two_inits(rng, apart, labels, image))
        influence = sum_within_groups(influence, groups, labels[:, None])
    else:
        columns = 5
        labels = np.arange(600)[:, None] % columns == np.arange(columns)
        if kind == "several labels":
            common = rng.standard_normal((600, 1))  # findings occur together
            labels = 0.6 * common + 0.8 * rng.standard_normal((600, columns)) > 1.0
        shared = rng.standard_normal(600)
        scores = np.stack(
            [draw_two_inits(rng, apart, column, shared) for column in labels.T], axis=-1
        )  # [2, seeds, n, columns]
        auc, influence = macro_auc_influence(labels, scores)
    return paired_difference(auc[0] - auc[1], influence[0] - influence[1])


def ceiling_rates(
    draws: int, rng: np.random.Generator, setting: tuple[int, float, tuple[int, float], float]
) -> list[ScenarioRate]:
    """Count false verdicts near a perfect score, where equivalence has a stricter level."""
    seeds, auc, (images, prevalence), seed_sd = setting
    promised = auc <= 0.995 or seed_sd <= 0.01  # beyond, nearly all of the spread is from rare failures
    seed = int(rng.integers(2**31))
    found = []
    for difference, name in ((0.0, "false better/worse"), (-MARGIN, "false equivalent at the margin")):
        rates = error_rates(SimulatedTruth(seeds, images, prevalence, auc, difference, seed_sd), draws, seed)
        value = rates.wrong if difference == 0 else rates.wrong_equivalent
        family = "ceiling" if promised else "ceiling, rare failures"
        text = f"AUC {auc:g}, sd {seed_sd:g}, {seeds} seeds, {images:,} images, {prevalence:g} positive"
        found.append(ScenarioRate(family, text, name, draws, draws, value, ALPHA, promised=promised))
        if difference == 0:
            name, value = "equivalent found", rates.equivalent
            found.append(ScenarioRate(family, text, name, draws, draws, value, at_least=True))
    return found


def tuning_rates(draws: int, rng: np.random.Generator, setting: tuple[str, int, int]) -> list[ScenarioRate]:
    """Count false verdicts between equal inits whose learning rate is chosen on validation images.

    All seeds share these images and what an init finds difficult in them; so do its rates, or each has its
    own difficult images (the worst case: then all seeds tend to the same wrong rate).
    """
    who, seeds, validation = setting
    rates = len(RATE_AUCS) if who == UNLIKE_RATES else 1
    labels, seen = np.arange(2000) < 1000, np.arange(validation) < validation // 2
    wrong = 0
    for _ in range(draws):
        distances = np.stack([draw_distances(rng, (auc, auc), seeds, 0.005) for auc in RATE_AUCS])
        common = np.sqrt(IMAGE) * rng.standard_normal((rates, 1, 1, validation))
        common = common + np.sqrt(OWN) * rng.standard_normal((rates, 2, 1, validation))
        noise = np.sqrt(NOISE) * rng.standard_normal((*distances.shape, validation))
        auc = auc_influence(seen, common + noise + distances[..., None] * seen)[0]  # [rates, 2, seeds]
        best = auc.argmax(axis=0)
        if who == "seed 0":
            best = np.broadcast_to(best[:, :1], best.shape)
        chosen = np.take_along_axis(distances, best[None], 0)[0]
        wrong += is_called(measure_scores(labels, draw_two_inits(rng, chosen, labels)))
    text = f"tuned by {who}, {validation} validation images, {seeds} seeds"
    promised = who == "every seed"
    name = "false better/worse, tuned by " + who
    return [ScenarioRate("tuning", text, name, draws, draws, wrong / draws, ALPHA, promised=promised)]


def pool_rates(draws: int, rng: np.random.Generator, setting: tuple[str, int, int]) -> list[ScenarioRate]:
    """Count false verdicts about learners that are equally good over training sets of one size.

    Ridge regression on 30 features of an image, of which each init sees its own noisy version: with a new
    training set the better of the two changes. Seeds draw a starting point that stays in the weights.
    """
    which, seeds, pool = setting
    size, n, features = 2000, pool, 30
    wrong = 0
    for _ in range(draws):
        truth = np.arange(n + size) % 2 * 2.0 - 1
        signal = truth[:, None] * (rng.standard_normal(features) * 0.25)
        image = rng.standard_normal((n + size, features))
        labels = truth[n:] > 0
        scores = np.empty((2, seeds, size))
        rows = [rng.integers(n, size=n) if which == "resampled" else np.arange(n) for _ in range(seeds)]
        for init in range(2):
            seen = signal + np.sqrt(0.5) * (image + rng.standard_normal(image.shape))
            for seed, chosen in enumerate(rows):
                start = 0.01 * rng.standard_normal(features)
                x, y = seen[chosen], truth[chosen]
                weight = np.linalg.solve(x.T @ x + 10 * np.eye(features), x.T @ y + 10 * start)
                scores[init, seed] = seen[n:] @ weight
        wrong += is_called(measure_scores(labels, scores))
    text = f"{pool} labels, {which}, {seeds} seeds"
    name = f"false better/worse about other training sets, {which}"
    return [ScenarioRate("training sets", text, name, draws, draws, wrong / draws, ALPHA, promised=False)]


def fold_rates(draws: int, rng: np.random.Generator, setting: tuple[str, int, int]) -> list[ScenarioRate]:
    """Count the calls of cross-validated learners, of which the third is worse, by three methods."""
    kind, pool, repeats = setting
    called = {"": np.zeros(2), ", uncorrected": np.zeros(2), ", Nadeau-Bengio": np.zeros(2)}
    for _ in range(draws):
        drawn = simulate_folds(rng, kind, pool, repeats)
        for place in (0, 1):
            measured = drawn.measure(place + 1)
            called[""][place] += is_called(measured)
            called[", uncorrected"][place] += is_called(drawn.measure(place + 1, corrected=False))
            reach = drawn.resampled_t_half_width(place + 1)
            called[", Nadeau-Bengio"][place] += abs(measured.difference) > reach
    text = f"{kind}, {pool} in the pool, {repeats} repeats"
    found = []
    for method, (false, true) in called.items():
        family, limit = f"cross-validation{method}", math.nan if method else ALPHA
        found.append(ScenarioRate(family, text, "false better/worse", draws, draws, false / draws, limit))
        name = f"true differences called, {kind}"
        found.append(ScenarioRate(family, text, name, draws, draws, true / draws, at_least=True))
    return found


def saving_rates(
    draws: int, rng: np.random.Generator, setting: tuple[tuple[float, ...], float, float]
) -> list[ScenarioRate]:
    """Count intervals of labels saved that hold the truth, between the budgets of a power law."""
    shares, scale, power = setting
    factor, images, seeds = 3.3, 2000, 5
    labels = np.array([round(546 * share) for share in shares], dtype=np.float64)
    curves = 0.92 - scale * np.array([labels, factor * labels]) ** -power
    parts = np.array([[class_distance(round(float(auc), 4), 0.005) for auc in curve] for curve in curves])
    positive = np.arange(images) < 800
    inside = 0
    for _ in range(draws):
        apart = parts[..., 0] + parts[..., 1] * rng.standard_normal((seeds, 2, len(labels)))
        scores = (
            np.sqrt(IMAGE) * rng.standard_normal(images)
            + np.sqrt(OWN) * rng.standard_normal((2, 1, images))
            + np.sqrt(NOISE) * rng.standard_normal((seeds, 2, len(labels), images))
            + apart[..., None] * positive
        )
        auc, influence = auc_influence(positive, scores)
        last = labels_saved(labels, auc, influence.mean(axis=0), rng, draws=400)[-1]
        inside += last.low <= 546 / factor <= last.high
    budgets = ", ".join(f"{share:.2g}" for share in shares)
    text = f"fractions {budgets}, 0.92 - {scale:g} n^-{power:g}"
    limit = LEAST_LABELS_COVERAGE
    return [
        ScenarioRate("labels saved", text, "coverage", draws, draws, inside / draws, limit, at_least=True)
    ]


Scenario = tuple[Callable[..., list[ScenarioRate]], tuple[object, ...]]


def scenario_cells() -> list[Scenario]:
    """Return all scenarios with their settings."""
    cells: list[Scenario] = []
    cells += [(page_rates, each) for each in itertools.product((3, 5), (0.3, 0.8), PAGE_KINDS)]
    cells += [(luck_rates, each) for each in itertools.product((3, 5, 10), (False, True))]
    kinds = ("groups", "several classes", "several labels")
    cells += [(structure_rates, each) for each in itertools.product(kinds, (3, 5))]
    sets = ((600, 0.5), (2000, 0.5), (2000, 0.1))
    cells += [
        (ceiling_rates, each)
        for each in itertools.product((3, 10), (0.995, 0.998), sets, (0.002, 0.01, 0.03))
    ]
    who = ("seed 0", "every seed", UNLIKE_RATES)
    cells += [(tuning_rates, each) for each in itertools.product(who, (3, 10), (78, 500))]
    cells += [(pool_rates, each) for each in itertools.product(("whole", "resampled"), (3, 5), (200, 546))]
    shares = ((0.1, 1.0), (0.1, 0.5, 1.0), (0.1, 0.25, 0.5, 1.0))
    curves = ((1.5, 0.8), (0.6, 0.5))
    cells += [(saving_rates, (each, *curve)) for each, curve in itertools.product(shares, curves)]
    cells += [(fold_rates, each) for each in itertools.product(POOL_KINDS, (100, 200, 500), (3, 5))]
    return cells


def scenario_summary(found: Sequence[ScenarioRate]) -> list[tuple[str, str, int, float, str, float, str]]:
    """Return (family, rate, settings, worst value, its setting, limit, status) per family and rate."""
    groups: dict[tuple[str, str], list[ScenarioRate]] = {}
    for rate in found:
        if not math.isnan(rate.value):
            groups.setdefault((rate.family, rate.name), []).append(rate)
    lines = []
    for (family, name), rates in groups.items():
        pick = min if any(rate.at_least for rate in rates) else max
        worst = pick(rates, key=lambda rate: rate.value)
        status = next((rate.status for rate in rates if not rate.holds), worst.status)
        lines.append((family, name, len(rates), worst.value, worst.setting, worst.limit, status))
    return lines


def run_scenarios(
    draws: int, jobs: int, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[ScenarioRate]:
    """Simulate every scenario.

    Args:
        draws: number of experiments, or pages, per scenario.
        jobs: number of processes.
        on_progress: called with (done, total) after every scenario.
    """
    cells = scenario_cells()
    tasks = [(cell, draws, place) for place, cell in enumerate(cells)]
    found: list[ScenarioRate] = []
    for done, rates in enumerate(_map_cells(tasks, jobs), start=1):
        found += rates
        on_progress(done, len(cells))
    return found


def _map_cells(tasks: Sequence[tuple[Scenario, int, int]], jobs: int) -> Iterator[list[ScenarioRate]]:
    if jobs <= 1:
        yield from map(_run_cell, tasks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(_run_cell, tasks)
        except BaseException:  # without this an interrupt waits for all remaining tasks
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_cell(task: tuple[Scenario, int, int]) -> list[ScenarioRate]:
    (simulate, setting), draws, place = task
    return simulate(draws, np.random.default_rng([7, place]), setting)
