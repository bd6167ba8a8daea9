"""Packages that import their modules on first use (PEP 562), so that commands start fast."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def import_on_first_use(package: str) -> Callable[[str], ModuleType]:
    """Return a `__getattr__` for the package; AttributeError where it has no such module.

    Commands import packages at the top and write ``run.scheduler.pending_cells(...)``. A package lists the
    modules that are used like this under ``if TYPE_CHECKING``, for type checkers and editors.
    """

    def import_attribute(name: str) -> ModuleType:
        module = f"{package}.{name}"
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:  # a library that the module imports is not installed
                raise
            raise AttributeError(f"module '{package}' has no attribute '{name}'") from None

    return import_attribute


def import_names_on_first_use(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for the package that gives names of its modules.

    Args:
        package: its name.
        modules: name -> module of the package that defines it.
    """

    def import_name(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return import_name
