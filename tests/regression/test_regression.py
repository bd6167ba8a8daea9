"""Stored baseline on real MedMNIST data: green as it is, red when images reach the network wrongly.

`make regress` judges the whole baseline, these tests fewer tasks and seeds.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from mednet_bench.baselines.init import InputSpec
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.regression.baseline import BaselineFile, read_baseline
from mednet_bench.reports.regression.judgment import REGRESSION_FLOOR, RowJudgment, check_regression

STORED = Path(__file__).parent / "medmnist-linear.json"
TASKS = "breastmnist,retinamnist"
RIGHT = InputSpec(interpolation="bicubic")
WRONG = {
    "channels swapped": InputSpec(interpolation="bicubic", channels="bgr"),
    # the images stay 0..1 where mean and std expect 0..255, the error in RadImageNet's released scripts
    "255 times too small": InputSpec(interpolation="bicubic", mean=(127.5,) * 3, std=(127.5,) * 3),
}
RERUNS, SEEDS_EACH = 20, 3

pytestmark = pytest.mark.slow

Run = Callable[..., Path]


@pytest.fixture(scope="module")
def stored() -> BaselineFile:
    return read_baseline(STORED)


def part(baseline: BaselineFile, folder: Path) -> list[RowJudgment]:
    """Judge the rows of a run; tolerances are sharper for fewer rows."""
    asked = {
        (record.cell.task, record.cell.init, record.cell.fraction)
        for record in RecordStore(folder).read_all()
        if record.cell.step == "score"
    }
    lines = tuple(line for line in baseline.lines if (line.task, line.init, line.fraction) in asked)
    assert len(lines) == len(asked) > 0
    return check_regression(msgspec.structs.replace(baseline, lines=lines), load_report_input([folder]))


def test_the_stored_baseline_covers_its_tasks_and_seeds(stored: BaselineFile):
    assert {line.task for line in stored.lines} == {"breastmnist", "pneumoniamnist", "retinamnist"}
    assert {line.init for line in stored.lines} == {"mednet", "imagenet", "scratch"}
    assert {line.protocol for line in stored.lines} == {"linear"}
    assert len(stored.lines) == 27 and all(line.n_seeds == 10 for line in stored.lines)
    assert not stored.dirty


def test_a_rerun_repeats_the_scores_of_its_seeds(stored: BaselineFile, run: Run):
    judgments = part(stored, run(TASKS, "imagenet,scratch", "0.1,0.5,1.0", "0..1"))
    assert [j for j in judgments if j.verdict != "held"] == []
    versions = "same labels and weights" if judgments[0].allowed == REGRESSION_FLOOR else "drawn anew"
    assert all(versions in j.why for j in judgments if j.line.init == "imagenet")


@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("seeds", ["0..1", "100..101"], ids=["same seeds", "other seeds"])
def test_images_that_reach_the_network_wrongly_make_it_red(
    stored: BaselineFile, run: Run, feed: Callable[[InputSpec], None], fault: str, seeds: str
):
    feed(WRONG[fault])
    judgments = part(stored, run("retinamnist", "imagenet", "0.5,1.0", seeds))
    assert [j.verdict for j in judgments if j.line.fraction == 1.0] == ["fell"], judgments


def test_the_injection_itself_changes_nothing(
    stored: BaselineFile, run: Run, feed: Callable[[InputSpec], None]
):
    feed(RIGHT)
    judgments = part(stored, run("retinamnist", "imagenet", "0.5,1.0", "0..1"))
    assert {j.verdict for j in judgments} == {"held"}


@pytest.mark.parametrize(("task", "fractions"), [("breastmnist", "0.1,0.5"), ("retinamnist", "0.1")])
def test_twenty_reruns_with_other_seeds_stay_green(
    stored: BaselineFile, run: Run, tmp_path: Path, task: str, fractions: str
):
    """Seeds do not affect each other, so that one long run is split into twenty."""
    last = 100 + RERUNS * SEEDS_EACH - 1
    whole = RecordStore(run(task, "imagenet", fractions, f"100..{last}"))
    for number in range(RERUNS):
        rerun, first = tmp_path / str(number), 100 + number * SEEDS_EACH
        for record in whole.read_all():
            if first <= record.cell.seed < first + SEEDS_EACH:
                RecordStore(rerun).write(record)
        judgments = part(stored, rerun)
        assert not [j for j in judgments if j.red], f"seeds from {first}"
        assert all(j.seeds == (10, SEEDS_EACH) for j in judgments)
