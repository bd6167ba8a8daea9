"""Test whether processes, perhaps of many machines, can share a run directory: `doctor --run`.

The second process is this module: python -m mednet_bench.core.shared_folder FOLDER
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from .errors import UserError
from .files import explain_write_errors, place_first, temporary_path, write_bytes
from .leases import NEW_FILE, growing_wait, lease_seconds, server_time

RACES, EXCHANGES = 200, 20
"""Files that both processes try to create, and messages between them."""
LEAST_FREE_GB = 0.1
ANSWER_SECONDS = 120.0
"""How long a process waits for the other's file."""
LOCAL_FILE_SYSTEMS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", "vfat")
"""Types of file systems that are on a disk, or in the memory, of one machine."""


class FolderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a folder that two processes found."""

    folder: str
    file_system: str
    """Type, as in the table of mounts; "" where unknown."""
    exclusive: bool
    """Whether each file was created by one of the processes that tried at the same time."""
    first_record: bool
    """Whether each file got the name that several files should get from one process."""
    renewed: bool
    """Whether the file server sets the time of a file that is touched."""
    delay_seconds: float
    """Longest time until a new file was seen by the other process."""
    clock_offset_seconds: float
    """File server's clock minus this machine's."""
    free_gb: float
    faults: tuple[str, ...]
    """Reasons why many nodes may not share the folder, a clause each."""

    @property
    def verdict(self) -> str:
        """Say whether many nodes may share the folder."""
        if self.faults:
            return f"Many nodes may not share {self.folder}: {'; '.join(self.faults)}."
        return f"Many nodes may share {self.folder}, as far as one shows it; run this on each kind of node."


def probe_folder(folder: Path) -> FolderFacts:
    """Let this process and another one test a folder, which is made; what they write is removed.

    Raises:
        UserError: the folder is not writable, or the second process did not answer.
        DiskFullError: the disk is full.
    """
    place = temporary_path(folder / "doctor")
    with explain_write_errors(folder):
        place.mkdir(parents=True)
        try:
            return _probe_with_partner(folder, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _probe_with_partner(folder: Path, place: Path) -> FolderFacts:
    command = [sys.executable, "-m", __name__, str(place)]
    partner = subprocess.Popen(command, env={**os.environ, "PYTHONSAFEPATH": "1"})
    try:
        _wait_for(place / "ready")
        races = [_race(place, name, "first") for name in RACERS]
        delays = [_exchange(place, number) for number in range(EXCHANGES)]
    finally:
        partner.kill()
        partner.wait()
    exclusive, linked = races
    facts = FolderFacts(
        folder=str(folder),
        file_system=file_system_type(folder),
        exclusive=exclusive,
        first_record=linked,
        renewed=_renews(place),
        delay_seconds=max(delays),
        clock_offset_seconds=server_time(place) - time.time(),
        free_gb=shutil.disk_usage(place).free / 1e9,
        faults=(),
    )
    return msgspec.structs.replace(facts, faults=tuple(_faults(facts)))


def _faults(facts: FolderFacts) -> list[str]:
    most, delay = lease_seconds() / 3, facts.delay_seconds
    found = {
        "two processes created the same file, so both would compute a cell": not facts.exclusive,
        "two processes gave a file the same name, so records would be lost": not facts.first_record,
        "the file server does not set the time of a touched file, so claims would end": not facts.renewed,
        f"a file was seen after {delay:.0f} s, so cells would be computed twice": delay > most,
        f"it is on a disk of this machine ({facts.file_system}), which others see only if it is exported to "
        "them; processes of this machine may share it": facts.file_system in LOCAL_FILE_SYSTEMS,
        f"it has {facts.free_gb:.2f} GB free": facts.free_gb < LEAST_FREE_GB,
    }
    return [sentence for sentence, true in found.items() if true]


def file_system_type(path: Path, table: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system with `path`, "" where it is unknown."""
    try:
        lines = [line.partition(" - ") for line in table.read_text().splitlines()]
    except OSError:  # no Linux
        return ""
    mounts = [(before.split()[4].replace("\\040", " "), after.split()[0]) for before, _, after in lines]
    inside = [mount for mount in reversed(mounts) if path.resolve().is_relative_to(mount[0])]
    return max(inside, key=lambda mount: len(mount[0]), default=("", ""))[1]  # the last of equals is on top


def _renews(place: Path) -> bool:
    path = place / "touched"
    path.write_bytes(b"0")
    os.utime(path, (1, 1))
    os.utime(path)
    return abs(path.stat().st_mtime - server_time(place)) < ANSWER_SECONDS


def _create(path: Path) -> bool:
    try:
        os.close(os.open(path, NEW_FILE, 0o666))
    except FileExistsError:
        return False
    return True


def _place(path: Path) -> bool:
    temporary = temporary_path(path)
    temporary.write_bytes(b"")
    return place_first(temporary, path)


RACERS: dict[str, Callable[[Path], bool]] = {"created": _create, "placed": _place}
"""What two processes do with the same names at the same time: each must succeed for one of them."""


def _race(place: Path, name: str, own: str) -> bool:
    """Try every name; return whether each was had by one process, as far as the first process knows."""
    other = {"first": "second", "second": "first"}[own]
    write_bytes(place / f"{name}-{own}-starts", b"")
    _wait_for(place / f"{name}-{other}-starts")
    mine = [number for number in range(RACES) if RACERS[name](place / f"{name}-{number}")]
    write_bytes(place / f"{name}-{own}", msgspec.json.encode(mine))
    theirs = msgspec.json.decode(_wait_for(place / f"{name}-{other}").read_bytes(), type=list[int])
    return sorted([*mine, *theirs]) == [*range(RACES)]


def _exchange(place: Path, number: int) -> float:
    """Return how long a file and its answer took, at least the delay of one of them."""
    started = time.monotonic()
    write_bytes(place / f"question-{number}", b"")
    _wait_for(place / f"answer-{number}")
    return time.monotonic() - started


def _wait_for(path: Path) -> Path:
    started = time.monotonic()
    while not path.exists():
        if time.monotonic() - started > ANSWER_SECONDS:
            raise UserError(f"No second process answered in {path.parent.parent}: look for memory or CPUs.")
        time.sleep(min(0.05, growing_wait(time.monotonic() - started, 0.001)))
    return path


def answer(place: Path) -> None:
    """Be the second process of a test."""
    write_bytes(place / "ready", b"")
    for name in RACERS:
        _race(place, name, "second")
    for number in range(EXCHANGES):
        _wait_for(place / f"question-{number}")
        write_bytes(place / f"answer-{number}", b"")


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
