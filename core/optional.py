"""Modules of packages that only an extra of mednet-bench installs."""

from importlib import import_module
from types import ModuleType
from typing import Any

from .errors import UserError


def import_extra(module: str, extra: str, needed_for: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: full name.
        extra: the extra of mednet-bench that installs its package.
        needed_for: start of the sentence where it is missing (``"Reading NIfTI"``).

    Raises:
        UserError: the package is not installed.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:  # a broken installation
            raise
        raise UserError(f"{needed_for} needs {package}: pip install 'mednet-bench[{extra}]'.") from None


class OptionalModule:
    """A stand-in that imports an optional module when an attribute is read; see `import_extra`."""

    def __init__(self, module: str, extra: str, needed_for: str) -> None:
        self._place = (module, extra, needed_for)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python and test tools ask for these of any object
            raise AttributeError(name)
        return getattr(import_extra(*self._place), name)
