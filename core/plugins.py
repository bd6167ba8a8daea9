"""Plug-ins of other installed packages: find and load them, and note broken ones."""

import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP_PREFIX = "mednet_bench."
PLUGIN_KINDS = {
    "tasks": "task",
    "inits": "init",
    "protocols": "protocol",
    "metrics": "metric",
    "sections": "report section",
}
"""Entry-point group without `GROUP_PREFIX` -> what each of its entry points is."""
MOVED_SINCE_0_1 = {
    "baselines.init.Contract": "baselines.init.InputSpec",
    "baselines.init.Need": "baselines.init.InitRequest",
    "benchmark.metrics": "benchmark.training.metrics",
    "benchmark.protocol": "benchmark.training.protocol",
    "benchmark.training.metrics.Scored": "benchmark.training.metrics.Predictions",
    "benchmark.training.protocol.Job": "benchmark.training.protocol.EvalContext",
    "benchmark.training.protocol.Outcome": "benchmark.training.protocol.ProtocolResult",
    "benchmark.training.protocol.Work": "benchmark.training.protocol.CostEstimate",
    "reports.analysis.report_input.Results": "reports.analysis.report_input.ReportInput",
    "reports.elements.section.Column": "reports.elements.section.TableColumn",
    "reports.elements.section.Content": "reports.elements.section.SectionContent",
    "reports.elements.section.Part": "reports.elements.section.SectionPart",
    "reports.findings": "reports.analysis.report_input",
    "reports.section": "reports.elements.section",
    "tasks.task.Missing": "tasks.task.MissingFile",
    "tasks.task.Places": "tasks.task.DataLocations",
}
"""Modules and names that the page on plug-ins of version 0.1 showed -> where they are now."""

broken: dict[tuple[str, str], str] = {}
"""(group, name) -> the sentence about a broken plug-in, printed at the end of a command."""


class PlugInError(Exception):
    """A plug-in of an installed package that cannot be used; the message is one sentence."""

    def __init__(self, point: EntryPoint, reason: str, cure: str = "mend or uninstall that package.") -> None:
        name = f"The plug-in '{point.name}' ({point.group}) of the package {package_of(point)}"
        super().__init__(f"{name} {reason}: {cure}")


def entry_points_of(group: str) -> Iterator[EntryPoint]:
    """Iterate over the entry points of a group in order of packages, so that clashes end alike."""
    return iter(sorted(entry_points(group=group), key=lambda point: (package_of(point), point.name)))


def installed_plugins() -> dict[str, list[tuple[str, str]]]:
    """List (kind, name) of every plug-in by package; none of it is imported."""
    plugins: dict[str, list[tuple[str, str]]] = {}
    for group, kind in PLUGIN_KINDS.items():
        for point in entry_points_of(GROUP_PREFIX + group):
            plugins.setdefault(package_of(point), []).append((kind, point.name))
    return plugins


def load_entry_point(point: EntryPoint) -> Any:
    """Import the object that an entry point names.

    Raises:
        PlugInError: it cannot be imported, for any reason; where it asks for a module or name of version 0.1,
            the sentence ends with the new one.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # foreign code may fail in any way
        old = _missing_import(error).removeprefix(GROUP_PREFIX)
        if new := MOVED_SINCE_0_1.get(old):
            reason = f"imports {GROUP_PREFIX}{old} of version 0.1"
            raise PlugInError(point, reason, f"it is now {GROUP_PREFIX}{new}") from error
        raise PlugInError(point, f"cannot be loaded ({_first_line(error)})") from error


def _missing_import(error: BaseException) -> str:
    """Return the dotted name that an import did not find, or ""."""
    if not isinstance(error, ImportError) or not error.name:
        return ""
    name = re.match(r"cannot import name '(\w+)'", str(error))  # `name_from` needs Python 3.12
    return f"{error.name}.{name[1]}" if name else error.name


def package_of(point: EntryPoint) -> str:
    """Return the name of the package that an entry point comes from."""
    return point.dist.name if point.dist else "(unknown)"


def _first_line(error: BaseException) -> str:
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
