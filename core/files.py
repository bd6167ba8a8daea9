"""Atomic writes, safe reads and content hashes."""

import errno
import functools
import hashlib
import logging
import os
import shutil
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from platformdirs import user_cache_path

from .errors import StoppedError, UserError
from .interrupts import defer_interrupts
from .processes import machine_boot

try:
    import fcntl
except ImportError:  # Windows removes no open file, so that nothing has to be locked
    fcntl = None
_LOG = logging.getLogger(__name__)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, a spent quota and the limit of a file's size."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Error numbers of file systems without hard links."""
MOST_BYTES = 1 << 28
"""Far above the size of any record, plan or audit."""


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
    with written_aside(path, write) as temporary:
        temporary.replace(path)


@contextmanager
def written_aside(path: Path, write: Callable[[BinaryIO], Any]) -> Iterator[Path]:
    """Yield a finished temporary file beside `path`, which is removed unless the block renames it.

    Args and errors as `write_atomic`.
    """
    with explain_write_errors(path), defer_interrupts():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = _open_temporary(path)
            try:
                with file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                    if not fcntl:  # Windows renames no open file
                        file.close()
                    yield Path(file.name)  # still locked, or `sweep` would remove it
            finally:
                Path(file.name).unlink(missing_ok=True)
        except FileNotFoundError as error:
            sentence = f"The folder of {path} was removed meanwhile: run the same command again."
            raise StoppedError(sentence) from error


def place_first(temporary: Path, path: Path, replaced: bytes | None = None) -> bool:
    """Give a finished file the name `path` unless another process did; whether it was the first.

    Of several processes, on any machines, one succeeds. One that is killed while it replaces a file may leave
    none.

    Args:
        replaced: content of the file to replace; None where `path` must be free.
    """
    if replaced is None:
        return _link_new(temporary, path)
    old = temporary_path(path)
    with suppress(FileNotFoundError):
        path.rename(old)
        try:
            if content_if_any(old) != replaced:
                _link_new(old, path)  # back again
                return False
        finally:
            old.unlink(missing_ok=True)
    return _link_new(temporary, path)


def _link_new(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return temporary.stat().st_nlink > 1  # a file server may have answered the repeated request
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _warn_of_links(path.parent)
        return _copy_new(temporary, path)
    return True


@functools.cache
def _warn_of_links(folder: Path) -> None:
    _LOG.warning(
        f"warning: {folder} is on a file system without hard links: records are written in place there, and "
        "one that a killed process leaves half written is made again by the next run."
    )


def _copy_new(temporary: Path, path: Path) -> bool:
    content = temporary.read_bytes()
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def temporary_path(path: Path) -> Path:
    """Return a unique path beside `path`, which `leases.sweep` knows."""
    return path.with_name(f".{path.name}.{machine_tag()}{uuid.uuid4().hex[:16]}.tmp")


@functools.cache
def machine_tag() -> str:
    """Return 16 hexadecimal digits for this boot of this machine."""
    return hashlib.sha256(f"{socket.gethostname()} {machine_boot()}".encode()).hexdigest()[:16]


def _open_temporary(path: Path) -> BinaryIO:
    """Open a temporary file beside `path`, locked so that `sweep` leaves it alone."""
    while True:  # unlike mkstemp's, readable as the umask allows
        file = temporary_path(path).open("xb")
        if fcntl:
            with suppress(OSError):  # a file system without locks, where `sweep` gets none either
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink or not fcntl:
            return file
        file.close()  # swept in the instant before it was locked


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


def content_if_any(path: Path) -> bytes | None:
    """Return the content of a file; None where there is none, and nothing for what cannot be read."""
    try:
        return read_regular(path)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


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
    making, old = temporary_path(path), temporary_path(path)
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


def cache_folder() -> Path:
    """Return MEDNET_BENCH_CACHE or the user's cache folder, for pretrained weights and prepared tasks."""
    given = os.environ.get("MEDNET_BENCH_CACHE")
    return Path(given).expanduser() if given else user_cache_path("mednet-bench")


def scratch_folder() -> Path:
    """Return MEDNET_BENCH_SCRATCH or the cache folder, for the features: large, and cheap to make again."""
    given = os.environ.get("MEDNET_BENCH_SCRATCH")
    return Path(given).expanduser() if given else cache_folder()
