"""Reading TOML files as plain data or structs, with errors that name the file."""

import importlib
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .errors import UserError, unknown_name_error

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T", bound=msgspec.Struct)
RENAMED_KEYS = {"licence": "license"}
"""Keys of version 0.1 -> present names."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file and rename keys of version 0.1; `UserError` names file, line and column."""
    _LOG.debug(f"reading {path}")
    # by name: only one of them is installed, and the type checker would look for both
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        return rename_keys(
            tomllib.loads(path.read_text(encoding="utf-8-sig"))
        )  # -sig: some editors add a BOM
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder: name the TOML file in it.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid TOML: it is no text in UTF-8: save it as that.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{path} is not valid TOML: {reason}.") from error


def rename_keys(content: Any) -> Any:
    """Rename keys of version 0.1 in plain data, at any depth."""
    if isinstance(content, dict):
        return {RENAMED_KEYS.get(key, key): rename_keys(value) for key, value in content.items()}
    return [rename_keys(value) for value in content] if isinstance(content, list) else content


def check_keys(path: Path, content: Iterable[str], known: Iterable[str]) -> None:
    """Refuse unknown keys of the file `path`; `UserError` suggests the nearest one."""
    names = tuple(known)
    for key in content:
        if key not in names:
            raise UserError(f"{path}: {unknown_name_error('key', key, names)}")


def as_card(path: Path, content: dict[str, Any], kind: type[_T]) -> _T:
    """Convert the content of the file `path` to a struct; `UserError` names the wrong key."""
    check_keys(path, content, kind.__struct_fields__)
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}: mend the card.") from error
