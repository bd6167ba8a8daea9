"""`UserError` in one sentence for an npz that is missing, damaged or too large."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import UserError

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError,
    tokenize.TokenError, SyntaxError, TypeError, ArithmeticError, LookupError, struct.error,
)  # fmt: skip
"""Exceptions of zipfile and numpy's header parser on foreign bytes."""


@contextmanager
def open_npz(path: Path, cure: str) -> Iterator[zipfile.ZipFile]:
    """Open a file for the block; every defect in it is a `UserError` that names the cure."""
    with explain_defects(path, cure), zipfile.ZipFile(path) as archive:
        yield archive


@contextmanager
def explain_defects(path: Path, cure: str) -> Iterator[None]:
    """Convert errors of missing, unreadable or damaged files to `UserError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}: correct the path or put it there.") from error
    except MemoryError as error:
        raise UserError(
            f"{path} does not fit into the memory of this machine: choose a smaller size."
        ) from error
    except _DAMAGE as error:
        raise UserError(f"{path} is cut short or damaged ({error}): {cure}.") from error
    except OSError as error:
        raise UserError(
            f"Cannot read {path} ({error.strerror or error}): check it and its rights."
        ) from error
