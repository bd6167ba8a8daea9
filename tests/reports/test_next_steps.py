"""Next steps: options that `run` knows, one number of seeds for the whole run, no seeds in vain."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.cli import options
from mednet_bench.reports.analysis.flags import DoubtFlag
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.analysis.verdicts import UNDECIDED, compute_verdicts
from mednet_bench.reports.answers.by_modality import by_modality_answer
from mednet_bench.reports.answers.data_quality import data_quality_answer
from mednet_bench.reports.answers.next_steps import (
    NextStep,
    more_seeds,
    next_answer,
    next_steps,
    widen_grid,
)
from mednet_bench.reports.sections.verdict_section import verdict_section


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ReportInput:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, Grid(tasks=("breastmnist", "phantom-thorax"), seeds=(0, 1, 2, 3)))
    return load_report_input([folder])


def test_next_steps_name_options_that_run_knows(results: ReportInput):
    known = {name for group in options.run_options().values() for option in group for name in option.opts}
    steps = next_steps(results, compute_verdicts(results))
    asked = {word for step in steps for word in step.options.split() if word.startswith("--")}
    assert {"--seeds", "--lr-grid"} <= asked <= known


def seeds_step(results: ReportInput, *needed: float, flags: tuple[DoubtFlag, ...] = ()) -> list[NextStep]:
    """Return the step on seeds where the first real comparisons need so many."""
    real = [replace(v, verdict=UNDECIDED, flags=flags) for v in compute_verdicts(results) if not v.generated]
    asked = [replace(v, seeds_needed=n) for v, n in zip(real, needed, strict=False)]
    return [
        step for step in next_steps(results, asked) if "seeds" in step.gain and "No number" not in step.gain
    ]


def test_seeds_are_advised_once_for_all_inits_and_tasks(results: ReportInput):
    (step,) = seeds_step(results, 7, 12, 900, 21, 3)  # with 3 of the 4 that there are, more are no cure
    assert step.gain == "Run all inits and tasks with 12 seeds instead of 4"
    assert step.more.startswith("2 undecided comparisons would then be settled, each with about 80")
    assert "one new look" in step.more
    assert "2 others would need 21 to 900 seeds" in step.more
    assert next_answer([step], ()).sentence.startswith(f"{step.gain}: --seeds 0..11. 2 undecided")


def test_seeds_of_a_run_with_repeats_are_advised_as_repeats(results: ReportInput):
    assert results.plan
    plan = msgspec.structs.replace(results.plan, request={**results.plan.request, "repeats": 2})
    (step,) = seeds_step(replace(results, plan=plan), 7)
    assert step.options == "--seeds 0..6 --repeats 7"


def test_seeds_that_only_some_have_are_advised_for_all_and_no_more_of_them(results: ReportInput):
    one = next(v for v in compute_verdicts(results) if not v.generated)
    lacking = replace(one, verdict=UNDECIDED, flags=(), seeds=(0, 1, 2), seeds_needed=4)
    (step,) = [step for step in next_steps(results, [lacking]) if "--seeds" in step.options]
    assert (step.gain, step.options) == ("Run all inits and tasks with the same 4 seeds", "--seeds 0..3")


def test_no_seeds_are_advised_where_too_many_are_needed_or_seeds_change_nothing(results: ReportInput):
    (step,) = seeds_step(results, 21, 900)
    assert step.options == "" and "2 comparisons would need 21 to 900 seeds" in step.gain
    assert seeds_step(results, 7, 12, flags=(DoubtFlag("fixed-models", "two trained models only"),)) == []
    assert seeds_step(results, math.inf, 2) == []


def test_gaps_come_before_everything_else(tmp_path: Path):
    grid = Grid(
        tasks=("breastmnist",),
        fail=lambda cell: cell.step == "score" and cell.init == "scratch" and cell.seed == 2,
        skip=lambda cell: cell.step == "score" and cell.init == "mednet" and cell.seed == 1,
    )
    write_run(tmp_path, grid)
    lost = load_report_input([tmp_path])
    first = next_steps(lost, compute_verdicts(lost))[0]
    assert first.gain == "3 cells failed and 3 planned cells have no result: run the same command again"


def rewritten(folder: Path, change: Callable[[Record, RecordStore], Record]) -> ReportInput:
    """Invent a run of one small grid, then change what its score cells left."""
    store = RecordStore(folder)
    for record in write_run(folder, Grid(tasks=("retinamnist",), fractions=(0.1, 1.0), seeds=(0, 1))):
        if record.cell.step == "score":
            store.path(record.key).write_bytes(msgspec.json.encode(change(record, store)))
    return load_report_input([folder])


def of_few_images(record: Record, store: RecordStore) -> Record:
    """Keep four test images of each class."""
    with np.load(store.predictions_of(record.key)) as held:
        labels, scores = held["labels"], held["scores"]
    kept = np.concatenate([np.flatnonzero(labels == side)[:4] for side in (0, 1)])
    np.savez(store.predictions_of(record.key), labels=labels[kept], scores=scores[kept])
    auc = float(roc_auc_score(labels[kept], scores[kept, 1]))
    return msgspec.structs.replace(record, metrics={**record.metrics, "auc": auc})


def without_score(record: Record, store: RecordStore) -> Record:
    why = {"auc": "class 1 has no test image"}
    return msgspec.structs.replace(record, metrics={**record.metrics, "auc": None}, undefined=why)


def test_where_no_score_is_defined_nothing_is_said_to_have_its_verdict(tmp_path: Path):
    undefined = rewritten(tmp_path, without_score)
    verdicts = compute_verdicts(undefined)
    steps = next_steps(undefined, verdicts)
    (step,) = [step for step in steps if "can have no verdict" in step.gain]
    assert step.gain.startswith("6 comparisons") and "AUC is undefined" in step.gain
    assert not any("grid" in step.options for step in steps)
    for sentence in (next_answer(steps, verdicts).sentence, next_answer((), verdicts).sentence):
        assert "every comparison has its verdict" not in sentence
    assert "6 undecided comparisons" in next_answer((), verdicts).sentence
    assert "every comparison has its verdict" in next_answer((), ()).sentence
    trusted, reached = data_quality_answer(undefined).sentence, by_modality_answer(undefined, verdicts)
    assert trusted.startswith("No comparison here can have a verdict (no-evidence). ")
    assert "undefined scores" in trusted and "no doubt" not in trusted
    assert reached and reached.sentence.startswith(
        "mednet against scratch: none of 2 comparisons can have a verdict"
    )


def test_a_few_test_images_carry_no_advice_on_grids_and_no_impossible_numbers(tmp_path: Path):
    few = rewritten(tmp_path, of_few_images)
    verdicts = compute_verdicts(few)
    assert all(verdict.has("few-test", "no-evidence") for verdict in verdicts)
    assert any(choice.at_edge for record in few.counted for choice in record.choices)
    steps = next_steps(few, verdicts)
    assert not any(word in step.options for step in steps for word in ("grid", "--steps"))
    measured = [verdict for verdict in verdicts if not verdict.barred]
    assert any(math.isinf(verdict.mde) for verdict in measured)
    assert all(verdict.mde <= 1 or math.isinf(verdict.mde) for verdict in measured)
    assert all(-1 <= end <= 1 for verdict in measured for end in verdict.interval)
    section = verdict_section(few)
    assert section and "no difference" in str(section.parts)
    assert "fewer than 10 test images of a class" in data_quality_answer(few).sentence


def test_seeds_and_grids_are_written_as_the_command_line_reads_them():
    from mednet_bench.benchmark.schema.request import parse_seeds, seed_list

    assert seed_list(more_seeds((0, 1, 2), 7)) == "0..6"
    assert seed_list(more_seeds((5, 9), 4)) == "0..1,5,9"
    assert parse_seeds(seed_list(more_seeds((5, 9), 4))) == [0, 1, 5, 9]
    assert more_seeds((0, 1, 2), 2) == [0, 1, 2]
    assert widen_grid((0.1, 1.0, 10.0), below=True, above=False) == [0.01, 0.1, 1.0, 10.0]
    assert widen_grid((0.001, 0.003), below=False, above=True) == [0.001, 0.003, 0.009]
    assert widen_grid((1, 5, 20), below=True, above=True, whole=True) == [1, 5, 20, 80]
