"""Registries of tasks, inits, protocols, metrics and sections by name."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from .errors import UserError, unknown_name_error
from .plugins import PlugInError, broken, entry_points_of, load_entry_point, package_of

_T = TypeVar("_T")


def not_callable(name: str, thing: object) -> str:
    """Return what is wrong with a plug-in that is to be a function, or ""."""
    return "" if callable(thing) else "gives nothing that can be called"


class Registry(Generic[_T]):
    """A mapping filled on first use from the modules of one folder and from entry points.

    Args:
        what: the singular noun for messages (``"task"``).
        package: its modules are imported on first use and call `add` or `register`; "" for none.
        group: entry-point group for plug-ins; each entry point loads to one thing, registered under the entry
            point's name. A broken one is left out and noted in `plugins.broken`.
        fault: (name, thing) -> what is wrong with a plug-in, or "".
    """

    def __init__(
        self, what: str, package: str = "", group: str = "", fault: Callable[[str, _T], str] = lambda *_: ""
    ) -> None:
        self.what, self._package, self._group, self._fault = what, package, group, fault
        self._things: dict[str, _T] = {}
        self._foreign: dict[str, str] = {}
        self.added_here: set[str] = set()
        self._discovered = False

    def add(self, name: str, thing: _T) -> _T:
        """Register `thing` under `name` and return it; a name that is taken is a `UserError`."""
        if name in self._things:
            raise UserError(f"Two {self.what}s are called '{name}': rename one of them.")
        self._things[name] = thing
        return thing

    def add_here(self, name: str, thing: _T) -> _T:
        """Register `thing` in this process only, in place of one that was added here before.

        Raises:
            UserError: the name is taken otherwise, or the thing has not the form that a plug-in needs.
        """
        self._discover()
        if fault := self._fault(name, thing):
            raise UserError(f"The {self.what} '{name}' {fault}.")
        if name in self.added_here:
            del self._things[name]
        self.add(name, thing)
        self.added_here.add(name)
        return thing

    def register(self, name: str) -> Callable[[_T], _T]:
        """Return a decorator that adds what it decorates under `name`."""
        return lambda thing: self.add(name, thing)

    @contextmanager
    def aside(self) -> Iterator[dict[str, _T]]:
        """Keep registrations within the `with` block out of the registry.

        They go into the yielded mapping.
        """
        self._discover()
        before, self._things = self._things, {}
        try:
            yield self._things
        finally:
            self._things = before

    def __getitem__(self, name: str) -> _T:
        self._discover()
        if name not in self._things:
            raise unknown_name_error(self.what, name, self._things)
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(self._things)

    def __contains__(self, name: str) -> bool:
        self._discover()
        return name in self._things

    def items(self) -> Iterator[tuple[str, _T]]:
        """Iterate over (name, thing) in the order of registration."""
        self._discover()
        return iter(self._things.items())

    def is_foreign(self, name: str) -> bool:
        """Whether the thing called `name` comes from a plug-in or was added by `add_here`."""
        return name in self._foreign or name in self.added_here

    def origin(self, name: str) -> str:
        """Return the origin of the thing called `name`, for a message."""
        package = self._foreign.get(name)
        return f"the package {package}" if package else "mednet-bench itself"

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True  # first: a module may read the registry that it fills
        if self._package:
            folder = importlib.import_module(self._package).__path__
            for module in sorted(found.name for found in pkgutil.iter_modules(folder)):
                importlib.import_module(f"{self._package}.{module}")
        for point in entry_points_of(self._group) if self._group else ():
            try:
                thing = load_entry_point(point)
                if fault := self._fault(point.name, thing):
                    raise PlugInError(point, fault)
                if point.name in self._things:
                    taken = f"takes the name of another {self.what}, of {self.origin(point.name)}"
                    raise PlugInError(point, taken)
            except PlugInError as error:
                broken[self._group, point.name] = str(error)
            else:
                self._things[point.name] = thing
                self._foreign[point.name] = package_of(point)
