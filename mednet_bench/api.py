"""The Python API: what `mednet_bench` offers at its top level, loaded on first use."""

import logging
import warnings
import webbrowser
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from .baselines.init import INITS, InitCard, InitRequest
from .benchmark.run.scheduler import check_folder
from .benchmark.schema.records import Record, RecordStore
from .benchmark.schema.request import STORED_SIZE, RunConfig
from .benchmark.training.metrics import METRICS, MetricFunction
from .benchmark.training.protocol import PROTOCOLS, BenchProtocol
from .core.errors import UserError, unknown_name_error
from .core.registry import Registry
from .experiment import compute_run, log_failures, plan_run
from .reports.elements.section import SECTIONS, ReportSection
from .results import Results, RunPlan
from .tasks.catalog import TASK_GROUPS, catalog
from .tasks.data_paths import data_locations
from .tasks.task import TASKS, Task

_LOG = logging.getLogger(__name__)

warnings.filterwarnings("ignore", "IProgress not found")  # of tqdm, in a notebook without ipywidgets


def run(
    config: RunConfig | None = None,
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
    if not callable(on_record):
        raise UserError(f"on_record={on_record!r} cannot be called: pass a function of a record, or none.")
    registries: tuple[Registry[Any], ...] = (TASKS, INITS, PROTOCOLS, METRICS)
    names = sorted(name for registry in registries for name in registry.added_here)
    elsewhere = config.executor != "local"
    if (config.jobs > 1 or config.per_gpu or elsewhere) and names:
        several = f"--per-gpu {config.per_gpu}" if config.per_gpu else f"--jobs {config.jobs}"
        several = f"--executor {config.executor}" if elsewhere else several
        raise UserError(
            f"{several} starts processes that do not know what was registered in this one "
            f"({', '.join(names)}): pass jobs=1, or make a package with entry points of it."
        )
    if config.overwrite != "always" and names and RecordStore(config.folder).records.exists():
        _LOG.warning(
            f"warning: {', '.join(names)} belong to this process; finished cells keep the results of the "
            'code that computed them: pass overwrite="always" after a change.'
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


def plan(config: RunConfig | None = None, **options: Any) -> RunPlan:
    """Return the cells of a run without computing any; missing data are downloaded.

    Arguments and errors are those of `run`.
    """
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
    for folder in folders:
        if not isinstance(folder, (str, PathLike)):
            raise UserError(
                f"{folder!r} is no run directory: pass paths one by one, as in load_results('a', 'b')."
            )
    results = Results([Path(folder) for folder in folders], RunConfig(margin=margin).margin)
    _ = results.input  # read now, so that a wrong folder is refused here
    return results


def list_tasks(
    *,
    available: bool = False,
    size: int = STORED_SIZE,
    data_root: str | PathLike[str] = "",
    task_file: Iterable[str | PathLike[str]] = (),
) -> list[str]:
    """Return the names of all tasks, or of those whose data are on this machine.

    Args:
        available: leave out tasks without data at the stored size `size`, in pixels.
        size: stored image size in pixels.
        data_root: folder with data files; overrides MEDNET_BENCH_DATA.
        task_file: cards of your own data sets.

    Raises:
        UserError: a value or a card is wrong.
    """
    config = _configure(None, {"size": size, "data_root": data_root, "task_file": task_file})
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
    return TASKS.add_here(str(getattr(task, "name", task)), task)


def register_init(name: str, resolve: Callable[[InitRequest], InitCard]) -> Callable[[InitRequest], InitCard]:
    """Add an init to this process, a function that finds the weights for a task and an arch; return it."""
    return INITS.add_here(name, resolve)


def register_metric(name: str, metric: MetricFunction) -> MetricFunction:
    """Add a test metric to this process, a function from `Predictions` to a number, and return it.

    It is computed when a cell runs. For cells that have a record, pass ``overwrite="always"`` to `run`.
    """
    return METRICS.add_here(name, metric)


def register_protocol(name: str, protocol: BenchProtocol) -> BenchProtocol:
    """Add an evaluation protocol to this process, and return it.

    A cell's key has the name and the options of its protocol, not its code: after a change of the code, pass
    ``overwrite="always"`` to `run`, or another `out` or name, since finished cells are not computed anew.
    """
    return PROTOCOLS.add_here(name, protocol)


def register_section(name: str, section: ReportSection) -> ReportSection:
    """Add a section to the reports that this process writes, and return it."""
    return SECTIONS.add_here(name, section)


def _configure(config: RunConfig | None, options: Mapping[str, Any]) -> RunConfig:
    if not isinstance(config, (RunConfig, type(None))):
        raise UserError(f"{config!r} is no RunConfig: pass options by name, such as tasks=['breastmnist'].")
    known = RunConfig.__struct_fields__
    for name in options:
        if name not in known:
            raise unknown_name_error("option", name, known)
    return (config or RunConfig()).with_options(options)
