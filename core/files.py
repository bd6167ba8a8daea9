"""Files that are either whole or absent: atomic writes, content hashes, locks that die with their owner."""

import errno
import hashlib
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from .errors import StoppedError, UserError
from .interrupts import deferred_interrupt

try:
    import fcntl
except ImportError:  # Windows, which removes no open file: there nothing has to be locked
    fcntl = None

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when there is no room left: on the disk, in the quota, within the size limit."""


MOST_BYTES = 1 << 28
"""No record, plan or audit is larger, by far."""
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


class DiskFullError(StoppedError):
    """The file system took no more."""


class UnwritableError(UserError):
    """A place that cannot be written to, now or for the next cell."""


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file so that a reader sees all of it or none: temporary file, fsync, rename.

    Args:
        path: where the file shall stand; its folder is made.
        write: receives the open binary file.

    Raises:
        StoppedError: there is no room left (`DiskFullError`; the temporary file is removed), or the folder is
            removed meanwhile.
        UnwritableError: the place cannot be written to.
    """
    with explain_write_errors(path), deferred_interrupt():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_and_replace(path, write)
        except FileNotFoundError as error:
            raise StoppedError(
                f"The folder of {path} was removed meanwhile: run the same command again."
            ) from error


def _write_and_replace(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    file = _temporary(path)
    temporary = Path(file.name)
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if fcntl:  # while it is locked, or `sweep` would take it for a leftover
                temporary.replace(path)
        if not fcntl:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> BinaryIO:
    """Open a temporary file beside `path`, locked, so that `sweep` knows that its writer lives."""
    while True:  # unlike mkstemp's, readable as the umask allows
        file = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp").open("xb")
        if fcntl:
            with suppress(OSError):  # a file system without locks, where `sweep` gets none either
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink or not fcntl:
            return file
        file.close()  # swept in the instant before it was locked


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a run directory or the cache.

    A file that is being written is locked by its writer, whose lock dies with it; it is left alone.
    """
    for pattern in (".*.tmp", "*/.*.tmp", "report/figures/.*.tmp"):
        for path in folder.glob(pattern):
            if _LEFTOVER.fullmatch(path.name):
                with suppress(OSError):
                    _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):  # a named pipe would never open
        return
    with path.open("r+b") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            return
    path.unlink()


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a named pipe or a device, which may hang or never end, is an `OSError`."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # each system has one
    file = os.fdopen(os.open(path, flags), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "It is no regular file", str(path))


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file of at most `most` bytes; any other is an `OSError`."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"It is larger than {most:,} bytes", str(path))
    return content


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Say, where the block fails, what it means that `path` cannot be written.

    Raises:
        DiskFullError: there is no room left.
        UnwritableError: the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise _told(path, error) from error


def _told(path: Path, error: OSError) -> UnwritableError | DiskFullError:
    if error.errno in FULL:
        return DiskFullError(
            f"No room left while writing {path}: free some space and run the same command again; "
            "what is finished is kept."
        )
    cure = "set MEDNET_BENCH_CACHE to" if path.is_relative_to(cache_folder()) else "choose"
    return UnwritableError(f"Cannot write {path} ({error.strerror}): {cure} another folder.")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically; errors as `write_atomic`."""
    write_atomic(path, lambda file: file.write(content))


def write_json(path: Path, content: object) -> None:
    """Write `content` to `path` as JSON for people too, atomically; errors as `write_atomic`."""
    import msgspec

    write_bytes(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def writable_folder(path: Path) -> Path:
    """Make the folder `path` and prove that a file can be written there; `UserError` where not."""
    probe = path / f".probe-{os.getpid()}"
    write_bytes(probe, b"")
    probe.unlink()
    return path


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    return hash_file(path, "sha256")


def hash_file(path: Path, algorithm: str) -> str:
    """Return the hexadecimal hash of a file's content, by one of hashlib's names; not for secrets."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open_regular(path) as file:
        while block := file.read(1 << 20):  # hashlib.file_digest would need Python 3.11
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def claim_lock(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file `path` for the block; yields False where another process holds it.

    The operating system frees the lock when its owner dies, even by kill -9, so that nothing has to
    be cleaned up before a rerun.

    Args:
        path: the lock file; it stays on disk, empty.
        wait: block until the lock is free instead of yielding False.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise _told(path, error) from error
    try:
        yield True
    finally:
        lock.release()


def cache_folder() -> Path:
    """Return the folder for pretrained weights and features: MEDNET_BENCH_CACHE, else the user's cache."""
    from platformdirs import user_cache_path

    given = os.environ.get("MEDNET_BENCH_CACHE")
    return Path(given).expanduser() if given else user_cache_path("mednet-bench")
