"""Several processes on one run directory, and Ctrl-C: nothing twice, nothing lost."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from processes import (
    FINISHED,
    QUICK,
    CommandLine,
    Ended,
    cells_in,
    crowd,
    living,
    planned_records,
    records_in,
    sentence,
    states,
    tally,
    wait_until,
)

from mednet_bench.benchmark.run.planner import ResolvedPlan
from mednet_bench.benchmark.run.scheduler import ResumeRules, kept_record
from mednet_bench.benchmark.schema.plan import PlannedCell, read_plan
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.tasks.task import DataLocations

pytestmark = pytest.mark.slow


def test_two_runs_at_once_share_the_cells_of_a_directory_and_compute_each_once(
    mednet_bench: CommandLine, tmp_path: Path
):
    # the plans overlap without being equal, and one of the two has workers: which plan.json is kept is chance
    common = [*QUICK, "--fractions", "0.5,1", "--out", tmp_path / "run"]
    pace = {"QUICK_CROWD": "3", "QUICK_SECONDS": "0.05"}
    first = mednet_bench.start(*common, "--seeds", "0..19", "--jobs", "2", **pace)
    second = mednet_bench.start(*common, "--seeds", "10..29", **pace)
    with first, second:
        errors = [process.communicate()[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), errors
    shown = [sum(" test AUC " in line for line in text.splitlines()) for text in errors]
    assert shown == [40, 40], "each shows all cells of its own plan"

    lines = tally(tmp_path / "tally")
    assert len(cells_in(lines)) == len(set(cells_in(lines))) == 2 * 30
    assert len(crowd(tmp_path / "tally")) == 3
    records = list(RecordStore(tmp_path / "run").read_all())
    assert {(r.cell.fraction, r.cell.seed) for r in records} == {(f, s) for f in (0.5, 1) for s in range(30)}


@pytest.mark.parametrize("overwrite", ["always", "only-missing"])
def test_a_run_repeats_what_another_had_computed_before_and_nothing_that_it_computes_meanwhile(
    overwrite: str, finished: Path, tmp_path: Path
):
    out = shutil.copytree(finished, tmp_path / "run")
    plan, store = read_plan(out), RecordStore(out)
    assert plan is not None
    resolved = ResolvedPlan(RunConfig(), plan, {}, {}, DataLocations())
    before, meanwhile = plan.cells[:2]

    def write(planned: PlannedCell, run: str) -> None:
        record = store.read(planned.key)
        assert record is not None
        store.write(msgspec.structs.replace(record, run=run, status="failed"), None)

    write(before, "other")
    rules = ResumeRules(overwrite).for_new_run(plan.cells, store)
    write(meanwhile, "other")
    assert not kept_record(resolved, store, before, rules)
    assert kept_record(resolved, store, meanwhile, rules)


def set_clock_ahead() -> None:
    """Set the clock of a process 15 minutes ahead of the file system's and its workers'."""
    right = time.time
    time.time = lambda: right() + 900


def test_a_clock_that_differs_from_that_of_the_disk_makes_no_record_old(
    mednet_bench: CommandLine, tmp_path: Path
):
    command = [*QUICK, "--fractions", "1", "--seeds", "0..3", "--jobs", "2", "--out", tmp_path / "run"]
    assert mednet_bench(*command, QUICK_FAIL="score scratch 1 2").returncode == 1
    first = {record.run for record in planned_records(tmp_path / "run")}
    ended = mednet_bench(
        *command, "--overwrite", "always", prepare=set_clock_ahead, QUICK_FAIL="score scratch 1 1"
    )
    assert ended.returncode == 1, ended.stderr
    assert "1 cell failed" in ended.stderr
    assert "worker processes ended" not in ended.stderr
    assert len(tally(tmp_path / "tally")) == 2 * 4, "each cell once in each run, failed or not"
    second = {record.run for record in planned_records(tmp_path / "run")}
    assert len(first) == len(second) == 1
    assert first != second


def test_two_jobs_compute_the_same_numbers_as_one(mednet_bench: CommandLine, finished: Path, tmp_path: Path):
    mednet_bench.succeed("run", *FINISHED, "--jobs", "2", "--out", "run")
    alone = {record.key: record for record in planned_records(finished)}
    together = {record.key: record for record in planned_records(tmp_path / "run")}
    assert alone.keys() == together.keys()
    for key, record in together.items():
        assert record.provenance.threads == alone[key].provenance.threads == 1
        assert record.metrics == alone[key].metrics
        assert record.hashes == alone[key].hashes


def ignore_interrupt() -> None:
    """Start a process as a shell starts its background jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("jobs", "send", "number", "prepare"),
    [
        pytest.param(1, os.killpg, signal.SIGINT, None, id="one process, by its terminal"),
        pytest.param(2, os.kill, signal.SIGINT, None, id="two jobs, by a signal to the parent alone"),
        pytest.param(1, os.kill, signal.SIGTERM, None, id="one process, by timeout"),
        pytest.param(2, os.killpg, signal.SIGTERM, None, id="two jobs, by a cluster"),
        pytest.param(2, os.kill, signal.SIGTERM, None, id="two jobs, by timeout"),
        pytest.param(
            2, os.kill, signal.SIGTERM, ignore_interrupt, id="two jobs in a shell's background, by kill"
        ),
    ],
)
def test_an_interrupted_run_says_so_keeps_what_is_finished_and_leaves_no_process(
    jobs: int,
    send: Callable[[int, int], None],
    number: signal.Signals,
    prepare: Callable[[], object] | None,
    mednet_bench: CommandLine,
    tmp_path: Path,
):
    out = tmp_path / "run"
    command = [*QUICK, "--fractions", "1", "--seeds", "0..59", "--jobs", jobs, "--out", out]
    with mednet_bench.start(*command, prepare=prepare, QUICK_SECONDS="0.3") as process:
        wait_until(lambda: len(records_in(out)) >= 2, process)
        assert len(living(process.pid)) >= (1 + jobs if jobs > 1 else 1)
        send(process.pid, number)
        _, stderr = process.communicate()
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr
    what = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}[number]
    assert stderr.splitlines()[-1] == (
        f"{what}: what is finished is kept; run the same command again to resume."
    )
    assert living(process.pid) == []
    kept = states(out)
    records = list(RecordStore(out).read_all())
    assert 2 <= len(records) < 60
    assert {record.status for record in records} == {"ok"}, "an interrupted cell is no failed cell"

    if jobs > 1:  # the rerun is the same for all
        return
    assert mednet_bench(*command).returncode == 0
    assert len(planned_records(out)) == 60
    now = states(out)
    assert {name: now[name] for name in kept} == kept


def test_the_cells_of_a_worker_that_was_killed_are_taken_over_and_the_limit_counts_for_both(
    mednet_bench: CommandLine, tmp_path: Path
):
    command = [*QUICK, "--fractions", "1", "--seeds", "0..14", "--jobs", "2", "--out", tmp_path / "run"]
    with mednet_bench.start(*command, "--limit", "8", QUICK_SECONDS="0.2", QUICK_CROWD="2") as process:
        wait_until(lambda: len(crowd(tmp_path / "tally")) == 2, process)
        os.kill(crowd(tmp_path / "tally")[1], signal.SIGKILL)
        _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert {record.cell.seed for record in RecordStore(tmp_path / "run").read_all()} == set(range(8))


def test_a_run_whose_workers_were_all_killed_exits_1_and_says_what_to_do(
    mednet_bench: CommandLine, tmp_path: Path
):
    command = [*QUICK, "--fractions", "1", "--seeds", "0..3", "--jobs", "2", "--out", tmp_path / "run"]
    with mednet_bench.start(*command, QUICK_CROWD="3") as process:
        wait_until(lambda: len(crowd(tmp_path / "tally")) == 2, process)
        for worker in crowd(tmp_path / "tally"):
            os.kill(worker, signal.SIGKILL)
        _, stderr = process.communicate()
    assert process.returncode == 1
    assert "run the same command again" in sentence(Ended(command, process.returncode, "", stderr))
