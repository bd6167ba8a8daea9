"""Content hashes of data files, cached by path, size and times."""

import hashlib
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal

from ..core.errors import UserError
from ..core.files import DiskFullError, cache_folder, hash_file, read_regular, write_bytes

Algorithm = Literal["md5", "sha256"]

_TICK = 2.0
"""Seconds within which a file may change again without a new time stamp (FAT: 2 s)."""


def file_hash(path: Path, algorithm: Algorithm) -> str:
    """Return the hexadecimal hash of a file's content; `UserError` if it cannot be read.

    Cached on disk, since a run over thousands of cells asks repeatedly and files may have gigabytes.
    """
    try:
        state = path.stat()
        # the change time too: `cp -p` and `touch -r` restore the modification time, not this one
        key = f"{algorithm}|{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}"
        settled = time.time() - max(state.st_mtime, state.st_ctime) > _TICK
        return _read_or_hash(key, path, algorithm) if settled else hash_file(path, algorithm)
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error


@lru_cache(maxsize=1024)
def _read_or_hash(key: str, path: Path, algorithm: Algorithm) -> str:
    note = cache_folder() / "hashes" / hashlib.sha256(key.encode()).hexdigest()[:32]
    length = hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
    with suppress(OSError, UnicodeDecodeError):
        known = read_regular(note).decode("ascii")
        if len(known) == length:
            return known
    digest = hash_file(path, algorithm)
    with suppress(UserError, DiskFullError):  # without the note the file is hashed again next time
        write_bytes(note, digest.encode())
    return digest
