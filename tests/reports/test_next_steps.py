"""What to run next: options that `run` knows, one number of seeds for the whole run, no seeds in vain."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Grid, write_run

from mednet_bench.benchmark import options
from mednet_bench.reports.findings.flags import Flag
from mednet_bench.reports.findings.reading import read
from mednet_bench.reports.findings.results import Results
from mednet_bench.reports.findings.verdicts import CANNOT_TELL, judge
from mednet_bench.reports.sections.next_steps import (
    Next,
    more_seeds,
    next_answer,
    next_steps,
    wider,
    written,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, Grid(tasks=("breastmnist", "phantom-thorax"), seeds=(0, 1, 2, 3)))
    return read([folder])


def test_what_to_run_next_names_options_that_run_knows(results: Results):
    known = {name for option in [*options.selection(), *options.recipe()] for name in option.opts}
    steps = next_steps(results, judge(results))
    asked = {word for step in steps for word in step.options.split() if word.startswith("--")}
    assert {"--seeds", "--lr-grid"} <= asked <= known


def seeds_step(results: Results, *needed: float, flags: tuple[Flag, ...] = ()) -> list[Next]:
    """Ask what to run next where the first real comparisons would need so many seeds."""
    real = [replace(v, verdict=CANNOT_TELL, flags=flags) for v in judge(results) if not v.generated]
    asked = [replace(v, seeds_needed=n) for v, n in zip(real, needed, strict=False)]
    return [
        step for step in next_steps(results, asked) if "seeds" in step.gain and "No number" not in step.gain
    ]


def test_seeds_are_advised_once_for_all_inits_and_tasks(results: Results):
    (step,) = seeds_step(results, 7, 12, 900, 21, 3)  # with 3 of the 4 that there are, more are no cure
    assert step.gain == "Run all inits and tasks with 12 seeds instead of 4"
    assert (
        step.more.startswith(
            "2 comparisons that cannot be told yet would then be settled, each with about 80"
        )
        and "one new look" in step.more
    )
    assert "2 others would need 21 to 900 seeds" in step.more
    assert next_answer([step]).sentence.startswith(f"{step.gain}: --seeds 0..11. 2 comparisons")


def test_no_seeds_are_advised_where_too_many_are_needed_or_seeds_change_nothing(results: Results):
    (step,) = seeds_step(results, 21, 900)
    assert step.options == "" and "2 comparisons would need 21 to 900 seeds" in step.gain
    assert seeds_step(results, 7, 12, flags=(Flag("fixed-models", "two trained models only"),)) == []
    assert seeds_step(results, math.inf, 2) == []


def test_gaps_come_before_everything_else(tmp_path: Path):
    grid = Grid(
        tasks=("breastmnist",),
        fail=lambda cell: cell.step == "score" and cell.init == "scratch" and cell.seed == 2,
        skip=lambda cell: cell.step == "score" and cell.init == "mednet" and cell.seed == 1,
    )
    write_run(tmp_path, grid)
    lost = read([tmp_path])
    first = next_steps(lost, judge(lost))[0]
    assert first.gain == "3 cells failed and 3 planned cells have no result: run the same command again"


def test_seeds_and_grids_are_written_as_the_command_line_reads_them():
    from mednet_bench.benchmark.request import seeds

    assert written(more_seeds((0, 1, 2), 7)) == "0..6"
    assert written(more_seeds((5, 9), 4)) == "0..1,5,9"
    assert seeds(written(more_seeds((5, 9), 4))) == [0, 1, 5, 9]
    assert more_seeds((0, 1, 2), 2) == [0, 1, 2]
    assert wider((0.1, 1.0, 10.0), below=True, above=False) == [0.01, 0.1, 1.0, 10.0]
    assert wider((0.001, 0.003), below=False, above=True) == [0.001, 0.003, 0.009]
    assert wider((1, 5, 20), below=True, above=True, whole=True) == [1, 5, 20, 80]
