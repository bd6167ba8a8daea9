"""Names to things: every task, init, protocol, metric and section is found through a registry."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from .errors import UserError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping that fills itself from the modules of one folder, and from entry points, on first use.

    Args:
        what: the singular noun for messages (``"task"``).
        package: the package whose modules are imported on first use; they call `add` or `register`;
            "" where everything stands in the module that owns the registry.
        group: the entry-point group through which other packages contribute; each entry point
            loads to one thing, known under the entry point's name.
    """

    def __init__(self, what: str, package: str = "", group: str = "") -> None:
        self.what, self._package, self._group = what, package, group
        self._things: dict[str, T] = {}
        self._discovered = False

    def add(self, name: str, thing: T) -> T:
        """Register `thing` under `name` and return it; a name that is taken is a `UserError`."""
        if name in self._things:
            raise UserError(f"Two {self.what}s are called '{name}': rename one of them.")
        self._things[name] = thing
        return thing

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds what it decorates under `name`."""
        return lambda thing: self.add(name, thing)

    def __getitem__(self, name: str) -> T:
        self._discover()
        if name not in self._things:
            raise unknown(self.what, name, self._things)
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(self._things)

    def __contains__(self, name: str) -> bool:
        self._discover()
        return name in self._things

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, thing) in the order of registration."""
        self._discover()
        return iter(self._things.items())

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True  # first, so that a module may look at the registry that it fills
        if self._package:
            folder = importlib.import_module(self._package).__path__
            for module in sorted(found.name for found in pkgutil.iter_modules(folder)):
                importlib.import_module(f"{self._package}.{module}")
        for point in entry_points(group=self._group) if self._group else ():
            self.add(point.name, point.load())
