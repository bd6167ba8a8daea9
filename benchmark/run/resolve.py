"""From options to a grid that can be run: data found or fetched, names resolved, nothing computed yet."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ...core.errors import UserError
from ...tasks.catalog import catalog, fetch, require, select
from ...tasks.data_paths import places_from
from ...tasks.from_files.source import FilesSource
from ...tasks.task import Task
from ..schema.request import Request
from .planner import Grid, build_grid, check_words

FetchProgress = Callable[[str, int, int], None]


def resolve(
    request: Request, fetching: FetchProgress | None = None, ready: Callable[[], object] = lambda: None
) -> Grid:
    """Resolve a request.

    Args:
        request: the options.
        fetching: told (file name, bytes done, bytes in all) while missing data are downloaded; None
            downloads nothing and refuses a task whose data are not at hand.
        ready: called when every name is known to be right, before anything is fetched.

    Raises:
        UserError: something asked for does not exist or cannot be had; it says what to do.
    """
    check_words(request)  # a slip of the pen shall not wait for a download
    places = places_from(Path(request.data_root) if request.data_root else None, request.download)
    tasks = catalog(places, [Path(path) for path in request.task_file])
    targets = select(request.tasks, tasks, places, request.size)
    _check_out(request.folder, targets)
    ready()
    if fetching and request.download:
        fetch(targets, request.size, places, fetching)
    require(targets, request.size, places)
    return build_grid(request, targets, tuple(tasks.values()), places)


def _check_out(folder: Path, targets: Sequence[Task]) -> None:
    """Refuse a run directory among class folders: it would be taken for one, and the task be refused."""
    for task in targets:
        if isinstance(task.source, FilesSource) and not task.source.spec.table and task.source.holds(folder):
            raise UserError(
                f"--out {folder} lies among the class folders of '{task.name}' and would be taken for one: "
                "name a folder outside of them."
            )
