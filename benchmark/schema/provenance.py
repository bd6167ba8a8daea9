"""Software and hardware of a run: package versions, commit, device, threads, memory."""

import functools
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .records import Provenance

PACKAGES = ("mednet-bench", "torch", "timm", "torchvision", "medmnist", "scikit-learn", "numpy", "scipy")


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`; "absent" where one is not installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


@functools.cache
def checkout_commit() -> tuple[str, bool]:
    """Return the checkout's commit and dirty flag; ("", False) for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "", False
    outputs = []
    try:
        for command in (["rev-parse", "HEAD"], ["status", "--porcelain"]):
            git = ["git", "-C", str(root), *command]
            done = subprocess.run(git, capture_output=True, text=True, timeout=30, check=True)
            outputs.append(done.stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return "unknown", True  # not known to be clean
    return outputs[0], bool(outputs[1])


@functools.cache
def current_provenance(device: str) -> Provenance:
    """Return the provenance of records computed by this process on `device`, e.g. "cpu"."""
    import torch

    head, dirty = checkout_commit()
    name = f"cpu ({platform.machine()})"
    if device.startswith("cuda"):
        name = f"{device} ({torch.cuda.get_device_name(device)})"
    versions, threads = package_versions(), torch.get_num_threads()
    return Provenance(versions=versions, commit=head, dirty=dirty, device=name, threads=threads)


def peak_memory_mb(device: str) -> float:
    """Return the peak memory in MiB: the GPU's since the last call, else the process's resident.

    0 where the system does not report it.
    """
    if device.startswith("cuda"):
        import torch

        peak = torch.cuda.max_memory_allocated(device) / 2**20
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return 0.0  # NaN would be written as null, which cannot be read as a float
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)
