"""A real Slurm of two nodes on this machine: `make test-cluster` installs it and runs this."""

import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from processes import (
    CommandLine,
    cells_in,
    claims,
    crowd,
    is_running,
    planned_records,
    records_in,
    tally,
    wait_until,
)
from real_slurm import NODE_CPUS, NODES, Cluster, is_installed, running_cluster

from mednet_bench.benchmark.run.run_status import run_status
from mednet_bench.benchmark.schema.records import Record, RecordStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="needs root and Slurm: make test-cluster"),
]
PLAN = ["run", "--tasks", "phantom-organ", "--inits", "mednet,scratch", "--protocols", "finetune,quick"]
PLAN += ["--size", "28", "--input-size", "32", "--fractions", "0.5", "--seeds", "0..4"]
PLAN += ["--passes", "1", "--steps", "4", "--lr-grid", "1e-3,3e-3", "--pretrain-images", "256", "--no-report"]
"""24 cells: one pretraining, of each init 5 x 2, and 3 controls at the learning rate that others chose."""
OPTIONS = ["cpus-per-task=1", "time=00:30:00"]
SLURM = ["--executor", "slurm", "--workers", "4", "--slurm", ",".join(OPTIONS), "--out", "run"]
REPETITIONS = int(os.environ.get("MEDNET_BENCH_REPETITIONS", "1"))
"""Of the kills: `make test-cluster-all` sets 20."""


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of two nodes."""
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def alone(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Records of one process, by key; its cache is its own."""
    folder = tmp_path_factory.mktemp("alone")
    settings = {"QUICK_TALLY": str(folder / "tally"), "MEDNET_BENCH_CACHE": str(folder / "cache")}
    CommandLine(folder, environment | settings).succeed(*PLAN, "--out", "alone")
    return {record.key: record for record in planned_records(folder / "alone")}


def check_equal(folder: Path, alone: dict[str, Record], count: int = 24) -> None:
    """Check that all records are there and equal those of one process."""
    records = planned_records(folder)
    assert len(records) == len(alone) == count
    for record in records:
        assert record.status == "ok", record.error
        assert (record.metrics, record.hashes) == (alone[record.key].metrics, alone[record.key].hashes)
    assert not claims(folder)


def computed_often(lines: Path) -> list[str]:
    """List the cells of a tally that were computed more than once."""
    return [cell for cell, count in Counter(cells_in(tally(lines))).items() if count > 1]


@pytest.mark.parametrize("repetition", range(REPETITIONS))
def test_workers_that_are_killed_stopped_or_queued_again_and_a_dead_node_lose_no_cell(
    repetition: int, mednet_bench: CommandLine, cluster: Cluster, alone: dict[str, Record], tmp_path: Path
):
    out, lines, started = tmp_path / "run", tmp_path / "tally", time.monotonic()
    store, busy = RecordStore(out), {node: list[tuple[int, str, str]]() for node in NODES}
    settings = {**cluster.settings, "QUICK_SECONDS": "4", "MEDNET_BENCH_LEASE": "10"}
    if repetition % 2 == 0:  # all four workers are in a slow cell at the same time; else in any
        settings["QUICK_CROWD"] = f"{len(NODES) * NODE_CPUS}"

    def find_busy() -> bool:
        """List the workers that compute a cell, by node, until there are three or the run has ended."""
        status = run_status(out)
        if not any(record.cell.step == "pretrain" for record in store.read_all()):
            return status.is_done
        if len(crowd(lines)) < int(settings.get("QUICK_CROWD", "0")):
            return status.is_done
        for node, workers in busy.items():
            owners = [(cell.owner.split(), cell.key) for cell in status.running]
            found = [(int(owner[1]), owner[-1], key) for owner, key in owners]
            workers[:] = [each for each in found if node_of(each[0], node)]
        return status.is_done or (len(busy["n1"]) >= 2 and bool(busy["n2"]))

    with mednet_bench.start(*PLAN, *SLURM, "--workers", "6", "--wait", **settings) as process:
        wait_until(lambda: (out / "plan.json").exists() and run_status(out).jobs, process)
        wait_until(find_busy)
        if run_status(out).is_done:
            pytest.skip("this machine was too busy: the workers did not compute at the same time")
        (killed, _, _), (stopped, _, cell), (_, queued, _) = *busy["n1"][:2], busy["n2"][0]
        os.kill(stopped, signal.SIGSTOP)
        late = not store.path(cell).exists()
        os.kill(killed, signal.SIGKILL)  # a worker
        cluster.call("scontrol", "requeue", queued)
        cluster.kill("n2")  # the daemon; what it has started is killed as with the machine
        for pid in pids_of_node("n2"):
            os.kill(pid, signal.SIGKILL)
        wait_until(store.path(cell).exists)  # written by another worker
        os.kill(stopped, signal.SIGCONT)
        cluster.start_node("n2")
        _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    # the stopped worker may need longer than all others together, but it says that it came late
    wait_until(lambda: run_status(out).late or not is_running(stopped))
    assert len(list((out / "logs").glob(f"{cell}-*.late"))) == late
    wait_until(lambda: not claims(out))
    check_equal(out, alone)
    repeated = computed_often(lines)
    assert len(repeated) <= 1 + 1 + 2, "more cells than were disturbed"
    seconds = time.monotonic() - started
    print(f"| {repetition + 1} | 24 | {len(repeated)} | {late:d} | {seconds:.0f} s |")


def test_workers_go_on_when_the_driver_is_killed_and_the_same_command_completes(
    mednet_bench: CommandLine, cluster: Cluster, alone: dict[str, Record], tmp_path: Path
):
    out, settings = tmp_path / "run", {**cluster.settings, "QUICK_SECONDS": "1"}
    with mednet_bench.start(*PLAN, *SLURM, "--wait", **settings) as process:
        wait_until(lambda: len(records_in(out)) >= 2, process)
        process.kill()
    before = len(records_in(out))
    wait_until(lambda: len(records_in(out)) > before)
    mednet_bench.succeed(*PLAN, *SLURM, "--wait", **settings)
    assert len(run_status(out).jobs) == 2 and not computed_often(tmp_path / "tally")
    check_equal(out, alone)


@pytest.mark.skipif(
    not (all(map(shutil.which, ("bindfs", "faketime"))) and Path("/dev/fuse").exists()),
    reason="needs bindfs and faketime: make test-cluster",
)
def test_nodes_with_mounts_of_their_own_and_clocks_15_minutes_apart_compute_no_cell_twice(
    mednet_bench: CommandLine, alone: dict[str, Record], tmp_path: Path
):
    out, place = tmp_path / "run", tmp_path / "slurm"
    for folder in (out, place):
        folder.mkdir()
    # a mount on itself: the same path as on the submitting machine, and locks of its own
    mount = f"bindfs -f {out} {out} & until grep -q ' {out} ' /proc/self/mountinfo; do sleep 0.1; done"
    skew = tmp_path / "skew.sh"  # read by the script of a job
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    ahead = f"LD_PRELOAD={library} FAKETIME=+15m NO_FAKE_STAT=1 FAKE_UTIME=1 DONT_FAKE_MONOTONIC=1"
    skew.write_text(f'if [ "$SLURMD_NODENAME" = n2 ]; then export {ahead}; fi\n')
    settings = {"BASH_ENV": str(skew), "QUICK_SECONDS": "1"}
    with running_cluster(place, n1=mount, n2=mount) as cluster:
        ended = mednet_bench.succeed(*PLAN, *SLURM, "--wait", **cluster.settings, **settings)
    assert "dropped" not in ended.stderr and not computed_often(tmp_path / "tally")
    check_equal(out, alone)
    store = RecordStore(out)
    hours = sorted(datetime.fromisoformat(record.finished) for record in store.read_all())
    assert hours[-1] - hours[0] > timedelta(minutes=14), "no node was ahead"


def test_the_other_node_computes_what_one_with_a_full_disk_cannot(mednet_bench: CommandLine, tmp_path: Path):
    plan = [*PLAN, "--protocols", "linear,quick"]
    out, place, scratch = tmp_path / "run", tmp_path / "slurm", tmp_path / "scratch"
    for folder in (place, scratch):
        folder.mkdir()
    full = f"mount -t tmpfs -o size=64k none {scratch}"
    settings = {"MEDNET_BENCH_SCRATCH": str(scratch), "QUICK_SECONDS": "1"}
    with running_cluster(place, n2=full) as cluster:
        mednet_bench.succeed(*plan, *SLURM, "--wait", **cluster.settings, **settings)
    mednet_bench.succeed(*plan, "--out", "alone", MEDNET_BENCH_CACHE=str(tmp_path / "cache"))
    check_equal(out, {record.key: record for record in planned_records(tmp_path / "alone")}, 21)
    logs = [path.read_text() for path in (out / "logs").glob("slurm-*.txt")]
    assert any("Disk full while writing" in log for log in logs)


@pytest.mark.skipif(
    not Path(os.environ.get("MEDNET_BENCH_DATA", "/nonexistent"), "medmnist", "pneumoniamnist.npz").exists(),
    reason="needs MEDNET_BENCH_DATA with MedMNIST",
)
def test_the_commands_of_the_documentation_work_in_their_order(
    mednet_bench: CommandLine, cluster: Cluster, tmp_path: Path
):
    page = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text()
    text = "\n".join(re.findall(r"```sh\n(.*?)```", page.partition("\n## Other")[0], re.DOTALL))
    text = text.replace("/shared/", f"{tmp_path}/").replace("partition=gpu,gres=gpu:1", "cpus-per-task=1")
    commands = [line.split()[1:] for line in text.splitlines() if line.startswith("mednet-bench ")]
    names = [command[0] for command in commands]
    assert names == ["doctor", "download", "plan", "run", "status", "report"], "the page has changed"
    settings = {**cluster.settings, "MEDNET_BENCH_DATA": os.environ["MEDNET_BENCH_DATA"]}
    small = ["--inits", "scratch", "--protocols", "linear,knn", "--fractions", "0.1", "--seeds", "0"]
    small += ["--size", "28", "--input-size", "32"]
    out = tmp_path / "runs" / "first"
    for command in commands:
        ended = mednet_bench(*command, *(small if command[0] in ("plan", "run") else ()), **settings)
        # a folder of this test is on a disk of this machine, which `doctor` does not let many nodes share
        assert ended.returncode in ((0, 3) if command[0] == "doctor" else (0,)), ended.stderr
        if command[0] == "run":
            wait_until(lambda: run_status(out).is_done)
    assert run_status(out).ok == 4 and (out / "report" / "report.html").exists()


def node_of(pid: int, name: str = "") -> bool:
    """Whether Slurm has started a process on a node, or on any."""
    try:
        return f"SLURMD_NODENAME={name}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # ended meanwhile
        return False


def pids_of_node(name: str) -> list[int]:
    """List the processes that Slurm has started on a node."""
    return [int(place.name) for place in Path("/proc").glob("[0-9]*") if node_of(int(place.name), name)]
