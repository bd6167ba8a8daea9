"""TOML files read as plain data, with errors that name the file."""

import importlib
import sys
from pathlib import Path
from typing import Any

from .errors import UserError


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; `UserError` names the file, and the line and column where it is not TOML."""
    # by name, because the type checker looks for the one of the two that is not installed
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error
