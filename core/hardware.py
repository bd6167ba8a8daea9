"""What a process gets of the machine: threads, how long they spin, and which GPU."""

import math
import os
from pathlib import Path

MOST_THREADS = 4
"""Of one cell: at 28 to 64 px more threads gain little, and `--jobs` needs CPUs as well."""
SPINNING = {"GOMP_SPINCOUNT": "30000", "KMP_BLOCKTIME": "1"}
"""Of GNU's OpenMP, in loops; of LLVM's and Intel's, in milliseconds."""
CGROUPS = Path("/sys/fs/cgroup")


def bound_spinning() -> None:
    """Let OpenMP threads sleep soon when they wait for one another; a choice of the user's stays.

    By default they spin for milliseconds, which beside a busy neighbor is time taken from the very thread
    that they wait for. OpenMP reads the environment when it is loaded, so this comes before `import torch`;
    processes that are started later inherit it.
    """
    if os.environ.keys().isdisjoint((*SPINNING, "OMP_WAIT_POLICY")):
        os.environ.update(SPINNING)


def fix_threads() -> None:
    """Fix how many threads this process and its workers compute with; OMP_NUM_THREADS of the user stays.

    The number changes the last digits of a result, so it depends on the machine alone and never on `--jobs`.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(min(MOST_THREADS, allowed_cpus())))


def allowed_cpus() -> int:
    """Return how many CPUs this process may use, by its affinity and the quota of its control groups."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cpus, cpu_quota(CGROUPS, Path("/proc/self/cgroup")))))


def cpu_quota(root: Path, own: Path) -> float:
    """Return how many CPUs control groups grant; infinite where none sets a limit.

    Args:
        root: where control groups are mounted.
        own: file that lists the groups of this process; only version 2 has nested groups here.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    groups = [root / part for part in (Path(path), *Path(path).parents)]  # the root too: its path is "."
    quotas = [_ratio(*_words(group / "cpu.max")) for group in groups]
    first = root / "cpu"  # version 1: a container's own group is the mounted one
    return min(*quotas, _ratio(*_words(first / "cpu.cfs_quota_us"), *_words(first / "cpu.cfs_period_us")))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _ratio(*words: str) -> float:
    """Return quota / period of two numbers; "max", -1 and anything else are no limit."""
    if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
        return int(words[0]) / int(words[1])
    return math.inf


def worker_devices(device: str, jobs: int) -> list[str]:
    """Return the device of each of `jobs` processes: the visible GPUs in turns, unless one is named.

    Args:
        device: as torch calls it; "cuda" without a number names no GPU.
        jobs: processes.
    """
    if device != "cuda":
        return [device] * jobs
    import torch

    cards = max(1, torch.cuda.device_count())
    return [f"cuda:{number % cards}" for number in range(jobs)]


def speedup(device: str, jobs: int) -> tuple[float, float]:
    """Return how many times as fast as one process `jobs` of them are, at least and at most.

    Processes on one GPU may fill each other's gaps or wait for each other; on a CPU they share the cores,
    which the threads of one may or may not keep busy.
    """
    if device != "cpu":
        return len(set(worker_devices(device, jobs))), jobs
    import torch

    cpus = allowed_cpus()
    return min(jobs, max(1.0, cpus / torch.get_num_threads())), min(jobs, cpus)
