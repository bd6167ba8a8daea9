"""All known tasks, selection by `--tasks`, and checks for missing data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from ..core.errors import UserError, unknown_name_error
from .download import DownloadProgress, OfflineError, download_missing
from .local_cards import find_cards, local_task
from .task import TASKS, DataLocations, MissingFile, Task

TASK_GROUPS: dict[str, Callable[[Task, DataLocations, int], bool]] = {
    "all": lambda task, places, size: not task.generated,
    "available": lambda task, places, size: not task.generated and is_available(task, size, places),
    "medmnist": lambda task, places, size: task.family == "medmnist",
    "phantom": lambda task, places, size: task.family == "phantom",
    "gray": lambda task, places, size: not task.generated and task.variant == "gray",
    "color": lambda task, places, size: not task.generated and task.variant == "color",
}
"""Group name to predicate; `all`, `available`, `gray` and `color` select real images only."""


def catalog(places: DataLocations, task_files: Iterable[Path] = ()) -> dict[str, Task]:
    """Return every task by name: registered, from `task_files`, or from a card in a data root.

    Raises:
        UserError: a card is wrong, or two tasks have one name.
    """
    tasks = dict(TASKS.items())
    origins = {name: TASKS.origin(name) for name in tasks}
    cards = [*task_files, *(card for root in places.roots for card in find_cards(root))]
    for card in dict.fromkeys(card.resolve() for card in cards):
        task = local_task(card)
        if task.name in TASK_GROUPS:
            raise UserError(
                f"{card}: key 'name': '{task.name}' is the name of a group of tasks: choose another."
            )
        if task.name in tasks:
            raise UserError(
                f"'{task.name}' is named by {card} and by {origins[task.name]}: rename one of them."
            )
        tasks[task.name], origins[task.name] = task, str(card)
    return tasks


def select_tasks(
    expression: str, tasks: Mapping[str, Task], places: DataLocations, size: int
) -> tuple[Task, ...]:
    """Return the tasks that an expression selects, in its order, without duplicates.

    Args:
        expression: comma-separated names, globs and `TASK_GROUPS`, case-insensitive.
        size: stored image side in pixels, for `available`.

    Raises:
        UserError: an unknown name, one that only serves for pretraining, or an empty selection.
    """
    chosen: dict[str, Task] = {}
    for word in filter(None, (part.strip() for part in expression.split(","))):
        chosen |= {task.name: task for task in _matches(word, tasks, places, size)}
    if not chosen:
        raise UserError(
            f"'{expression}' chooses no task at size {size}: name a data folder with --data-root, a task "
            "that can be downloaded, or the group 'phantom', which needs no data."
        )
    return tuple(chosen.values())


def _matches(given: str, tasks: Mapping[str, Task], places: DataLocations, size: int) -> list[Task]:
    word = given.lower()
    targets = {name.lower(): task for name, task in tasks.items() if task.role == "task"}
    if word in TASK_GROUPS:
        return [task for task in targets.values() if TASK_GROUPS[word](task, places, size)]
    if any(sign in word for sign in "*?["):
        found = [task for name, task in targets.items() if fnmatchcase(name, word)]
        if not found:
            raise UserError(f"No task matches '{word}'; known: {', '.join(sorted(targets))}.")
        return found
    if word in targets:
        return [targets[word]]
    if word in (name.lower() for name in tasks):
        raise UserError(
            f"'{word}' only serves for pretraining (its card says role = \"source\"): choose a task."
        )
    if Path(given).is_dir() and (cards := [*find_cards(Path(given))]):
        raise UserError(f"There is no task '{word}': name your own by its card, {cards[0]}.")
    raise unknown_name_error("task", word, [*targets, *TASK_GROUPS])


def is_available(task: Task, size: int, places: DataLocations) -> bool:
    """Whether a task can be loaded at this size without a network."""
    return (not task.sizes or size in task.sizes) and not task.source.missing(size, places)


def missing_files(tasks: Iterable[Task], size: int, places: DataLocations) -> list[MissingFile]:
    """List missing files without duplicates; `UserError` for a size that a task does not have."""
    tasks = tuple(tasks)
    for task in tasks:
        if task.sizes and size not in task.sizes:
            raise UserError(
                f"{task.name} has no images of size {size}: choose one of {', '.join(map(str, task.sizes))}."
            )
    return list(dict.fromkeys(file for task in tasks for file in task.source.missing(size, places)))


def assume_downloads(tasks: Iterable[Task], size: int, places: DataLocations) -> DataLocations:
    """Return places where the files that can be downloaded count as present, for an estimate."""
    files = missing_files(tasks, size, places)
    names = frozenset(file.name for file in files if file.url and file.md5)
    return replace(places, assumed=names | (places.assumed or frozenset()), download=False)


def fetch_tasks(
    tasks: Iterable[Task], size: int, places: DataLocations, progress: DownloadProgress | None = None
) -> None:
    """Download the missing files that have a URL and an MD5, if `places` allows downloads.

    Raises:
        UserError: offline, the message of `require_tasks`; otherwise as `download_missing`.
    """
    tasks = tuple(tasks)
    if not places.download:
        return
    for file in missing_files(tasks, size, places):
        if file.url and file.md5:
            try:
                download_missing(file, places, progress)
            except OfflineError as error:
                raise UserError(_format_missing(tasks, size, places, str(error).rstrip("."))) from error


def require_tasks(tasks: Iterable[Task], size: int, places: DataLocations) -> None:
    """Check that no file is missing.

    Raises:
        UserError: one sentence with each missing file, its size, where to put it, and what runs without it.
    """
    tasks = tuple(tasks)
    if missing_files(tasks, size, places):
        raise UserError(_format_missing(tasks, size, places))


def _format_missing(tasks: tuple[Task, ...], size: int, places: DataLocations, reason: str = "") -> str:
    files = missing_files(tasks, size, places)
    anywhere = [file for file in files if file.place is None]
    clauses = [reason] if reason else []
    if anywhere:
        names = ", ".join(_name_with_size(file) for file in anywhere)
        pages = sorted({file.url.split("/files/")[0] for file in anywhere if file.url})
        source = f" (from {', '.join(pages)})" if pages else ""
        them = "it" if len(anywhere) == 1 else "them"
        root = places.roots[0] if places.roots else "a folder that --data-root or MEDNET_BENCH_DATA names"
        clauses.append(f"missing: {names}{source}; put {them} into {root}")
    fixed = [f"{file.place}" for file in files if file.place is not None]
    if fixed:
        clauses.append(f"missing: {', '.join(fixed)}, where a card expects the data")
    sentence = f"{'; '.join(clauses)}; {_suggest_alternative(tasks, size, places)}."
    return sentence[0].upper() + sentence[1:]


def _suggest_alternative(tasks: tuple[Task, ...], size: int, places: DataLocations) -> str:
    known = {task.name: task for task in (*dict(TASKS.items()).values(), *tasks)}
    ready = [task.name for task in known.values() if TASK_GROUPS["available"](task, places, size)]
    if ready:
        return f"run the available tasks with `--tasks available` ({', '.join(ready)})"
    return "generated images need no data and run with `--tasks phantom`"


def _name_with_size(file: MissingFile) -> str:
    return (
        f"{file.name} (at most {format_megabytes(file.bytes_at_most)})" if file.bytes_at_most else file.name
    )


def format_megabytes(count: int) -> str:
    """Format a number of bytes: ``"0.6 MB"``, ``"41 MB"``, ``"11.8 GB"``."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count < 1e7 else f"{count / 1e6:.0f} MB"
