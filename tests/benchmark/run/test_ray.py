"""`--executor ray`: refusals without Ray, and runs with faults on a real one of three nodes."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import (
    QUICK,
    SMALL,
    CommandLine,
    cells_in,
    claims,
    planned_records,
    records_in,
    sentence,
    tally,
    wait_until,
)
from real_ray import RayCluster, is_installed, running_ray
from stub_worker import stub_cells

from mednet_bench.benchmark.run import ray_cluster
from mednet_bench.benchmark.run.executor import check_executor
from mednet_bench.benchmark.run.executors.ray import MOST_DEATHS, WorkerPool
from mednet_bench.benchmark.run.ray_cluster import RayWorker, check_address, worker_resources
from mednet_bench.benchmark.run.run_status import run_status
from mednet_bench.benchmark.run.scheduler import late_notes
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.errors import StoppedError, UserError

CELLS = ["--fractions", "0.5,1", "--seeds", "0..11"]
ON_RAY = ["--executor", "ray", "--workers", "3", "--out", "run"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ray_address": "n:1"}, "--ray-address is for --executor ray: pass that, or for local --jobs"),
        ({"executor": "ray", "jobs": 2}, "--jobs is for --executor local"),
        ({"executor": "ray", "slurm": "partition=gpu"}, "--slurm is for --executor slurm"),
        ({"executor": "slurm", "ray_address": "n:1"}, "for slurm --workers and --slurm"),
    ],
)
def test_options_of_another_executor_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_executor(RunConfig(**options))  # type: ignore[arg-type]
    assert "ray" not in sys.modules, "listing the executors imports Ray"


def test_fractions_of_a_gpu_and_the_number_of_threads_are_asked_for() -> None:
    device, options = worker_resources(RunConfig(per_gpu=4), gpus=2)
    assert (device, options["num_gpus"]) == ("cuda", 0.25)
    assert options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == str(options["num_cpus"])
    device, options = worker_resources(RunConfig(device="cpu"), gpus=2)
    assert (device, options["num_gpus"]) == ("cpu", 0)


@pytest.mark.parametrize(
    ("options", "gpus", "words"),
    [
        ({"device": "cuda:1"}, 2, "Ray chooses the GPU of a worker"),
        ({"device": "cuda"}, 0, "the Ray cluster has no GPU"),
        ({"per_gpu": 2}, 0, "the Ray cluster has no GPU"),
        ({"device": "cpu", "per_gpu": 2}, 2, "exclude each other"),
    ],
)
def test_a_device_that_the_cluster_lacks_is_one_sentence(
    options: dict[str, object], gpus: int, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        worker_resources(RunConfig(**options), gpus)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "local", "ray://127.0.0.1:1", "[::1]:1", "a:-1"])
def test_an_address_at_which_nothing_listens_is_refused_at_once(address: str) -> None:
    with pytest.raises(UserError, match=r"No Ray cluster answers at '.+: start one"):
        check_address(address)


def test_a_node_that_lacks_a_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"does not see {tmp_path}/a.ray: share the working folder"):
        RayWorker().answer(b"", [str(tmp_path), f"{tmp_path}/a.ray"])


@pytest.mark.slow
def test_without_ray_the_extra_is_named_and_print_and_wait_are_for_slurm(mednet_bench: CommandLine) -> None:
    ended = mednet_bench(*QUICK, "--seeds", "0", *ON_RAY, prepare=block_ray)
    assert ended.returncode == 2
    assert sentence(ended) == "--executor ray needs ray: pip install 'mednet-bench[ray]'."
    ended = mednet_bench(*QUICK, *ON_RAY, "--wait")
    assert ended.returncode == 2 and "are for --executor slurm" in sentence(ended)


def block_ray() -> None:
    """Let a process find no package `ray`."""
    sys.modules["ray"] = None  # type: ignore[assignment]


class FakeFuture:
    """Future of a call of an actor."""

    def __init__(self, end: Callable[..., Any], *arguments: object) -> None:
        self.end, self.arguments = end, arguments


class FakeRay:
    """Ray whose every future ends at once, by its own function."""

    class RayError(Exception):
        """A worker has died."""

    class RayTaskError(RayError):
        """A worker has raised."""

    def __init__(self, compute: Any, answer: Any = lambda *args: "node1") -> None:
        self.exceptions, self.started = self, 0
        self._compute, self._answer = compute, answer

    def start(self) -> Any:
        """Start an actor."""
        self.started += 1
        methods = {"answer": self._answer, "compute": self._compute}
        return SimpleNamespace(
            **{name: SimpleNamespace(remote=partial(FakeFuture, end)) for name, end in methods.items()}
        )

    def wait(self, futures: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        """Return all futures as ended."""
        return futures, []

    def get(self, future: Any) -> Any:
        """Return the result of a future."""
        return future.end(*future.arguments)

    def kill(self, actor: Any) -> None:
        """Do nothing."""


def die(*arguments: object) -> None:
    """End as a worker that was killed."""
    raise FakeRay.RayError("Details:\nThe worker died.")


def test_cells_go_only_to_workers_that_have_answered_and_a_dead_one_is_replaced() -> None:
    ray = FakeRay(die)
    pool = WorkerPool(ray, 2, ray.start, (b"", []))
    assert not pool.idle and not pool.lines()
    pool.wait()
    assert len(pool.idle) == ray.started == 2
    (cell,) = stub_cells(1)
    for deaths in range(1, MOST_DEATHS + 1):
        pool.give(cell)
        assert pool.lines() == ["t scratch linear 1 seed 0 on node1"]
        pool.wait()
        # with the one that idles on the same node, which may have died
        assert cell.key not in pool.given and not pool.idle and ray.started == 2 + 2 * deaths
        pool.wait()  # the new workers answer
    pool.give(cell)
    with pytest.raises(StoppedError, match=r"4 workers died computing t scratch .+ \(The worker died\); run"):
        pool.wait()


def test_workers_that_cannot_start_end_the_run() -> None:
    ray = FakeRay(die, die)
    pool = WorkerPool(ray, 2, ray.start, (b"", []))
    with pytest.raises(StoppedError, match="6 workers died starting"):
        for _ in range(9):
            pool.wait()


def test_workers_that_never_answer_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mednet_bench.benchmark.run.executors.ray.IDLE_SECONDS", -1.0)
    ray = FakeRay(die)
    pool = WorkerPool(ray, 1, ray.start, (b"", []))
    monkeypatch.setattr(ray, "wait", lambda futures, timeout: ([], futures))
    with pytest.raises(StoppedError, match=r"No worker has computed or answered for -1 s .see `ray status`"):
        pool.wait()


needs_ray = pytest.mark.skipif(not is_installed(), reason="needs Ray: pip install 'mednet-bench[ray]'")


@pytest.fixture(scope="module")
def cluster(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RayCluster, Path]]:
    """A Ray of a head and two nodes, and the tally of its workers."""
    lines = tmp_path_factory.mktemp("ray") / "tally"
    with running_ray({**environment, "QUICK_TALLY": str(lines), "QUICK_SECONDS": "1"}, "n1", "n2") as ray:
        yield ray, lines


@pytest.fixture
def on_ray(cluster: tuple[RayCluster, Path]) -> Iterator[list[str]]:
    """Options of a run on the cluster, whose tally is empty."""
    cluster[1].unlink(missing_ok=True)
    yield [*ON_RAY, "--ray-address", cluster[0].address]


def check_equal(tmp_path: Path) -> None:
    """Check that the records of the runs `run` and `alone` are equal."""
    alone = {record.key: record for record in planned_records(tmp_path / "alone")}
    records = planned_records(tmp_path / "run")
    assert len(records) == len(alone) >= 24
    for record in records:
        other = alone[record.key]
        assert (record.status, record.metrics, record.hashes) == ("ok", other.metrics, other.hashes)
        assert record.provenance.threads == other.provenance.threads
    assert not late_notes(RecordStore(tmp_path / "run")), "a cell was computed twice"


@pytest.mark.slow
@needs_ray
def test_pretraining_tuning_and_scores_equal_those_of_one_process(
    mednet_bench: CommandLine, cluster: tuple[RayCluster, Path], on_ray: list[str], tmp_path: Path
):
    command = ["run", *SMALL, "--archs", "test_efficientnet", "--inits", "mednet,scratch", "--no-report"]
    command += ["--protocols", "finetune,linear,knn,quick", "--fractions", "0.3,0.6,1", "--seeds", "0"]
    command += ["--passes", "1", "--steps", "1..2", "--lr-grid", "0.001,0.01"]
    command += ["--pretrain-images", "64", "--pretrain-batch", "16"]
    for name, options in (("run", [*on_ray]), ("alone", ["--out", "alone"])):
        settings = {**cluster[0].settings, "MEDNET_BENCH_CACHE": str(tmp_path / f"cache-{name}")}
        ended = mednet_bench.succeed(*command, *options, **settings)
        assert "[27/27] " in ended.stderr
    steps = Counter(record.cell.step for record in planned_records(tmp_path / "run"))
    assert steps["pretrain"] == 1 and any(record.choices for record in planned_records(tmp_path / "run"))
    assert max(Counter(cells_in(tally(cluster[1]))).values()) == 1
    check_equal(tmp_path)
    assert not list(tmp_path.rglob("*.ray"))


@pytest.mark.slow
@needs_ray
def test_a_driver_that_is_terminated_or_killed_takes_its_workers_along_and_the_same_command_resumes(
    mednet_bench: CommandLine, cluster: tuple[RayCluster, Path], on_ray: list[str], tmp_path: Path
):
    ray, lines = cluster
    command = [*QUICK, "--fractions", "1", "--seeds", "0..9", *on_ray, "--workers", "2"]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        before = len(records_in(tmp_path / "run"))
        with mednet_bench.start(*command, **ray.settings) as process:
            wait_until(lambda before=before: len(records_in(tmp_path / "run")) > before + 1, process)
            os.kill(process.pid, number)
            process.communicate()
        assert process.returncode == code
        wait_until(lambda: not ray.workers())
    assert 4 <= len(records_in(tmp_path / "run")) < 10
    mednet_bench.succeed(*command, **ray.settings)
    assert len(planned_records(tmp_path / "run")) == 10
    assert len(tally(lines)) <= 10 + 2 * 2, "more cells were repeated than ran when the driver ended"


@pytest.mark.slow
@needs_ray
def test_a_wrong_token_and_a_folder_that_is_not_shared_are_one_sentence(
    mednet_bench: CommandLine, cluster: tuple[RayCluster, Path], on_ray: list[str], tmp_path: Path
):
    command = [*QUICK, "--seeds", "0", *on_ray]
    ended = mednet_bench(*command, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="f" * 64)
    assert ended.returncode == 2 and "refused this process" in sentence(ended)
    ended = mednet_bench(*command, prepare=write_no_token, **cluster[0].settings)
    assert ended.returncode == 2 and " does not see " in sentence(ended)
    assert not records_in(tmp_path / "run")


def write_no_token() -> None:
    """Let workers see a run directory without the file of the driver."""
    ray_cluster.write_bytes = lambda path, content: None


@pytest.mark.slow
@needs_ray
def test_a_killed_worker_and_a_dead_node_lose_no_cell(
    mednet_bench: CommandLine, cluster: tuple[RayCluster, Path], on_ray: list[str], tmp_path: Path
):
    ray, lines = cluster
    out = tmp_path / "run"

    def computing(done: int) -> list[int]:
        """Wait until some records are written; return the process ids of running cells."""
        wait_until(lambda: len(records_in(out)) >= done and run_status(out).running)
        return [int(cell.owner.split()[1]) for cell in run_status(out).running]

    with mednet_bench.start(*QUICK, *CELLS, *on_ray, **ray.settings) as process:
        os.kill(computing(2)[0], signal.SIGKILL)
        wait_until(lambda: len(records_in(out)) >= 6, process)
        ray.kill("n2")
        _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    repeated = [cell for cell, count in Counter(cells_in(tally(lines))).items() if count > 1]
    assert len(repeated) <= 1 + 2, "more cells than were disturbed"
    assert not claims(out)
    mednet_bench.succeed(*QUICK, *CELLS, "--out", "alone")
    check_equal(tmp_path)
