"""Score against pretraining images: power laws with known truth, and what a report makes of them."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import synthetic
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.records import InitFacts
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.pretraining_size import family_of, size_curves, sized_inits
from mednet_bench.reports.answers.pretraining_images import needed_interval, needed_sentence
from mednet_bench.reports.elements.section import SectionContent, Table
from mednet_bench.reports.sections.pretraining_images import pretraining_images_section
from mednet_bench.reports.statistics.power_law import PowerLaw, SizeNeeded, extrapolation_problem

FIVE = np.array([1000.0, 2000, 4000, 8000, 16000])
SEVEN = np.array([500.0, 1000, 2000, 4000, 8000, 16000, 32000])


def law_at(sizes: np.ndarray, exponent: float, limit: float = 0.9, rise: float = 0.15) -> np.ndarray:
    """Return a power law that starts `rise` below its limit, with 1,000 images."""
    return limit - rise * (sizes / 1000) ** -exponent


def test_an_exact_curve_gives_its_parameters() -> None:
    law = PowerLaw(FIVE, law_at(FIVE, 0.5))
    assert law.exponent == pytest.approx(0.5, rel=0.01) and law.limit == pytest.approx(0.9, abs=1e-3)
    assert law.exponent_interval[0] <= 0.5 <= law.exponent_interval[1] < 0.53
    assert law.at(np.array([160_000.0]))[0] == pytest.approx(law_at(np.array([160_000.0]), 0.5)[0], abs=1e-3)
    needed = law.reaches(float(law_at(np.array([50_000.0]), 0.5)[0]))
    assert needed.estimate == pytest.approx(50_000, rel=0.05)
    assert needed.low <= 52_000 and needed.high >= 48_000


@pytest.mark.parametrize("sizes", [FIVE, SEVEN], ids=["five sizes", "seven sizes"])
@pytest.mark.parametrize("exponent", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("noise", [0.0005, 0.002, 0.006])
def test_intervals_hold_the_truth_in_nine_of_ten_simulations(
    sizes: np.ndarray, exponent: float, noise: float
) -> None:
    rng = np.random.default_rng(1)
    far, target = sizes[-1:] * 10, sizes[-1:] * 6
    hits = np.zeros(3)
    for _ in range(150):
        law = PowerLaw(sizes, law_at(sizes, exponent) + rng.normal(0, noise, len(sizes)))
        low, high = law.exponent_interval
        ends = law.interval(far, further=True)
        needed = law.reaches(float(law_at(target, exponent)[0]))
        further = law_at(far, exponent)[0] + rng.normal(0, noise)
        near = 1.03  # step of the sizes that are tried
        hits += (
            low <= exponent <= high,
            ends[0][0] <= further <= ends[1][0],
            needed.low <= target[0] * near and target[0] <= needed.high * near,
        )
    assert (hits / 150).min() >= 0.9


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.01])
def test_a_flat_curve_and_noise_alone_cannot_be_extrapolated(noise: float) -> None:
    rng = np.random.default_rng(2)
    problems = [extrapolation_problem(FIVE, 0.8 + rng.normal(0, noise, 5)) for _ in range(200)]
    assert np.mean([bool(problem) for problem in problems]) >= 0.98
    assert any("no rise" in problem for problem in problems)


def test_a_falling_curve_and_four_sizes_cannot_be_extrapolated() -> None:
    assert "no rise" in extrapolation_problem(FIVE, 1 - law_at(FIVE, 0.5))
    assert "needs 5 numbers of images, not 4" in extrapolation_problem(FIVE[:4], law_at(FIVE[:4], 0.5))
    twice = np.array([1000.0, 2000, 4000, 8000, 8000])
    assert "not 4" in extrapolation_problem(twice, law_at(twice, 0.5))


def test_a_clear_rise_can_be_extrapolated_and_a_noisy_one_cannot() -> None:
    rng = np.random.default_rng(3)
    clear = [extrapolation_problem(FIVE, law_at(FIVE, 0.5) + rng.normal(0, 0.001, 5)) for _ in range(100)]
    noisy = [extrapolation_problem(FIVE, law_at(FIVE, 0.2) + rng.normal(0, 0.02, 5)) for _ in range(100)]
    assert np.mean([bool(problem) for problem in clear]) <= 0.05
    assert np.mean([bool(problem) for problem in noisy]) >= 0.95


def test_an_error_that_all_scores_share_widens_only_where_another_score_is_met() -> None:
    law = PowerLaw(FIVE, law_at(FIVE, 0.5) + np.array([1, -2, 1, 1, -1]) * 5e-4)
    alone, shared = law.reaches(0.88), law.reaches(0.88, shift=0.005**2)
    assert shared.low < alone.low < alone.estimate == shared.estimate < alone.high < shared.high


def test_the_ends_of_the_search_are_bounds() -> None:
    law = PowerLaw(FIVE, law_at(FIVE, 0.5) + np.array([1, -2, 1, 1, -1]) * 1e-4)
    assert law.reaches(0.5) == SizeNeeded(1000, 1000, 1000)
    assert law.reaches(0.99) == SizeNeeded(math.inf, math.inf, math.inf)
    assert needed_interval(SizeNeeded(1000, 1000, 1000), 1000) == "\u2264\u00a01,000"
    assert needed_interval(SizeNeeded(math.inf, 25_321, math.inf), 1000) == "25,000 or more"
    assert needed_interval(SizeNeeded(60_000, 25_321, 1_234_567), 1000) == "25,000 to 1,200,000"


IMAGES = {"mednet@1000": 1000, "mednet@2000": 2000, "mednet@4000": 4000, "mednet@8000": 8000, "mednet": 16000}
TASKS = ("breastmnist", "pneumoniamnist", "retinamnist")


@pytest.fixture
def curved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scores of the invented records follow a power law that meets ImageNet at 64,000 images."""
    facts = synthetic._init_facts

    def expected(cell: Cell, rng: np.random.Generator) -> float:
        images = IMAGES.get(cell.init, 64_000 if cell.init == "imagenet" else 250)
        return float(law_at(np.array([float(images)]), 0.5, rise=0.3)[0] - 0.1)

    def init_facts(cell: Cell) -> InitFacts:
        return msgspec.structs.replace(facts(cell), pretraining_images=IMAGES.get(cell.init, 0))

    monkeypatch.setattr(synthetic, "_expected_auc", expected)
    monkeypatch.setattr(synthetic, "_init_facts", init_facts)


def run_of(folder: Path, inits: Sequence[str] = (*IMAGES, "imagenet", "scratch"), **facts: object) -> Path:
    grid = Grid(tasks=TASKS, inits=tuple(inits), protocols=("linear",), fractions=(1.0,), **facts)  # type: ignore[arg-type]
    write_run(folder, grid)
    return folder


def tables(section: SectionContent | None) -> list[Table]:
    assert section is not None
    return [block for part in section.parts for block in part.blocks if isinstance(block, Table)]


def test_a_report_has_a_curve_for_each_task_and_their_mean(curved: None, tmp_path: Path) -> None:
    results = load_report_input([run_of(tmp_path)])
    curves = size_curves(results)
    assert [curve.task for curve in curves] == ["", *TASKS]
    for curve in curves:
        assert curve.inits == tuple(IMAGES) and [p.images for p in curve.points] == [*IMAGES.values()]
        assert curve.points[0].gap == pytest.approx(curve.points[0].score - curve.reference)
        assert curve.points[0].gap_interval[0] < curve.points[0].gap < curve.points[0].gap_interval[1]
    mean, first = curves[0], curves[1]
    assert first.points[0].interval[0] < first.points[0].score < first.points[0].interval[1]
    assert mean.points[2].score == pytest.approx(np.mean([curve.points[2].score for curve in curves[1:]]))
    assert all((curve.law is None) == (curve.needed is None) == bool(curve.problem) for curve in curves)
    section = pretraining_images_section(results)
    fits, scores, *_ = tables(section)
    assert len(fits.rows) == 4 and len(scores.rows) == 4 * len(IMAGES)
    assert section and section.answers and "gray corpus" in section.parts[1].title
    assert "mednet-bench sources plan gray" in section.parts[1].lead[0]


def test_without_imagenet_or_with_few_sizes_the_section_says_so(curved: None, tmp_path: Path) -> None:
    results = load_report_input([run_of(tmp_path, inits=("mednet@1000", "mednet@4000"))])
    curve = size_curves(results)[0]
    assert curve.law is None and curve.needed is None and math.isnan(curve.reference)
    assert "needs 5 numbers of images, not 2" in needed_sentence(curve)
    assert "cannot be extrapolated" in str(tables(pretraining_images_section(results))[0].rows[0])


def test_a_run_without_numbers_of_images_has_no_section(tmp_path: Path) -> None:
    results = load_report_input([run_of(tmp_path, inits=("mednet", "imagenet", "scratch"))])
    assert pretraining_images_section(results) is None


def test_families_are_read_from_names() -> None:
    assert [family_of(name) for name in ("mednet@4000", "mednet", "meanvar:mednet@4000")] == [
        "mednet"
    ] * 2 + [""]
    assert sized_inits(["mednet@1000", "mednet", "continued@1000"]) == {"mednet@1000"}
