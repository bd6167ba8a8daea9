"""Several runs in one report: shared records count once, and incomparable rows are named."""

import shutil
from pathlib import Path

import msgspec
import pytest
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.elements.merged_rows import merged_notices
from mednet_bench.reports.pages.build import build_report

replace = msgspec.structs.replace
ONE = Grid(tasks=("breastmnist",), inits=("scratch",), protocols=("linear",), fractions=(1.0,), seeds=(0, 1))


def grid(**changes: object) -> Grid:
    return Grid(**{**vars(ONE), **changes})


def test_seeds_of_two_runs_are_averaged_and_a_record_in_both_counts_once(tmp_path: Path):
    write_run(tmp_path / "a", grid(predictions=True))
    write_run(tmp_path / "b", grid(seeds=(1, 2)))
    results = load_report_input([tmp_path / "a", tmp_path / "b", tmp_path / "a"])
    (row,) = results.rows
    assert row.seeds == (0, 1, 2) and not row.ambiguous
    assert results.folders == (tmp_path / "a", tmp_path / "b")
    assert len(results.records) == 3 and results.missing == () and results.repeated == {}
    text = " ".join(merged_notices(results))
    assert "2 runs were merged" in text and "1 record is in" in text and "cannot" not in text


def test_predictions_are_found_in_the_run_that_holds_them(tmp_path: Path):
    (first, *_) = write_run(tmp_path / "a", grid(predictions=True, seeds=(0,)))
    (second, *_) = write_run(tmp_path / "b", grid(predictions=False, seeds=(1,)))
    results = load_report_input([tmp_path / "b", tmp_path / "a"])
    assert results.predictions_of(first.key) == RecordStore(tmp_path / "a").predictions_of(first.key)
    assert results.predictions_of(second.key) is None, "there are none"
    assert results.predictions_of("unknown") is None


def test_of_two_records_of_one_cell_the_latest_finished_one_holds(tmp_path: Path):
    (record, _) = write_run(tmp_path / "a", ONE)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    later = replace(record, metrics={**record.metrics, "auc": 0.123}, finished="2027-01-01T00:00:00+00:00")
    RecordStore(tmp_path / "a").write(later)
    latest_of_all = replace(record, status="failed", error="no", finished="2028-01-01T00:00:00+00:00")
    write_run(tmp_path / "c", grid(seeds=(7,)))
    RecordStore(tmp_path / "c").write(latest_of_all)
    results = load_report_input([tmp_path / "c", tmp_path / "b", tmp_path / "a"])
    assert {r.metrics["auc"] for r in results.counted if r.cell.seed == 0} == {0.123}
    assert results.differing == (record.key,) and results.failed == ()
    assert "in 1 of them the scores differ" in " ".join(merged_notices(results))


def test_runs_that_share_nothing_comparable_are_named(tmp_path: Path):
    write_run(tmp_path / "a", ONE)
    write_run(tmp_path / "b", grid(data="other"))
    results = load_report_input([tmp_path / "a", tmp_path / "b"])
    assert len(results.rows) == 2 and all(row.ambiguous for row in results.rows)
    notices = " ".join(merged_notices(results))
    assert f"Nothing in {tmp_path / 'a'}, {tmp_path / 'b'} can be compared" in notices


def test_one_run_is_not_called_several(tmp_path: Path):
    write_run(tmp_path, ONE)
    assert merged_notices(load_report_input([tmp_path])) == []


def test_a_report_of_several_runs_needs_a_place_of_its_own(tmp_path: Path):
    for name in ("a", "b"):
        write_run(tmp_path / name, ONE)
    with pytest.raises(UserError, match="--to"):
        build_report([tmp_path / "a", tmp_path / "b"])
    built = build_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert "2 runs were merged" in built.html.read_text() and built.html.parent == tmp_path / "out"


def test_a_folder_without_records_among_several_is_named(tmp_path: Path):
    write_run(tmp_path / "a", ONE)
    with pytest.raises(UserError, match=r"no run directory .*nowhere"):
        load_report_input([tmp_path / "a", tmp_path / "nowhere"])
