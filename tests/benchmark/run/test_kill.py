"""kill -9 at any moment: nothing is lost or counted twice, and the rerun completes."""

import os
import shutil
import signal
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pytest
from processes import (
    FINISHED,
    QUICK,
    SMALL,
    CommandLine,
    cells_in,
    crowd,
    is_running,
    planned_records,
    records_in,
    states,
    tally,
    wait_until,
)

from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.core.files import write_atomic
from mednet_bench.core.leases import sweep
from mednet_bench.reports.pages.build import build_report

pytestmark = pytest.mark.slow


def test_a_run_that_is_killed_again_and_again_keeps_what_is_finished_and_completes(
    mednet_bench: CommandLine, tmp_path: Path
):
    out = tmp_path / "run"
    # cells of a few milliseconds, so that a process spends most of its time with the writing of records
    command = [*QUICK, "--fractions", "0.5,1", "--seeds", "0..199", "--out", out]
    kept: dict[str, tuple[int, bytes]] = {}
    for records in (1, 80, 160):  # and at least as many are left, however late this process notices
        with mednet_bench.start(*command) as process:
            wait_until(lambda most=records: len(records_in(out)) >= most, process)
            os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        now = states(out)
        assert {name: now[name] for name in kept} == kept, "a finished record was written again"
        store = RecordStore(out)
        assert not store.unreadable_files()
        whole = {path.stem for path in records_in(out)}
        assert all(store.read_predictions(r.key) for r in store.read_all() if r.cell.step == "score")
        kept = {name: state for name, state in now.items() if name.split(".")[0] in whole}

    mednet_bench.succeed(*command)
    now = states(out)
    assert {name: now[name] for name in kept} == kept
    records = planned_records(out)
    assert len(records) == 2 * 200
    assert {record.status for record in records} == {"ok"}
    done = cells_in(tally(tmp_path / "tally"))
    assert len(set(done)) == 400
    assert len(done) <= len(records) + 3, "each kill may cost the one cell that was running"
    assert not list(out.rglob("*.tmp")), "what the kills cut off was not removed"

    board = pd.read_csv(build_report([out]).csv)
    assert set(board["n_seeds"]) == {200}


def test_what_a_killed_process_left_half_written_is_not_counted(
    mednet_bench: CommandLine, finished: Path, tmp_path: Path
):
    out = shutil.copytree(finished, tmp_path / "run")
    before = {record.key for record in planned_records(out)}
    record = records_in(out)[0]
    # as tempfile names them: a write that was killed before its rename
    for folder, name in ((out / "records", record.name), (out / "predictions", f"{record.stem}.npz")):
        (folder / f".{name}.x7f_q0ab.tmp").write_bytes(record.read_bytes()[:99])
    assert {record.key for record in RecordStore(out).read_all()} == before
    assert not RecordStore(out).unreadable_files()
    assert build_report([out]).results.unreadable == ()


def test_leftovers_of_killed_writers_are_removed_and_the_file_of_a_living_one_is_not(tmp_path: Path):
    for folder in ("records", "predictions", "report/figures"):
        (tmp_path / folder).mkdir(parents=True)
    digits = "0123456789abcdef" * 2
    dead = [tmp_path / f".plan.json.{digits}.tmp", tmp_path / "report" / "figures" / f".a.svg.{digits}.tmp"]
    other = tmp_path / "records" / ".notes.tmp"  # of somebody else
    for path in (*dead, other):
        path.write_bytes(b"")
        os.utime(path, (1, 1))  # of another machine, long ago
    os.mkfifo(tmp_path / "predictions" / f".pipe.{digits}.tmp")
    path = tmp_path / "records" / "a.json"

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        file.flush()
        sweep(tmp_path)  # as another process would that starts now
        file.write(b" and half")

    write_atomic(path, write)
    assert path.read_bytes() == b"half and half"
    assert not any(path.exists() for path in dead)
    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == [other.name, "a.json"]


def test_a_run_removes_what_killed_writers_left_in_the_cache(
    mednet_bench: CommandLine, finished: Path, tmp_path: Path
):
    out, cache = shutil.copytree(finished, tmp_path / "run"), tmp_path / "cache"
    left = [cache / folder / f".a.npz.{'0123456789abcdef' * 2}.tmp" for folder in (".", "features", "mednet")]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
        os.utime(path, (1, 1))
    mednet_bench.succeed("run", *FINISHED, "--out", out, MEDNET_BENCH_CACHE=str(cache))
    assert not any(path.exists() for path in left)


def test_a_run_that_is_killed_while_it_makes_a_mednet_makes_it_in_the_next_run(
    mednet_bench: CommandLine, tmp_path: Path
):
    cache = tmp_path / "cache"
    command = ["run", *SMALL, "--inits", "mednet", "--protocols", "knn", "--fractions", "1", "--seeds", "0"]
    command += [
        "--pretrain-images",
        "320",
        "--pretrain-batch",
        "16",
        "--no-report",
        "--out",
        tmp_path / "run",
    ]
    with mednet_bench.start(*command, MEDNET_BENCH_CACHE=str(cache)) as process:
        wait_until(lambda: list((cache / "mednet").glob("*.lock")), process)
        os.killpg(process.pid, signal.SIGKILL)
    assert not records_in(tmp_path / "run")

    mednet_bench.succeed(*command, MEDNET_BENCH_CACHE=str(cache))
    steps = {record.cell.step: record for record in planned_records(tmp_path / "run")}
    assert set(steps) == {"pretrain", "score"}
    made = list((cache / "mednet").glob("*.safetensors"))
    assert len(made) == 1
    assert steps["score"].hashes.weights == steps["pretrain"].hashes.weights

    # the cache is only a cache: the run has its weights, and trains them again if they are gone as well
    for fraction, gone in (("0.5", cache), ("0.25", tmp_path / "run" / "pretrained")):
        shutil.rmtree(gone)
        mednet_bench.succeed(*command, "--fractions", fraction, MEDNET_BENCH_CACHE=str(cache))
        assert {record.status for record in planned_records_of(tmp_path / "run")} == {"ok"}
        assert made[0].is_file() == (gone != cache)


def planned_records_of(folder: Path) -> list:
    """Return the records of the last plan, without those of older plans."""
    plan, store = read_plan(folder), RecordStore(folder)
    assert plan is not None
    return [store.read(planned.key) for planned in plan.cells]


def test_workers_whose_run_was_killed_end_after_their_cell(mednet_bench: CommandLine, tmp_path: Path):
    command = [*QUICK, "--seeds", "0..99", "--fractions", "1", "--jobs", "2", "--out", tmp_path / "run"]
    with mednet_bench.start(*command, QUICK_SECONDS="0.2") as process:
        wait_until(lambda: len(crowd(tmp_path / "tally")) == 2, process)
        process.kill()  # the parent only
    wait_until(lambda: not any(is_running(worker) for worker in crowd(tmp_path / "tally")))
    assert len(tally(tmp_path / "tally")) < 100, "they computed all cells"
