"""Plug-ins: what other installed packages contribute through entry points, and which of it is broken."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

ROOM = "mednet_bench."
PLUGIN_KINDS = {
    "tasks": "task",
    "inits": "init",
    "protocols": "protocol",
    "metrics": "metric",
    "sections": "report section",
}
"""Entry-point group behind `ROOM` -> what each of its entry points is."""

broken: dict[tuple[str, str], str] = {}
"""(group, name) -> the sentence about a plug-in that this process could not use; a command ends with them."""


def entry_points_of(group: str) -> Iterator[EntryPoint]:
    """Iterate over the entry points of a group, by package, so that a clash ends the same way everywhere."""
    return iter(sorted(entry_points(group=group), key=lambda point: (package_of(point), point.name)))


def installed_plugins() -> dict[str, list[tuple[str, str]]]:
    """List by package what plug-ins say they contribute, as (kind, name); none of it is imported."""
    found: dict[str, list[tuple[str, str]]] = {}
    for group, kind in PLUGIN_KINDS.items():
        for point in entry_points_of(ROOM + group):
            found.setdefault(package_of(point), []).append((kind, point.name))
    return found


def load_entry_point(point: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        PlugInError: it cannot be imported, for whatever reason; the sentence names package and entry point.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # it is foreign code: it may fail in any way
        raise PlugInError(point, f"cannot be loaded ({_first_line(error)})") from error


class PlugInError(Exception):
    """What an installed package contributes cannot be used, told in one sentence."""

    def __init__(self, point: EntryPoint, reason: str) -> None:
        super().__init__(
            f"The plug-in '{point.name}' ({point.group}) of the package {package_of(point)} {reason}: "
            "mend or uninstall that package."
        )


def package_of(point: EntryPoint) -> str:
    """Name the package that an entry point comes from."""
    return point.dist.name if point.dist else "(unknown)"


def _first_line(error: BaseException) -> str:
    said = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
