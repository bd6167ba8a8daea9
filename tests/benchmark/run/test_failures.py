"""A failed cell is a record with its error; other cells are computed, a rerun retries it."""

from pathlib import Path

import pytest
from processes import (
    QUICK,
    SMALL,
    CommandLine,
    Ended,
    cells_in,
    planned_records,
    records_in,
    sentence,
    states,
    tally,
    wait_until,
)

from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.records import RecordStore

pytestmark = pytest.mark.slow


def name_of(cell: Cell) -> str:
    return f"{cell.step} {cell.init} {cell.fraction:g} {cell.seed}"


def test_a_failed_cell_is_recorded_and_retried_and_the_overwrite_rules_are_kept(
    mednet_bench: CommandLine, tmp_path: Path
):
    out, log_file = tmp_path / "run", tmp_path / "tally"
    command = [*QUICK, "--fractions", "0.5,1", "--seeds", "0..1", "--out", out]

    ended = mednet_bench(*command, QUICK_FAIL="score scratch 0.5 1")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "1 cell failed" in ended.stderr
    failed = [record for record in planned_records(out) if record.status == "failed"]
    assert [name_of(record.cell) for record in failed] == ["score scratch 0.5 1"]
    # the record has the first line of the error, the log its traceback
    assert failed[0].error == "ArithmeticError: the test wants score scratch 0.5 1 to fail"
    assert failed[0].metrics == {}
    assert failed[0].provenance.versions
    log = out / "logs" / f"{failed[0].key}.txt"
    assert log.read_text().startswith("Traceback")
    assert "and to say so at length" in log.read_text()
    assert not RecordStore(out).predictions_of(failed[0].key).exists()
    assert len(tally(log_file)) == 4

    before = states(out)
    ended = mednet_bench(*command, "--overwrite", "never")
    assert ended.returncode == 1, "a cell has failed, whether it is tried again or not"
    assert states(out) == before
    assert len(tally(log_file)) == 4

    ended = mednet_bench.succeed(*command, "--limit", "3")
    assert cells_in(tally(log_file))[4:] == ["score scratch 0.5 1"]
    assert {record.status for record in planned_records(out)} == {"ok"}
    assert not log.exists(), "the traceback of a cell that is well now"
    now = states(out)
    changed = {name.split(".")[0] for name, state in now.items() if before.get(name) != state}
    assert changed == {failed[0].key}

    ended = mednet_bench.succeed(*command, "--overwrite", "always", "--limit", "2")
    assert cells_in(tally(log_file))[5:] == ["score scratch 0.5 0", "score scratch 0.5 1"]


def test_a_limit_counts_evaluations_and_brings_the_pretraining_that_they_need(
    mednet_bench: CommandLine, tmp_path: Path
):
    out = tmp_path / "run"
    command = ["run", *SMALL, "--inits", "mednet,scratch", "--protocols", "knn", "--fractions", "0.5,1"]
    command += ["--seeds", "0..1", "--pretrain-images", "64", "--pretrain-batch", "16", "--no-report"]
    mednet_bench.succeed(*command, "--limit", "1", "--out", out)
    assert sorted(record.cell.step for record in RecordStore(out).read_all()) == ["pretrain", "score"]


def test_a_training_that_diverges_fails_what_needs_it_and_nothing_else(
    mednet_bench: CommandLine, tmp_path: Path
):
    out = tmp_path / "run"
    ended = mednet_bench(
        *("run", *SMALL, "--inits", "mednet,scratch", "--protocols", "finetune,knn", "--out", out),
        *("--fractions", "1", "--seeds", "0", "--steps", "2", "--lr-grid", "1e30", "--evaluations", "1"),
        *("--pretrain-images", "64", "--pretrain-batch", "16", "--pretrain-lr", "1e30"),
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    records = {(r.cell.step, r.cell.init, r.cell.protocol): r for r in planned_records(out)}
    well = {name for name, record in records.items() if record.status == "ok"}
    assert well == {("score", "scratch", "knn")}
    assert "DivergedError" in records["pretrain", "mednet", ""].error
    assert "DivergedError" in records["score", "scratch", "finetune"].error
    assert "1e+30" in records["score", "scratch", "finetune"].error, "which learning rate it was"
    needing = {
        ("score", "mednet", "knn"): "pretrain",
        ("score", "mednet", "finetune"): "pretrain",
    }
    diverged = {("pretrain", "mednet", ""), ("score", "scratch", "finetune")}
    assert needing.keys() == records.keys() - well - diverged
    for name, step in needing.items():
        assert records[name].error.startswith(f"its {step} cell failed: ")
    # the report was written all the same, and says what failed
    assert "failed" in (out / "report" / "report.md").read_text()
    assert "phantom-organ" in ended.stdout


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cache_that_cannot_be_written_stops_the_run_at_once_and_fails_no_cell(
    jobs: int, mednet_bench: CommandLine, tmp_path: Path
):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "features").write_text("in the way, as a read-only disk is to others than root")
    command = ["run", *SMALL, "--protocols", "knn", "--fractions", "0.5,1", "--seeds", "0..2", "--jobs", jobs]
    command += ["--no-report", "--out", tmp_path / "run"]
    ended = mednet_bench(*command, MEDNET_BENCH_CACHE=str(cache))
    assert ended.returncode == 2, ended.stderr
    assert "set MEDNET_BENCH_CACHE to another folder" in sentence(ended)
    assert not records_in(tmp_path / "run")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_directory_that_disappears_ends_the_run_with_a_sentence_and_exit_1(
    jobs: int, mednet_bench: CommandLine, tmp_path: Path
):
    out = tmp_path / "run"
    command = [*QUICK, "--fractions", "1", "--seeds", "0..11", "--jobs", jobs, "--out", out]
    with mednet_bench.start(*command, QUICK_SECONDS="0.2") as process:
        wait_until(lambda: len(records_in(out)) >= 2, process)
        out.rename(tmp_path / "gone")
        _, stderr = process.communicate()
    assert process.returncode == 1, stderr
    assert "was removed meanwhile" in stderr
    assert "run the same command again" in sentence(Ended(command, 1, "", stderr))
    assert len(tally(tmp_path / "tally")) < 12, "it went on for nothing"


def test_a_run_directory_that_disappears_while_the_report_is_made_is_no_success(
    mednet_bench: CommandLine, tmp_path: Path
):
    out = tmp_path / "run"
    command = [*QUICK, "--report", "--fractions", "1", "--seeds", "0", "--out", out]
    ended = mednet_bench(*command, QUICK_MOVE=str(out))
    assert len(records_in(tmp_path / "run-gone")) == 1
    assert ended.returncode == 1, ended.stderr
    assert f"{out} was removed meanwhile: run the same command again" in sentence(ended)


def test_a_run_whose_last_records_disappear_does_not_end_well(mednet_bench: CommandLine, tmp_path: Path):
    out = tmp_path / "run"
    command = [*QUICK, "--fractions", "1", "--seeds", "0..1", "--out", out]
    with mednet_bench.start(*command, QUICK_SECONDS="1") as process:
        wait_until(lambda: len(records_in(out)) == 1, process)
        (out / "records").rename(tmp_path / "gone")
        _, stderr = process.communicate()
    assert process.returncode == 1, stderr
    assert "1 records of" in sentence(Ended(command, 1, "", stderr))
    assert mednet_bench(*command).returncode == 0
    assert len(planned_records(out)) == 2


def test_a_protocol_that_ends_the_process_fails_its_cell_only(mednet_bench: CommandLine, tmp_path: Path):
    command = [*QUICK, "--fractions", "1", "--seeds", "0..1", "--out", tmp_path / "run"]
    ended = mednet_bench(*command, QUICK_EXIT="score scratch 1 0")
    assert ended.returncode == 1
    assert "1 cell failed" in ended.stderr
    assert [record.error for record in planned_records(tmp_path / "run")].count("SystemExit: 0") == 1


def test_a_cell_that_failed_in_another_process_is_not_tried_twice_in_one_run(
    mednet_bench: CommandLine, tmp_path: Path
):
    command = [*QUICK, "--fractions", "1", "--seeds", "0..2", "--out", tmp_path / "run"]
    ended = mednet_bench(*command, "--jobs", "2", QUICK_FAIL="score scratch 1 0", QUICK_CROWD="2")
    assert ended.returncode == 1
    assert "FAILED phantom-organ scratch quick 1 seed 0: ArithmeticError" in ended.stderr
    assert sorted(cells_in(tally(tmp_path / "tally"))) == [f"score scratch 1 {seed}" for seed in range(3)]
