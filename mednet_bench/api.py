"""The Python API: what `mednet_bench` offers at its top level, loaded on first use."""

import webbrowser
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from .baselines.init import INITS, InitCard, InitRequest
from .benchmark.run.scheduler import check_folder
from .benchmark.schema.records import Record
from .benchmark.schema.request import RunConfig
from .benchmark.training.metrics import METRICS
from .benchmark.training.protocol import PROTOCOLS, BenchProtocol
from .core.errors import UserError, unknown_name_error
from .core.registry import Registry
from .experiment import compute_run, log_failures, plan_run
from .reports.elements.section import SECTIONS, ReportSection
from .results import Results, RunPlan
from .tasks.catalog import TASK_GROUPS, catalog
from .tasks.data_paths import data_locations
from .tasks.task import TASKS, Task


def run(
    config: RunConfig | None = None,
    /,
    *,
    on_record: Callable[[Record], object] = lambda record: None,
    **options: Any,
) -> Results:
    """Compute the cells of a run that have no record yet, and return the results of all.

    The same call resumes an interrupted run. A failed cell is a record; the others are computed. Messages
    go to the logger ``mednet_bench``.

    Args:
        config: all options; by default those of `RunConfig`.
        on_record: called with each new record, as `tensorboard_writer` returns it.
        options: fields of `RunConfig`, which override those of `config`.

    Raises:
        UserError: a value is wrong, a name is unknown, or data or weights are unavailable.
    """
    config = _configure(config, options)
    registries: tuple[Registry[Any], ...] = (TASKS, INITS, PROTOCOLS, METRICS)
    names = sorted(name for registry in registries for name in registry.added_here)
    if config.jobs > 1 and names:
        raise UserError(
            f"--jobs {config.jobs} starts processes that do not know what was registered in this one "
            f"({', '.join(names)}): pass jobs=1, or make a package with entry points of it."
        )
    records = compute_run(config, on_record)
    results = Results([config.folder], config.margin, [r for r in records if r.status != "ok"])
    if config.report:
        try:
            page = results.report()
        finally:  # if the folder was removed, say this rather than that records are missing
            check_folder(config.folder)
        if config.open:
            webbrowser.open(page.resolve().as_uri())
    log_failures(results.failed, config)
    return results


def plan(config: RunConfig | None = None, /, **options: Any) -> RunPlan:
    """Return the cells of a run without computing any; arguments and errors as for `run`."""
    return RunPlan(plan_run(_configure(config, options)))


def load_results(*folders: str | PathLike[str], margin: float = RunConfig().margin) -> Results:
    """Return the results of one run directory, or of several as one.

    Args:
        folders: run directories.
        margin: differences of AUC below it count as equivalent in verdicts.

    Raises:
        UserError: a folder holds no readable record, or the margin is out of range.
    """
    if not folders:
        raise UserError("load_results() names no run directory: pass the `out` of a run.")
    results = Results([Path(folder) for folder in folders], RunConfig(margin=margin).margin)
    _ = results.input  # read now, so that a wrong folder is refused here
    return results


def list_tasks(*, available: bool = False, size: int = RunConfig().size, **options: Any) -> list[str]:
    """Return the names of all tasks, or of those whose data are on this machine.

    Args:
        available: leave out tasks without data at the stored size `size`, in pixels.
        size: stored image size in pixels.
        options: `data_root` and `task_file`, as in `RunConfig`.
    """
    config = RunConfig(size=size, **options)
    places = data_locations(Path(config.data_root) if config.data_root else None)
    tasks = catalog(places, [Path(path) for path in config.task_file])
    is_there = TASK_GROUPS["available"]
    return [
        name
        for name, task in tasks.items()
        if task.role == "task" and (not available or is_there(task, places, config.size))
    ]


def list_inits() -> list[str]:
    """Return the names of all inits; ``NAME=PATH`` in `inits` adds weights of your own."""
    return list(INITS)


def register_task(task: Task) -> Task:
    """Add a task under its own name to this process, and return it."""
    return TASKS.add_here(task.name, task)


def register_init(name: str, resolve: Callable[[InitRequest], InitCard]) -> Callable[[InitRequest], InitCard]:
    """Add an init to this process, a function that finds the weights for a task and an arch; return it."""
    return INITS.add_here(name, resolve)


def register_metric(name: str, metric: Any) -> Any:
    """Add a test metric to this process, and return it."""
    return METRICS.add_here(name, metric)


def register_protocol(name: str, protocol: BenchProtocol) -> BenchProtocol:
    """Add an evaluation protocol to this process, and return it."""
    return PROTOCOLS.add_here(name, protocol)


def register_section(name: str, section: ReportSection) -> ReportSection:
    """Add a section to the reports that this process writes, and return it."""
    return SECTIONS.add_here(name, section)


def _configure(config: RunConfig | None, options: Mapping[str, Any]) -> RunConfig:
    known = RunConfig.__struct_fields__
    for name in options:
        if name not in known:
            raise unknown_name_error("option", name, known)
    return (config or RunConfig()).with_options(options)
