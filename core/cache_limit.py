"""Size limit of the cached features: the least recently used ones are removed, none that is in use."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .leases import claim_lock

LIMIT_VARIABLE = "MEDNET_BENCH_CACHE_GB"
DEFAULT_GB = 20.0
FEATURES = "features"
"""Folder of the features within the scratch folder."""


def cache_limit() -> float:
    """Return the most bytes that cached features may take, by MEDNET_BENCH_CACHE_GB.

    Raises:
        UserError: the variable is no number of gigabytes.
    """
    given = os.environ.get(LIMIT_VARIABLE, "").strip()
    try:
        gigabytes = float(given or DEFAULT_GB)
    except ValueError:
        gigabytes = -1.0
    if not gigabytes >= 0:  # NaN too
        raise UserError(
            f"{LIMIT_VARIABLE} is '{given}': set it to a number of gigabytes, like {DEFAULT_GB:g}, or to inf."
        )
    return gigabytes * 1e9


@dataclass(frozen=True)
class CacheEntry:
    """Files of a cache that are removed together.

    Attributes:
        path: a file or a folder.
        beside: further files, such as the facts of weights.
        lock: lock file of the processes that write it; None for that beside it with the suffix `.lock`.
    """

    path: Path
    beside: tuple[Path, ...] = ()
    lock: Path | None = None

    @property
    def size(self) -> int:
        """Bytes on disk; 0 for what is gone."""
        return sum(state.st_size for state in self._file_states())

    @property
    def last_used(self) -> float:
        """Time of the last use in seconds since 1970; 0 where it is gone."""
        return max((max(state.st_atime, state.st_mtime) for state in self._file_states()), default=0.0)

    def _file_states(self) -> Iterator[os.stat_result]:
        for path in (self.path, *self.beside):
            for file in (path, *path.rglob("*")):
                with suppress(OSError):  # another process removed it
                    if stat.S_ISREG((state := file.lstat()).st_mode):
                        yield state

    def mark_used(self) -> None:
        """Set the access time, which many mounts do not update; others may read the file only."""
        with suppress(OSError):
            os.utime(self.path, ns=(time.time_ns(), self.path.stat().st_mtime_ns))

    def remove(self) -> bool:
        """Remove it unless a process holds its lock; return whether it is gone.

        A process that waits for the lock finds no file, and makes a new one.
        """
        lock = self.lock or self.path.with_suffix(".lock")
        with claim_lock(lock) as free:
            if not free:
                return False
            with suppress(OSError):  # Windows keeps a file that is open
                shutil.rmtree(self.path, ignore_errors=True)  # does nothing to a file
                for file in (self.path, *self.beside, lock):
                    file.unlink(missing_ok=True)
        return not self.path.exists()


def feature_entries(scratch: Path) -> list[CacheEntry]:
    """List the stored features in the scratch folder."""
    return [CacheEntry(path) for path in (scratch / FEATURES).glob("*.npz")]


def make_room(entries: list[CacheEntry], limit: float, needed: int = 0) -> None:
    """Remove the least recently used entries until, with `needed` bytes more, `limit` is kept.

    Several processes may do so at the same time. Entries in use stay, even above the limit.
    """
    sizes = {entry: entry.size for entry in entries}
    total = sum(sizes.values()) + needed
    for entry in sorted(entries, key=lambda entry: entry.last_used):
        if total <= limit:
            return
        if entry.remove():
            total -= sizes[entry]
