"""Files that are either whole or absent: atomic writes, content hashes, locks that die with their owner."""

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from .errors import StoppedError, UserError
from .interrupt import deferred_interrupt

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when there is no room left: on the disk, in the quota, within the size limit."""


class DiskFullError(StoppedError):
    """The file system took no more."""


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file so that a reader sees all of it or none: temporary file, fsync, rename.

    Args:
        path: where the file shall stand; its folder is made.
        write: receives the open binary file.

    Raises:
        DiskFullError: there is no room left; the temporary file is removed.
        UserError: the place cannot be written to.
    """
    with writing(path), deferred_interrupt():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            with temporary.open("xb") as file:  # unlike mkstemp's, readable as the umask allows
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say, where the block fails, what it means that `path` cannot be written.

    Raises:
        DiskFullError: there is no room left.
        UserError: the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise _told(path, error) from error


def _told(path: Path, error: OSError) -> UserError | DiskFullError:
    if error.errno in FULL:
        return DiskFullError(
            f"No room left while writing {path}: free some space and run the same command again; "
            "what is finished is kept."
        )
    cure = "set MEDNET_BENCH_CACHE to" if path.is_relative_to(cache_folder()) else "choose"
    return UserError(f"Cannot write {path} ({error.strerror}): {cure} another folder.")


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
    with path.open("rb") as file:
        while block := file.read(1 << 20):  # hashlib.file_digest would need Python 3.11
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def claim(path: Path, wait: bool = False) -> Iterator[bool]:
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
