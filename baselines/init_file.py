"""Inits from single files (`--init-file`): checkpoint cards or registering Python code."""

import hashlib
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from ..core.errors import UserError
from .init import INITS, InitCard, InitFamily, InitRequest
from .weights.checkpoint import read_checkpoint_card


@dataclass(frozen=True)
class InitFiles:
    """Inits added by `--init-file`: `inits` from Python files, `paths` of cards, both by name."""

    inits: Mapping[str, InitFamily] = field(default_factory=dict)
    paths: Mapping[str, Path] = field(default_factory=dict)


def read_init_files(files: Iterable[str]) -> InitFiles:
    """Read cards and run Python files, without adding to the global registry.

    Args:
        files: cards (`.toml`), each one init by its `name`, or Python files (`.py`) that call
            `INITS.register`. Python files are code, so they are never searched for.

    Raises:
        UserError: a file is of another kind, cannot be read or run, registers nothing, or uses a name
            that exists already.
    """
    inits: dict[str, InitFamily] = {}
    paths: dict[str, Path] = {}
    origins: dict[str, Path] = {}
    for path in dict.fromkeys(Path(file).expanduser() for file in files):
        if path.suffix not in (".py", ".toml"):
            raise UserError(f"--init-file {path}: name a card that ends in .toml, or code that ends in .py.")
        found = _load_inits(path) if path.suffix == ".py" else {}
        names = tuple(found) if found else (read_checkpoint_card(path).name,)
        for name in names:
            if name in INITS or name in origins:
                other = origins.get(name, "mednet-bench or a plug-in")
                raise UserError(f"{path} and {other} both have an init '{name}': rename one of them.")
            origins[name] = path
        inits |= found
        paths |= {} if found else {names[0]: path}
    return InitFiles(inits, paths)


@dataclass(frozen=True)
class _FileInit:
    """Init of a Python file; the file's hash is part of its identity, so of every cell's key."""

    name: str
    path: Path
    init: InitFamily
    digest: str

    def __call__(self, request: InitRequest) -> InitCard:
        try:
            card = self.init(request)
        except UserError:
            raise
        except Exception as error:  # the user's own code
            failure = f"the init '{self.name}' failed ({_error_line(error)})"
            raise UserError(f"{self.path}: {failure}: mend it.") from error
        if not isinstance(card, InitCard):
            raise UserError(f"{self.path}: the init '{self.name}' returns no InitCard: mend it.")
        return replace(card, name=self.name, identity=f"{card.identity} code:{self.digest[:16]}")


def _load_inits(path: Path) -> Mapping[str, InitFamily]:
    """Run a file and return the inits that it registers."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error
    return _run_file(path, digest)


@lru_cache  # a request is resolved several times; the code runs once
def _run_file(path: Path, digest: str) -> Mapping[str, InitFamily]:
    with INITS.aside() as found:
        try:
            runpy.run_path(str(path), run_name=f"init_file_{digest[:8]}")
        except (Exception, SystemExit) as error:
            raise UserError(f"{path} cannot be run ({_error_line(error)}): mend it.") from error
    if not found:
        raise UserError(f'{path} registers no init: decorate a function with `@INITS.register("name")`.')
    return {name: _FileInit(name, path, init, digest) for name, init in found.items()}


def _error_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}"
