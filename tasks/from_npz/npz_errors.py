"""An npz that is missing, damaged or too large, told in one sentence and never by a traceback."""

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
"""What zipfile and numpy's parser of headers raise on bytes that are not theirs."""


@contextmanager
def open_npz(path: Path, cure: str) -> Iterator[zipfile.ZipFile]:
    """Open a file for the block; every defect that shows there is a `UserError` that names the cure."""
    with explain_defects(path, cure), zipfile.ZipFile(path) as archive:
        yield archive


@contextmanager
def explain_defects(path: Path, cure: str) -> Iterator[None]:
    """Turn what a missing, unreadable or damaged file raises in the block into a `UserError`."""
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
