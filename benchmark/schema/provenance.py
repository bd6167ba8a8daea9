"""With what a record was computed: package versions, commit, device, threads, memory."""

import functools
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .records import Provenance

PACKAGES = ("mednet-bench", "torch", "timm", "torchvision", "medmnist", "scikit-learn", "numpy", "scipy")


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result; "absent" where missing."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


@functools.cache
def checkout_commit() -> tuple[str, bool]:
    """Return the checkout's commit and whether it has changes; ("", False) for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "", False
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        status = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown", True  # a checkout that git cannot read is no clean state
    return head.stdout.strip(), bool(status.stdout.strip())


@functools.cache
def current_provenance(device: str) -> Provenance:
    """Return the provenance of everything that this process computes on `device` ("cpu", "cuda", ...)."""
    import torch

    head, dirty = checkout_commit()
    named = (
        f"{device} ({torch.cuda.get_device_name(device)})"
        if device.startswith("cuda")
        else f"cpu ({platform.machine()})"
    )
    return Provenance(
        versions=package_versions(), commit=head, dirty=dirty, device=named, threads=torch.get_num_threads()
    )


def peak_memory_mb(device: str) -> float:
    """Return the peak memory in MiB: the GPU's since the last reset, else resident of this process so far.

    0 where the system keeps no such figure.
    """
    if device.startswith("cuda"):
        import torch

        peak = torch.cuda.max_memory_allocated(device) / 2**20
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    try:
        import resource
    except ImportError:  # Windows keeps no such figure
        return 0.0  # a NaN would be null in the record, which could not be read again
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)
