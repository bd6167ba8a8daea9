"""Atomic writes, safe reads, content hashes, and locks that end with their owner."""

import errno
import hashlib
import os
import re
import shutil
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from .errors import StoppedError, UserError
from .interrupts import defer_interrupts
from .progress import say_meanwhile

try:
    import fcntl
except ImportError:  # Windows removes no open file, so that nothing has to be locked
    fcntl = None
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, a spent quota and the limit of a file's size."""
MOST_BYTES = 1 << 28
"""Far above the size of any record, plan or audit."""
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


class DiskFullError(StoppedError):
    """The file system is full."""


class UnwritableError(UserError):
    """A path that cannot be written to."""


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file so that a reader sees all of it or none: temporary file, fsync, rename.

    Args:
        path: of the file; its folder is made.
        write: receives the open binary file.

    Raises:
        StoppedError: the disk is full (`DiskFullError`), or the folder was removed meanwhile.
        UnwritableError: the path cannot be written to.
    """
    with explain_write_errors(path), defer_interrupts():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_and_replace(path, write)
        except FileNotFoundError as error:
            sentence = f"The folder of {path} was removed meanwhile: run the same command again."
            raise StoppedError(sentence) from error


def _write_and_replace(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    file = _open_temporary(path)
    temporary = Path(file.name)
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if fcntl:  # before the lock ends, or `sweep` would remove it
                temporary.replace(path)
        if not fcntl:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _open_temporary(path: Path) -> BinaryIO:
    """Open a temporary file beside `path`, locked so that `sweep` leaves it alone."""
    while True:  # unlike mkstemp's, readable as the umask allows
        file = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp").open("xb")
        if fcntl:
            with suppress(OSError):  # a file system without locks, where `sweep` gets none either
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink or not fcntl:
            return file
        file.close()  # swept in the instant before it was locked


def sweep(folder: Path) -> None:
    """Remove temporary files of killed writers from a run directory or the cache.

    A live writer locks its file; the lock ends with the process.
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
    """Open a file for reading; `OSError` for a named pipe or device, which may never end."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # each system has one
    file = os.fdopen(os.open(path, flags), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "It is no regular file", str(path))


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file; `OSError` for others and for more than `most` bytes."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"It is larger than {most:,} bytes", str(path))
    return content


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into one that names `path` and the cure.

    Raises:
        DiskFullError: the disk is full.
        UnwritableError: the path cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: OSError) -> UnwritableError | DiskFullError:
    if error.errno in FULL:
        return DiskFullError(
            f"Disk full while writing {path}: free some space and run the same command again; "
            "what is finished is kept."
        )
    homes = {cache_folder(): "MEDNET_BENCH_CACHE"}
    homes = {scratch_folder(): "MEDNET_BENCH_SCRATCH", **homes}  # the latter where both are one folder
    moved_by = next((name for home, name in homes.items() if path.is_relative_to(home)), "")
    cure = f"set {moved_by} to" if moved_by else "choose"
    return UnwritableError(f"Cannot write {path} ({error.strerror}): {cure} another folder.")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically; errors as `write_atomic`."""
    write_atomic(path, lambda file: file.write(content))


def write_json(path: Path, content: object) -> None:
    """Write `content` to `path` as indented JSON, atomically; errors as `write_atomic`."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")


@contextmanager
def new_folder(path: Path, marker: str = "") -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends, and is removed if the block fails.

    Args:
        path: a new folder.
        marker: file by which an older version of the folder is known, which is then replaced; "" for none.

    Raises:
        UserError: `path` exists and may not be replaced, or cannot be written to (`UnwritableError`).
        DiskFullError: the disk is full.
    """
    replaced = bool(marker) and (path / marker).is_file()
    if os.path.lexists(path) and not replaced:
        raise UserError(f"{path} exists{f' and has no {marker}' if marker else ''}: name a new folder.")
    making, old = (path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp") for _ in range(2))
    try:
        with explain_write_errors(path):
            making.mkdir(parents=True)
        yield making
        with explain_write_errors(path):
            if replaced:
                path.rename(old)
            making.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def writable_folder(path: Path) -> Path:
    """Make the folder `path` and check that a file can be written there; `UserError` where not."""
    probe = path / f".probe-{os.getpid()}"
    write_bytes(probe, b"")
    probe.unlink()
    return path


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    return hash_file(path, "sha256")


def hash_file(path: Path, algorithm: str) -> str:
    """Return the hexadecimal hash of a file's content by hashlib's `algorithm`, not for secrets."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open_regular(path) as file:
        while block := file.read(1 << 20):  # hashlib.file_digest would need Python 3.11
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def claim_lock(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file `path` for the block; yields False where another process holds it.

    The operating system frees the lock when its owner dies, even by kill -9.

    A file beside it, ".owner", names the process that holds it. While it waits, the progress display says
    for which process.

    Args:
        path: an empty file that stays on disk.
        wait: wait for the lock instead of yielding False.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        if not _acquire(lock, path, wait):
            yield False
            return
    except OSError as error:
        raise _write_error(path, error) from error
    owner = path.with_suffix(".owner")
    try:
        with suppress(OSError):
            owner.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield True
    finally:
        with suppress(OSError):
            owner.unlink()
        lock.release()


def _acquire(lock: FileLock, path: Path, wait: bool) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            return False
        with say_meanwhile(f"waiting for {lock_owner(path)}, which holds {path}"):
            lock.acquire()
    return True


def lock_owner(path: Path) -> str:
    """Return which process holds a lock, as "process 12 on node3"."""
    try:
        return path.with_suffix(".owner").read_text()
    except (OSError, UnicodeDecodeError):  # it has just claimed or freed it
        return "another process"


def cache_folder() -> Path:
    """Return MEDNET_BENCH_CACHE or the user's cache folder, for pretrained weights and prepared tasks."""
    given = os.environ.get("MEDNET_BENCH_CACHE")
    return Path(given).expanduser() if given else user_cache_path("mednet-bench")


def scratch_folder() -> Path:
    """Return MEDNET_BENCH_SCRATCH or the cache folder, for the features: large, and cheap to make again."""
    given = os.environ.get("MEDNET_BENCH_SCRATCH")
    return Path(given).expanduser() if given else cache_folder()
