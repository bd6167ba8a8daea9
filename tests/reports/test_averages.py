"""Averages against values computed by hand, and records that must not be averaged together."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic import Grid, record_of, write_run

from mednet_bench.benchmark.schema.plan import Cell, Plan, PlannedCell, TrainingConfig
from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.verdicts import compute_verdicts
from mednet_bench.reports.pages.terminal import leaderboard_text
from mednet_bench.reports.sections.leaderboard import best_rows
from mednet_bench.reports.statistics.stats import describe_groups, describe_values

replace = msgspec.structs.replace


def one(key: str, auc: float | None, **cell: object) -> Record:
    """An ok record of breastmnist with scratch, seed 0, unless `cell` says otherwise."""
    base = Cell(task="breastmnist", size=28, input_size=28, arch="a", init="scratch", protocol="linear")
    record = record_of(replace(base, **cell), Grid())
    undefined = {"auc": "one class only"} if auc is None else {}
    return replace(record, key=key, metrics={"auc": auc, "accuracy": 0.5}, undefined=undefined)


def keep(folder: Path, *records: Record) -> Path:
    store = RecordStore(folder)
    for record in records:
        store.write(record)
    return folder


def test_mean_sd_and_n_are_those_computed_by_hand():
    # 0.80, 0.82, 0.87: mean 0.83, squares .0009 + .0001 + .0016 = .0026, sd sqrt(.0026 / 2) = 0.0360555
    stat = describe_values(np.array([0.80, 0.82, 0.87, np.nan]))
    assert stat.n == 3
    assert stat.mean == pytest.approx(0.83)
    assert stat.sd == pytest.approx(0.0360555, abs=1e-7)
    assert stat.band == pytest.approx((0.83 - 0.0360555, 0.83 + 0.0360555))


def test_groups_without_values_are_undefined_and_two_values_span_their_range():
    empty, single, pair = describe_groups(np.array([0.5, 0.1, 0.3, np.nan]), np.array([1, 2, 2, 0]), 3)
    assert (empty.n, single.n, pair.n) == (0, 1, 2)
    assert math.isnan(empty.mean) and math.isnan(single.sd) and not math.isnan(pair.sd)
    assert pair.band == (0.1, 0.3)


def test_every_seed_of_a_cell_goes_into_one_row(tmp_path: Path):
    keep(tmp_path, one("a", 0.80), one("b", 0.82, seed=1), one("c", 0.87, seed=2))
    (row,) = load_report_input([tmp_path]).rows
    assert row.seeds == (0, 1, 2) and row.keys == ("a", "b", "c")
    assert row.stats["auc"].mean == pytest.approx(0.83)
    assert row.stats["auc"].sd == pytest.approx(0.0360555, abs=1e-7)
    assert not row.ambiguous


def test_an_undefined_metric_is_left_out_of_mean_and_n_and_of_nothing_else(tmp_path: Path):
    results = load_report_input(
        [keep(tmp_path, one("a", 0.8), one("b", None, seed=1), one("c", 0.9, seed=2))]
    )
    (row,) = results.rows
    assert row.stats["auc"].n == 2 and row.stats["auc"].mean == pytest.approx(0.85)
    assert row.stats["accuracy"].n == 3
    assert "breastmnist: AUC undefined: one class only\n" in leaderboard_text(results)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, hashes=replace(r.hashes, data="sha256:other")),
        lambda r: replace(r, protocol_version=2),
        lambda r: replace(r, recipe_hash="other"),
        lambda r: replace(r, init=replace(r.init, identity="other weights")),
    ],
    ids=["data", "protocol version", "recipe", "weights"],
)
def test_records_that_differ_in_what_decides_them_are_never_averaged(tmp_path: Path, change):
    keep(tmp_path, one("a", 0.8), change(one("b", 0.9, seed=1)))
    rows = load_report_input([tmp_path]).rows
    assert sorted(row.stats["auc"].mean for row in rows) == [0.8, 0.9]
    assert all(row.ambiguous and row.stats["auc"].n == 1 for row in rows)
    assert len({row.variant for row in rows}) == 2


def test_inits_on_different_data_are_neither_compared_nor_subtracted(tmp_path: Path):
    other = one("b", 0.9, init="imagenet")
    other = replace(other, hashes=replace(other.hashes, data="x"))
    results = load_report_input([keep(tmp_path, one("a", 0.8), other)])
    assert best_rows(results.rows, "auc") == set()
    assert [verdict.barred.name for verdict in compute_verdicts(results)] == ["not-comparable"]
    assert all(row.ambiguous for row in results.rows)


def test_a_seed_that_occurs_twice_counts_once_and_the_later_record_holds(tmp_path: Path):
    late, early = one("a", 0.9), one("b", 0.1)
    late = replace(late, finished="2026-05-02T00:00:00Z")
    keep(tmp_path, late, replace(early, finished="2026-05-01T00:00:00Z"))
    results = load_report_input([tmp_path])
    assert [row.stats["auc"].mean for row in results.rows] == [0.9]
    assert results.repeated == {"breastmnist": 1}


def test_the_highest_mean_is_marked_within_a_block_only_and_never_alone(tmp_path: Path):
    keep(
        tmp_path,
        one("a", 0.8), one("b", 0.9, init="imagenet"),
        one("c", 0.7, task="retinamnist"),
        one("d", 0.5, task="bloodmnist"), one("e", 0.5, task="bloodmnist", init="imagenet"),
    )  # fmt: skip
    marked = best_rows(load_report_input([tmp_path]).rows, "auc")
    assert {(row.task, row.init) for row in marked} == {("breastmnist", "imagenet")}


def test_records_outside_the_plan_count_and_planned_cells_without_one_are_missing(tmp_path: Path):
    keep(tmp_path, one("old", 0.8), replace(one("bad", 0.1, seed=1), status="failed", error="no room"))
    cells = [one(key, 0.5, seed=seed).cell for seed, key in ((1, "bad"), (2, "waiting"), (3, "never"))]
    planned = (
        PlannedCell(cell=cells[0], key="bad"),
        PlannedCell(cell=cells[1], key="waiting", needs=("bad",)),
        PlannedCell(cell=cells[2], key="never"),
    )
    Plan(request={}, recipe=TrainingConfig(), cells=planned).write(tmp_path)
    results = load_report_input([tmp_path])
    assert [row.keys for row in results.rows] == [("old",)]
    assert [record.error for record in results.failed] == ["no room"]
    reasons = [item.reason for item in results.missing]
    assert reasons == ["failed", "a step that it needs failed", "not run yet"]


def test_a_failure_that_another_record_made_good_is_no_failure(tmp_path: Path):
    keep(tmp_path, replace(one("a", 0.1), status="failed", error="no room"), one("b", 0.8))
    assert load_report_input([tmp_path]).failed == ()


def test_an_unreadable_record_is_named_and_the_others_count(tmp_path: Path):
    keep(tmp_path, one("a", 0.8))
    (tmp_path / "records" / "cut.json").write_text('{"key": "cu')
    results = load_report_input([tmp_path])
    assert [path.name for path in results.unreadable] == ["cut.json"] and len(results.rows) == 1


@pytest.mark.parametrize("made", ["nothing", "empty", "plan", "broken"])
def test_a_folder_without_any_record_gives_one_sentence_with_its_cure(tmp_path: Path, made: str):
    folder = tmp_path / "run"
    if made != "nothing":
        (folder / "records").mkdir(parents=True)
    if made == "plan":
        Plan(request={}, recipe=TrainingConfig(), cells=()).write(folder)
    if made == "broken":
        (folder / "records" / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"run"):
        load_report_input([folder])


def test_rows_are_in_the_order_of_the_plan(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("retinamnist", "breastmnist"), inits=("scratch", "imagenet")))
    rows = load_report_input([tmp_path]).rows
    assert list(dict.fromkeys(row.task for row in rows)) == ["retinamnist", "breastmnist"]
    assert list(dict.fromkeys(row.init for row in rows)) == ["scratch", "imagenet"]
