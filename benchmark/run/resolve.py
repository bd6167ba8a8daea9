"""Resolving a run's options: check names, find or download data, build the plan."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ...baselines.zoo.files import fetch_weights
from ...core.errors import UserError
from ...tasks.catalog import assume_downloads, catalog, fetch_tasks, require_tasks, select_tasks
from ...tasks.data_paths import data_locations
from ...tasks.from_files.source import FilesSource
from ...tasks.task import Task
from ..schema.request import RunConfig
from .planner import ResolvedPlan, build_plan, check_option_values, check_zoo_layouts, zoo_cards_to_fetch

_LOG = logging.getLogger(__name__)
FetchProgress = Callable[[str, int, int], None]


def resolve_request(
    request: RunConfig,
    fetching: FetchProgress | None = None,
    ready: Callable[[], object] = lambda: None,
    from_cards: bool = False,
) -> ResolvedPlan:
    """Resolve the options of a run.

    Args:
        request: the options.
        fetching: called with (file name, bytes done, bytes in all) during downloads; None downloads
            nothing, so missing data are an error.
        ready: called when every name is checked, before any download.
        from_cards: count files and weights that can be downloaded as present, for an estimate.

    Raises:
        UserError: a task, init or file does not exist or is unavailable.
    """
    paired = check_option_values(request)  # report typing errors before a download
    places = data_locations(Path(request.data_root) if request.data_root else None, request.download)
    tasks = catalog(places, [Path(path) for path in request.task_file])
    targets = select_tasks(",".join(request.tasks), tasks, places, request.size)
    _check_run_directory(request.folder, targets)
    ready()
    if from_cards:
        places = assume_downloads(targets, request.size, places)
    elif fetching and request.download:
        fetch_tasks(targets, request.size, places, fetching)
    require_tasks(targets, request.size, places)
    check_zoo_layouts(paired)
    if not from_cards:
        fetch_weights(zoo_cards_to_fetch(paired), places, fetching if request.download else None)
    started = time.perf_counter()
    resolved = build_plan(request, targets, tuple(tasks.values()), places, paired)
    _LOG.debug(f"planned {len(resolved.plan.cells)} cells in {time.perf_counter() - started:.2f} s")
    return resolved


def _check_run_directory(folder: Path, targets: Sequence[Task]) -> None:
    """Raise `UserError` for a run directory among class folders: it would be taken for a class."""
    for task in targets:
        if isinstance(task.source, FilesSource) and not task.source.spec.table and task.source.holds(folder):
            raise UserError(
                f"--out {folder} lies among the class folders of '{task.name}' and would be taken for one: "
                "name a folder outside of them."
            )
