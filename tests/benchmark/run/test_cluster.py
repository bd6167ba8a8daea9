"""A real Slurm of two nodes on this machine: `make test-cluster` installs it and runs this."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import QUICK, CommandLine, cells_in, planned_records, records_in, tally, wait_until
from real_slurm import Cluster, is_installed, running_cluster

from mednet_bench.benchmark.run.run_status import run_status

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="needs root and Slurm: make test-cluster"),
]
CELLS = ["--fractions", "0.5,1", "--seeds", "0..11"]
SLURM = ["--executor", "slurm", "--workers", "4", "--slurm", "cpus-per-task=1,time=00:30:00", "--out", "run"]


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of two nodes."""
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


def check_equal(mednet_bench: CommandLine, tmp_path: Path) -> None:
    """Check that all 24 records are there and equal those of one process."""
    mednet_bench.succeed(*QUICK, *CELLS, "--out", "alone")
    alone = {record.key: record for record in planned_records(tmp_path / "alone")}
    records = planned_records(tmp_path / "run")
    assert len(records) == len(alone) == 24
    for record in records:
        assert (record.metrics, record.hashes) == (alone[record.key].metrics, alone[record.key].hashes)


def test_a_job_array_computes_what_one_process_computes_and_no_cell_twice(
    mednet_bench: CommandLine, cluster: Cluster, tmp_path: Path
):
    ended = mednet_bench.succeed(*QUICK, *CELLS, *SLURM, "--wait", **cluster.settings, QUICK_SECONDS="0.3")
    assert " with 4 workers for 24 cells" in ended.stderr
    assert max(Counter(cells_in(tally(tmp_path / "tally"))).values()) == 1
    check_equal(mednet_bench, tmp_path)


def test_workers_that_are_killed_stopped_or_queued_again_and_a_dead_node_lose_no_cell(
    mednet_bench: CommandLine, cluster: Cluster, tmp_path: Path
):
    out, lines = tmp_path / "run", tmp_path / "tally"
    settings = {**cluster.settings, "QUICK_SECONDS": "1.5", "MEDNET_BENCH_LEASE": "6"}

    def working(done: int) -> list[int]:
        """Wait until some records are written; return the process ids of running cells."""
        wait_until(lambda: len(records_in(out)) >= done and run_status(out).running)
        return [int(cell.owner.split()[1]) for cell in run_status(out).running]

    with mednet_bench.start(*QUICK, *CELLS, *SLURM, "--wait", **settings) as process:
        wait_until(lambda: len({line.split()[0] for line in tally(lines)}) >= 2, process)
        os.kill(working(1)[0], signal.SIGKILL)  # a worker
        stopped = working(3)[0]
        os.kill(stopped, signal.SIGSTOP)
        job = run_status(out).jobs[-1].id
        tasks = cluster.call("squeue", "--noheader", "--states=R", "--format=%i", f"--jobs={job}").split()
        cluster.call("scontrol", "requeue", tasks[-1])
        working(6)
        cluster.kill("n2")  # the daemon; what it has started is killed as with the machine
        for pid in pids_of_node("n2"):
            os.kill(pid, signal.SIGKILL)
        working(12)
        if is_alive(stopped):
            os.kill(stopped, signal.SIGCONT)
        cluster.start_node("n2")
        _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    repeated = [cell for cell, count in Counter(cells_in(tally(lines))).items() if count > 1]
    assert len(repeated) <= 1 + 1 + 1 + 4, "more cells than were disturbed"
    assert not list((out / "locks").iterdir())
    check_equal(mednet_bench, tmp_path)


def is_alive(pid: int) -> bool:
    """Whether a process exists."""
    return Path(f"/proc/{pid}").exists()


def pids_of_node(name: str) -> list[int]:
    """List the processes that Slurm has started on a node."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURMD_NODENAME={name}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:  # ended meanwhile
            time.sleep(0)
    return found
