"""Threads, CPUs and GPUs of a process."""

import ctypes
import math
import os
from pathlib import Path

from .errors import UserError

MOST_THREADS = 4
"""Threads of one cell: at 28 to 64 px more of them gain little, and `--jobs` needs CPUs too."""
SPINNING = {"GOMP_SPINCOUNT": "30000", "KMP_BLOCKTIME": "1"}
"""How long a waiting thread spins: of GNU's OpenMP in loops; of LLVM's and Intel's in milliseconds."""
KEPT_MEMORY, LARGEST_KEPT = 2**29, 2**27
"""Bytes of freed memory that a process keeps, in all and in one block; see `keep_freed_memory`."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's options, from its malloc.h."""
CGROUPS = Path("/sys/fs/cgroup")


def bound_spinning() -> None:
    """Make waiting OpenMP threads sleep soon, unless the user's environment sets this.

    By default they spin for milliseconds, which on busy CPUs delays the thread that they wait for. OpenMP
    reads the environment when it is loaded: call this before `import torch`. Child processes inherit it.
    """
    if os.environ.keys().isdisjoint((*SPINNING, "OMP_WAIT_POLICY")):
        os.environ.update(SPINNING)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of handing it back to the kernel.

    Otherwise the gradients of every step, or the pixels of every image, may lie in new pages, which the
    kernel clears first. Other allocators, and the user's settings of this one, are left alone.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    change = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if change:
        change(TRIM_THRESHOLD, KEPT_MEMORY)
        change(MMAP_THRESHOLD, LARGEST_KEPT)


def fix_threads() -> None:
    """Set the number of threads of this process and its workers, unless OMP_NUM_THREADS is set.

    It changes the last digits of results, so it depends on the machine and never on `--jobs`.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(min(MOST_THREADS, allowed_cpus())))


def allowed_cpus() -> int:
    """Return the number of CPUs by this process's affinity and the quota of its control groups."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cpus, cpu_quota(CGROUPS, Path("/proc/self/cgroup")))))


def cpu_quota(root: Path, own: Path) -> float:
    """Return the number of CPUs that control groups grant; infinite where none sets a limit.

    Args:
        root: mount point of the control groups.
        own: file that lists the groups of this process.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    groups = [root / part for part in (Path(path), *Path(path).parents)]  # the root too: its path is "."
    quotas = [_ratio(*_read_words(group / "cpu.max")) for group in groups]
    first = root / "cpu"  # version 1: a container's own group is the mounted one
    return min(
        *quotas, _ratio(*_read_words(first / "cpu.cfs_quota_us"), *_read_words(first / "cpu.cfs_period_us"))
    )


def _read_words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _ratio(*words: str) -> float:
    """Return quota / period of two numbers; "max", -1 and anything else are no limit."""
    if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
        return int(words[0]) / int(words[1])
    return math.inf


def process_count(device: str, jobs: int, per_gpu: int) -> int:
    """Return the number of processes of a run.

    Args:
        device: torch device; "cuda" means all visible GPUs.
        jobs: number of processes if `per_gpu` is 0.
        per_gpu: number of processes on each GPU.

    Raises:
        UserError: `per_gpu` is set without a GPU, or beside several `jobs`.
    """
    if not per_gpu:
        return jobs
    if jobs > 1:
        raise UserError(f"--per-gpu {per_gpu} and --jobs {jobs} both set the number of processes: pass one.")
    if not device.startswith("cuda"):
        raise UserError(f"--per-gpu {per_gpu}: the device is {device}, no GPU: pass --jobs {per_gpu}.")
    return per_gpu * _count_cards(device)


def _count_cards(device: str) -> int:
    """Return the number of GPUs that a device names."""
    if device != "cuda":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def worker_devices(device: str, jobs: int) -> list[str]:
    """Return the device of each of `jobs` processes: the GPUs in turn for a bare "cuda"."""
    if device != "cuda":
        return [device] * jobs
    cards = _count_cards(device)
    return [f"cuda:{number % cards}" for number in range(jobs)]


def speedup(device: str, jobs: int) -> tuple[float, float]:
    """Return the smallest and largest speedup of `jobs` processes over one.

    Processes on one GPU may overlap or wait for each other; on a CPU they share the cores, which the threads
    of one process may or may not keep busy.
    """
    if device != "cpu":
        return len(set(worker_devices(device, jobs))), jobs
    import torch

    cpus = allowed_cpus()
    return min(jobs, max(1.0, cpus / torch.get_num_threads())), min(jobs, cpus)
