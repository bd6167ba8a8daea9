"""Ranks, marks and judgments follow the direction that a plug-in declares for its metric."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import MetricFacts, RecordStore
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.aggregate import rank_inits
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.pages.board import BoardRequest, choose_rows_shown, leaderboard_board
from mednet_bench.reports.regression.compare import comparison_markdown
from mednet_bench.reports.regression.regress import regression_outcome, update_baseline
from mednet_bench.reports.sections.leaderboard import best_rows, leaderboard_section

ERROR = MetricFacts(title="Missed", help="share of lesions missed", lower_is_better=True, low=0, high=1)
TASKS = ("breastmnist", "pneumoniamnist", "retinamnist", "bloodmnist", "dermamnist")
VALUES = {"mednet": 0.3, "imagenet": 0.2, "scratch": 0.6}
replace = msgspec.structs.replace


def write(folder: Path, values: Mapping[str, float] = VALUES, facts: MetricFacts | None = ERROR) -> Path:
    """Write a run whose records have the metric `missed`."""
    store = RecordStore(folder)
    for record in write_run(folder, Grid(tasks=TASKS, fractions=(1.0,))):
        if record.metrics and record.cell.step == "score":
            jitter = 0.001 * record.cell.seed
            metrics = {**record.metrics, "missed": values[record.cell.init] + jitter}
            known = {"missed": facts} if facts else {}
            store.write(replace(record, metrics=metrics, metric_facts=known))
    return folder


def marked(results: ReportInput) -> set[str]:
    return {row.init for row in best_rows(results.rows, "missed", results.metric_facts)}


def leading(folder: Path) -> ReportInput:
    return choose_rows_shown(load_report_input([folder]), BoardRequest(metric="missed"))


def test_the_best_is_the_lowest_where_lower_is_better(tmp_path: Path):
    results = leading(write(tmp_path))
    assert marked(results) == {"imagenet"}
    section = leaderboard_section(results)
    assert section and "Bold marks the lowest mean Missed" in section.parts[0].lead[0]
    table = next(block for part in section.parts for block in part.blocks)
    strong = {row[1].value for row in table.rows if any(getattr(entry, "strong", False) for entry in row)}
    assert strong == {"imagenet"}
    (column,) = [column for column in table.columns if column.title == "Missed"]
    assert column.help == "share of lesions missed, lower is better"
    board = BoardRequest(metric="missed")
    assert "Missed (lower is better)" in leaderboard_board([tmp_path], board, "markdown")
    unbroken = " ".join(leaderboard_board([tmp_path], board, "table").split())  # without line breaks
    assert "Missed (lower is better)" in unbroken


def test_ranks_and_the_critical_difference_follow(tmp_path: Path):
    (found,) = rank_inits(leading(write(tmp_path)))
    assert dict(zip(found.inits, found.ranks.mean, strict=True)) == {"imagenet": 1, "mednet": 2, "scratch": 3}
    best = found.inits[int(np.argmax(found.ranks.borda))]
    assert best == "imagenet"


def test_a_metric_without_facts_counts_as_higher_is_better(tmp_path: Path):
    results = leading(write(tmp_path, facts=None))
    assert marked(results) == {"scratch"} and results.sign == 1
    assert [row.stats["missed"].n for row in results.rows] == [3] * 15


@pytest.mark.parametrize("facts", [replace(ERROR, lower_is_better=None), "contradiction"])
def test_where_no_end_is_better_nothing_is_ranked_or_judged(tmp_path: Path, facts):
    known = ERROR if facts == "contradiction" else facts
    write(tmp_path, facts=known)
    if facts == "contradiction":
        store = RecordStore(tmp_path)
        record = next(r for r in store.read_all() if "missed" in r.metrics)
        store.write(replace(record, metric_facts={"missed": replace(ERROR, lower_is_better=False)}))
    results = leading(tmp_path)
    assert marked(results) == set() and results.sign == 0
    section = leaderboard_section(results)
    assert section and "Nothing is bold" in section.parts[0].lead[0]
    with pytest.raises(UserError, match="Neither end of missed is better"):
        update_baseline(tmp_path, tmp_path / "baseline.json", ["missed"])


def test_a_rise_of_an_error_is_a_fall(tmp_path: Path):
    baseline = tmp_path / "baseline.json"
    update_baseline(write(tmp_path / "before"), baseline, ["missed"])
    worse, red = regression_outcome(write(tmp_path / "worse", {**VALUES, "mednet": 0.42}), baseline)
    assert red and "mednet" in worse.split("<details>")[0] and "Missed (lower is better)" in worse
    better, red = regression_outcome(write(tmp_path / "better", {**VALUES, "mednet": 0.18}), baseline)
    assert not red and "Rose: consider --update." in better
    # records of a version that described nothing are read as the baseline says
    assert regression_outcome(write(tmp_path / "old", {**VALUES, "mednet": 0.42}, None), baseline)[1]
    with pytest.raises(UserError, match=r"which end of missed is better: .* --update"):
        regression_outcome(write(tmp_path / "other", facts=replace(ERROR, lower_is_better=False)), baseline)


def test_the_smallest_fall_that_counts_is_a_share_of_the_range(tmp_path: Path):
    """0.4 of 100 points is rounding, as 0.004 of an AUC is."""
    points = replace(ERROR, high=100.0)
    same = dict.fromkeys(VALUES, 50.0)
    update_baseline(write(tmp_path / "before", same, points), tmp_path / "points.json", ["missed"])
    moved = dict.fromkeys(VALUES, 50.4)
    assert not regression_outcome(write(tmp_path / "after", moved, points), tmp_path / "points.json")[1]
    far = write(tmp_path / "far", dict.fromkeys(VALUES, 51.0), points)
    assert regression_outcome(far, tmp_path / "points.json")[1]


def test_compare_says_which_end_is_better(tmp_path: Path):
    write(tmp_path / "a")
    text = comparison_markdown(tmp_path / "a", write(tmp_path / "b", {**VALUES, "scratch": 0.5}), "missed")
    assert text.startswith("# Test Missed (lower is better): B minus A")
