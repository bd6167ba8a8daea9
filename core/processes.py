"""Identity of this machine and of its processes."""

import functools
from pathlib import Path


@functools.cache
def machine_boot() -> str:
    """Name this boot of the machine and the space of its process ids, "" where unknown.

    The host's name is not enough: containers may share it, each with process ids of its own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """Return when a process started, "ended" for one that its parent has not awaited, "" where unknown."""
    try:
        # pid (name) state parent ... start; the name may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]
