"""Leases: files that name their owner and end when it no longer renews them; file locks are not needed.

The time of a lease is compared with that of a file written beside it, so that the file server's clock counts.
Where the server takes times from its clients, as Lustre does, no clock suffices: a process takes a lease over
only after it has seen no renewal for some beats.
"""

import os
import re
import socket
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from .errors import StoppedError, UserError
from .files import explain_write_errors, fcntl, machine_tag
from .interrupts import defer_interrupts
from .processes import machine_boot, process_start
from .progress import say_meanwhile

LEASE_VARIABLE = "MEDNET_BENCH_LEASE"
DEFAULT_SECONDS = 90.0
BEATS, SILENT_BEATS = 6, 2
"""Renewals in the time of a lease, and how many a process must miss itself before it takes a lease over."""
LONGEST_WAIT = 5.0
"""Most seconds between two looks at a lease that another process holds."""
LEFTOVER_SECONDS = 3600.0
"""Age of a temporary file of another machine at which its writer is taken for dead."""
LARGEST = 4096
"""Most bytes of a lease."""
READ_WAITS = (0.1, 1.0)
"""Seconds before a lease that could not be read is read again."""
NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_offsets: dict[Path, float] = {}
"""Folder -> seconds by which its file server's clock is ahead of this process's monotonic one."""
_renewals: dict[Path, tuple[float, float]] = {}
"""Lease of another process -> time of its last renewal, and since when this process has seen no other."""


def lease_seconds() -> float:
    """Return the seconds after which a lease that is not renewed has ended, by MEDNET_BENCH_LEASE.

    Raises:
        UserError: the variable is no number of seconds above 0.
    """
    given = os.environ.get(LEASE_VARIABLE, "").strip()
    try:
        seconds = float(given or DEFAULT_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        cure = f"set it to seconds above 0, like {DEFAULT_SECONDS:g}"
        raise UserError(f"{LEASE_VARIABLE} is '{given}': {cure}.")
    return seconds


def beat_seconds() -> float:
    """Return the seconds between two renewals of a lease."""
    return lease_seconds() / BEATS


class LeaseOwner(msgspec.Struct, frozen=True, kw_only=True):
    """Process that holds a lease, as written into its file."""

    token: str
    """Unique for each lease."""
    host: str = ""
    pid: int = 0
    started: str = ""
    """Start of the process by the kernel's clock; "" where unknown."""
    boot: str = ""
    """Boot of the machine and space of its process ids; "" where unknown."""
    job: str = ""
    """Job id of the cluster's scheduler; "" outside of one."""

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        return f"process {self.pid} on {self.host}" + (f" in job {self.job}" if self.job else "")

    @property
    def has_ended(self) -> bool:
        """Whether it was a process of this machine and runs no longer; False where that is unknown."""
        if not self.boot or (self.host, self.boot) != (socket.gethostname(), machine_boot()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # another user's
            return False
        return process_start(self.pid) not in (self.started, "")


def new_owner() -> LeaseOwner:
    """Describe this process as the owner of a new lease."""
    return LeaseOwner(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=process_start(os.getpid()),
        boot=machine_boot(),
        job=cluster_job(),
    )


def cluster_job() -> str:
    """Return the id of this process's job at Slurm, as "45_1" for a task of an array; "" outside of one."""
    array = map(os.environ.get, ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"))
    return "_".join(filter(None, array)) or os.environ.get("SLURM_JOB_ID", "")


class Lease:
    """A lease that this process holds; a thread renews it until `release`."""

    def __init__(self, path: Path, owner: LeaseOwner, file: int, beat: float) -> None:
        self.path, self.owner, self._file, self._beat = path, owner, file, beat
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def _renew(self) -> None:
        # through the open file, so that the lease of another process at this path is never renewed
        renewed: int | Path = self._file if os.utime in os.supports_fd else self.path
        while not self._ended.wait(self._beat):
            with suppress(OSError):  # taken over and removed, see `is_mine`
                os.utime(renewed)  # no times: the file server sets its own

    def is_mine(self) -> bool:
        """Whether no other process has taken the lease over, e.g. while this one was stopped."""
        found = read_lease(self.path)
        return found is not None and found[0].token == self.owner.token

    def check(self) -> None:
        """Raise `StoppedError` if another process has taken the lease over."""
        if not self.is_mine():
            raise StoppedError(
                f"Another process has taken over {self.path.parent}, as this one did not run for "
                f"{lease_seconds():g} s: run the same command again."
            )

    def release(self) -> None:
        """Stop renewing the lease; remove it if it is still this process's."""
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # the folder may be gone
            os.close(self._file)
        with suppress(OSError):
            if self.is_mine():
                self.path.unlink()


@contextmanager
def claim_lock(path: Path, wait: bool = False, watch: bool = False) -> Iterator[Lease | None]:
    """Hold the lease `path` for the block; yields None where another process holds it.

    A lease whose owner has ended, on this machine, is taken over; another one if it was not renewed for
    `lease_seconds`, of which this process has watched some. An owner that was stopped for so long must ask
    `Lease.is_mine` or `Lease.check` before it writes.

    Args:
        path: of the lease's file, which is removed at the end.
        wait: wait for the lease instead of yielding None; the progress display says for which process.
        watch: wait only while the lease seems to have ended.

    Raises:
        UnwritableError: the folder is not writable.
        DiskFullError: the disk is full.
    """
    lease = None
    try:
        with explain_write_errors(path):
            with defer_interrupts():  # until the lease is known below, to be removed
                lease = _acquire(path)
            if lease is None and (wait or watch):
                with say_meanwhile(f"waiting for {lock_owner(path)}, which holds {path}"):
                    started = time.monotonic()
                    while lease is None and (wait or _seems_ended(path)):
                        time.sleep(growing_wait(time.monotonic() - started, 0.05))
                        with defer_interrupts():
                            lease = _acquire(path)
        yield lease
    finally:
        if lease:
            lease.release()


def growing_wait(waited: float, least: float, most: float = LONGEST_WAIT) -> float:
    """Return how many seconds to wait for the next look: a tenth of those waited, within limits."""
    return min(max(least, waited / 10), most)


def lock_owner(path: Path) -> str:
    """Return which process holds a lease, as "process 12 on node3"."""
    found = read_lease(path)
    return str(found[0]) if found else "another process"


def _acquire(path: Path) -> Lease | None:
    return _create(path) or (_create(path) if _remove_ended(path) else None)


def _create(path: Path) -> Lease | None:
    """Create a lease; None where one exists."""
    owner, beat = new_owner(), beat_seconds()
    try:
        file = os.open(path, NEW_FILE, 0o666)
    except FileExistsError:
        return None
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _create(path)
    try:
        os.write(file, msgspec.json.encode(owner))
    except OSError:
        os.close(file)
        path.unlink(missing_ok=True)
        raise
    return Lease(path, owner, file, beat)


def read_lease(path: Path) -> tuple[LeaseOwner, float] | None:
    """Return the owner of a lease and the file server's time of its last renewal; None without one."""
    found = None
    for seconds in (0.0, *READ_WAITS):
        if seconds:
            time.sleep(seconds)
        with suppress(OSError):  # the file server is busy
            try:
                found = _read(path)
                break
            except FileNotFoundError:
                return None
    if found is None:
        return None
    state, content = found
    try:
        owner = msgspec.json.decode(content, type=LeaseOwner)
    except msgspec.DecodeError:  # being written, cut off, or of an older version
        owner = LeaseOwner(token=f"{state.st_ino}-{state.st_mtime_ns}")
    return owner, state.st_mtime


def _read(path: Path) -> tuple[os.stat_result, bytes]:
    file = os.open(path, os.O_RDONLY)  # opened anew: a client may remember times for a minute
    try:
        return os.fstat(file), os.read(file, LARGEST)
    finally:
        os.close(file)


def _remove_ended(path: Path) -> bool:
    """Remove a lease that has ended; whether it is gone.

    For each lease only one process may do so, the one that creates the marker with its token.
    """
    found = read_lease(path)
    if found is None:
        return True
    owner, renewed = found
    # without an owner nothing renews it: cut off, or a lock of an older version, of which many may be left
    silent = _is_silent(path, renewed) if owner.pid else _is_overdue(path.parent, renewed)
    if not (owner.has_ended or silent):
        return False
    token = owner.token
    marker = path.with_name(f"{path.name}.{token}.ended")
    try:
        os.close(os.open(marker, NEW_FILE, 0o666))
    except FileExistsError:
        left = read_lease(marker)
        if left and _is_overdue(path.parent, left[1]):  # its maker was killed before the next lines
            marker.unlink(missing_ok=True)
        return False
    try:
        again = read_lease(path)
        ended = again is not None and again[0].token == token and again[1] == renewed
        if ended:
            path.unlink(missing_ok=True)
        return ended
    finally:
        marker.unlink(missing_ok=True)


def _is_silent(path: Path, renewed: float) -> bool:
    """Whether a lease has ended, as far as this process has watched it since its last renewal."""
    if path not in _renewals or _renewals[path][0] != renewed:
        _renewals[path] = renewed, time.monotonic()
    watched = time.monotonic() - _renewals[path][1]
    overdue = watched >= SILENT_BEATS * beat_seconds() and _is_overdue(path.parent, renewed)
    return overdue or watched > lease_seconds()


def _seems_ended(path: Path) -> bool:
    found = read_lease(path)
    return found is None or _is_overdue(path.parent, found[1])


def _is_overdue(folder: Path, renewed: float, seconds: float = 0.0) -> bool:
    """Whether a time is more than `seconds`, or `lease_seconds`, ago by the file server's clock."""
    for measure in (False, True):  # the clock is read again before a lease is taken over
        if measure or folder not in _offsets:
            _offsets[folder] = server_time(folder) - time.monotonic()
        if time.monotonic() + _offsets[folder] - renewed <= (seconds or lease_seconds()):
            return False
    return True


def server_time(folder: Path) -> float:
    """Return the time of a folder's file server in seconds, from a file that is written there and removed."""
    path = folder / f".clock.{uuid.uuid4().hex}.tmp"
    try:
        path.write_bytes(b"0")
        os.utime(path)
        return path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove temporary files of killed writers from a run directory or the cache.

    A live writer of this machine locks its file; one of another machine is known by the file's age.
    """
    for pattern in (".*.tmp", "*/.*.tmp", "report/figures/.*.tmp"):
        for path in folder.glob(pattern):
            if _LEFTOVER.fullmatch(path.name):
                with suppress(OSError):
                    _remove_leftover(path)


def _remove_leftover(path: Path) -> None:
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode):  # a named pipe would never open
        return
    if fcntl and machine_tag() in path.name:
        with path.open("r+b") as file, suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            path.unlink()
            return
    if _is_overdue(path.parent, state.st_mtime, LEFTOVER_SECONDS):
        path.unlink()
