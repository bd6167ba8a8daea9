"""Hardware of a process: threads independent of `--jobs`, short spinning, one GPU each."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from processes import SMALL, CommandLine, planned_records

from mednet_bench.benchmark.run import estimate
from mednet_bench.benchmark.run.executors import local
from mednet_bench.benchmark.run.machine_probe import NetworkTimes
from mednet_bench.benchmark.run.scheduler import ResumeRules
from mednet_bench.benchmark.run.waiting_run import WaitingRun, WorkerArgs
from mednet_bench.benchmark.schema import provenance
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core import hardware
from mednet_bench.core.errors import UserError
from mednet_bench.experiment import plan_run

CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")


def printed_by(code: str, **settings: str) -> str:
    """Run code in a fresh interpreter without the machine's OpenMP settings; return its output."""
    unset = {name: value for name, value in os.environ.items() if name not in (*CHOICES, "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**unset, **settings}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["cli.main", "benchmark.run.worker", "tasks.catalog", "baselines.init"])
def test_spinning_is_bounded_before_any_way_to_torch(module: str) -> None:
    code = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name in ('torch', 'sklearn'):\n"
        "            assert int(os.environ['GOMP_SPINCOUNT']) <= 100_000, 'too late'\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import mednet_bench.{module}, torch\n"
        "print(os.environ['GOMP_SPINCOUNT'], os.environ['KMP_BLOCKTIME'])"
    )
    assert printed_by(code) == " ".join(hardware.SPINNING.values())


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_of_the_user_s_stays_alone(name: str) -> None:
    code = f"import os, mednet_bench.benchmark; print(*(os.environ.get(name, '-') for name in {CHOICES}))"
    assert printed_by(code, **{name: "7"}).split() == ["7" if each == name else "-" for each in CHOICES]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left alone")
@pytest.mark.slow
def test_memory_freed_by_a_step_stays_unless_the_user_decides() -> None:
    code = (
        "import resource, torch\n"
        "from torch import nn\n"
        "from mednet_bench.benchmark.training.model import place_model\n"
        "place_model(nn.Linear(1, 1), 'cpu')\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    [torch.ones(2**21) for _ in range(12)]\n"  # 12 blocks of 8 MiB, as gradients
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(*(faults() for _ in range(8)))"
    )
    first, *_, last = map(int, printed_by(code).split())
    assert last <= first / 20
    *_, given_back = map(int, printed_by(code, MALLOC_TRIM_THRESHOLD_="0").split())
    assert given_back > first / 2


@pytest.mark.parametrize(
    ("files", "own", "cpus"),
    [
        ({"cpu.max": "250000 100000"}, "0::/", 2.5),
        ({"cpu.max": "max 100000"}, "0::/", float("inf")),
        ({"job/cpu.max": "300000 100000", "job/step/cpu.max": "max 100000"}, "0::/job/step", 3),
        ({"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/x", 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/x", float("inf")),
        ({"cpu.max": "broken"}, "0::/../../x", float("inf")),
        ({}, "", float("inf")),
    ],
)
def test_the_quota_of_control_groups_is_read(
    files: dict[str, str], own: str, cpus: float, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text(own + "\n")
    assert hardware.cpu_quota(tmp_path, tmp_path / "own") == cpus
    assert hardware.cpu_quota(tmp_path, tmp_path / "absent") == float("inf")


@pytest.mark.parametrize(
    ("affinity", "quota", "chosen", "threads"),
    [
        (64, float("inf"), None, "4"),
        (3, float("inf"), None, "3"),
        (64, 2.5, None, "2"),
        (64, 0.5, None, "1"),
        (2, float("inf"), "7", "7"),
    ],
)
def test_threads_follow_from_the_cpus_that_the_process_may_use_or_from_the_user(
    affinity: int, quota: float, chosen: str | None, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(hardware, "cpu_quota", lambda *_: quota)
    monkeypatch.setenv("OMP_NUM_THREADS", chosen or "")
    if chosen is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    hardware.fix_threads()
    assert os.environ["OMP_NUM_THREADS"] == threads


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three GPUs of different kinds, as seen by torch."""
    names = ["first", "second", "third"]

    def index(device: object = None) -> int:
        return torch.device(str(device)).index or 0 if device is not None else 0

    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: names[index(device)])
    peaks = [2**20, 2**21, 2**22]
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: peaks[index(device)])
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device=None: peaks.__setitem__(index(device), 0)
    )
    provenance.current_provenance.cache_clear()
    return names


def worker_args(device: str, jobs: int, monkeypatch: pytest.MonkeyPatch, out: Path) -> list[WorkerArgs]:
    """Return the arguments of a run's workers without starting them."""
    args: list[WorkerArgs] = []
    monkeypatch.setattr(local, "_WorkerProcess", args.append)
    monkeypatch.setattr(local, "_watch_workers", lambda *_: None)
    resolved = SimpleNamespace(request=RunConfig(out=str(out)))
    local.execute_cells(WaitingRun(resolved, [], ResumeRules(), jobs, device))  # type: ignore[arg-type]
    return args


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("device", "jobs", "devices"),
    [
        ("cuda", 5, ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]),
        ("cuda:2", 3, ["cuda:2"] * 3),  # the user has named one
        ("cpu", 2, ["cpu"] * 2),
    ],
)
def test_workers_take_the_visible_gpus_in_turns(
    device: str, jobs: int, devices: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert [args.device for args in worker_args(device, jobs, monkeypatch, tmp_path)] == devices


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("device", "per_gpu", "devices"),
    [
        ("cuda", 2, ["cuda:0", "cuda:1", "cuda:2"] * 2),
        ("cuda:1", 4, ["cuda:1"] * 4),
        ("cuda", 1, ["cuda:0", "cuda:1", "cuda:2"]),
    ],
)
def test_per_gpu_packs_as_many_processes_on_every_card(device: str, per_gpu: int, devices: list[str]) -> None:
    jobs = hardware.process_count(device, jobs=1, per_gpu=per_gpu)
    assert sorted(hardware.worker_devices(device, jobs)) == sorted(devices)
    # the estimate: at worst cards alone divide the time, at best every process does
    assert hardware.speedup(device, jobs) == (len(set(devices)), len(devices))


def test_per_gpu_needs_a_gpu_and_no_jobs() -> None:
    assert hardware.process_count("cpu", jobs=3, per_gpu=0) == 3
    with pytest.raises(UserError, match=r"^--per-gpu 2: the device is cpu, no GPU: pass --jobs 2\.$"):
        hardware.process_count("cpu", jobs=1, per_gpu=2)
    with pytest.raises(UserError, match=r"^--per-gpu 2 and --jobs 3 both set the number of processes"):
        hardware.process_count("cuda", jobs=3, per_gpu=2)


def test_a_record_names_the_card_that_computed_it_and_its_memory(cards: list[str]) -> None:
    for number, name in enumerate(cards):
        assert provenance.current_provenance(f"cuda:{number}").device == f"cuda:{number} ({name})"
        assert provenance.peak_memory_mb(f"cuda:{number}") == 2**number
        assert provenance.peak_memory_mb(f"cuda:{number}") == 0  # reset by the last call
    provenance.current_provenance.cache_clear()


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("device", "jobs", "threads", "speed"),
    [
        ("cuda", 2, 4, (2, 2)),
        ("cuda", 6, 4, (3, 6)),
        ("cuda:1", 4, 4, (1, 4)),  # all on one card: no faster at worst
        ("cpu", 2, 4, (2, 2)),
        ("cpu", 8, 4, (4, 8)),
        ("cpu", 40, 1, (16, 16)),
        ("cpu", 4, 16, (1, 4)),
    ],
)
def test_processes_divide_the_time_by_what_they_share(
    device: str, jobs: int, threads: int, speed: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "allowed_cpus", lambda: 16)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert hardware.speedup(device, jobs) == speed


def test_more_processes_than_cells_make_nothing_faster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(estimate, "speedup", lambda device, jobs: asked.append(jobs) or (1.0, float(jobs)))
    options: dict[str, Any] = {
        "tasks": "phantom-organ",
        "protocols": "knn",
        "inits": "scratch",
        "seeds": "0,1",
        "fractions": "1",
    }
    planned = plan_run(RunConfig(out=str(tmp_path / "run"), **options))
    probe = SimpleNamespace(
        network=lambda *_: NetworkTimes(0.0, 1.0, 0.0),
        multiply_adds=lambda *_: 1e30,
        metrics=lambda *_: 0.0,
    )
    found = estimate.estimate_plan(planned.resolved, planned.waiting, "cpu", 8, probe).seconds  # type: ignore[arg-type]
    images = 2 * 840  # of train, val and test, for the weights of each seed
    assert asked == [2]
    assert found.low == pytest.approx(images / 2) and found.high == pytest.approx(images * estimate.SLOWDOWN)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_jobs_change_neither_threads_nor_a_bit_of_a_result(fresh: CommandLine, tmp_path: Path) -> None:
    command = ["run", *SMALL, "--protocols", "finetune", "--archs", "test_efficientnet", "--no-report"]
    command += ["--steps", "2", "--lr-grid", "0.003", "--fractions", "0.2", "--seeds", "0..1"]
    environment = {name: value for name, value in fresh.environment.items() if name != "OMP_NUM_THREADS"}
    plain = CommandLine(fresh.folder, environment, fresh=True)
    found = []
    for jobs in ("1", "2"):
        plain.succeed(*command, "--jobs", jobs, "--out", f"run{jobs}")
        found.append({record.key: record for record in planned_records(tmp_path / f"run{jobs}")})
    alone, together = found
    assert alone.keys() == together.keys()
    for key, record in together.items():
        assert record.provenance.threads == min(hardware.MOST_THREADS, hardware.allowed_cpus())
        assert record.provenance.threads == alone[key].provenance.threads
        assert record.metrics == alone[key].metrics
