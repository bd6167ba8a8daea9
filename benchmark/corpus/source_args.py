"""Parse the SOURCE arguments of `corpus build`: tasks, npz sets, cards, and `KIND:NAME`."""

import re
from collections.abc import Mapping
from pathlib import Path

from ...core.errors import UserError, unknown_name_error
from ...core.toml_files import as_card, read_toml
from ...tasks.catalog import catalog, fetch_tasks, require_tasks
from ...tasks.local_cards import local_task
from ...tasks.task import SPLITS, DataLocations, Task
from .file_source import reading_of
from .source import SOURCES, CorpusSource, SourceCard
from .task_source import TaskSource

Splits = Mapping[str, tuple[str, ...]]
"""Splits to take, by source name; "" is the default of all other sources."""


def splits_of(options: tuple[str, ...]) -> Splits:
    """Parse `--splits train,val` and `--splits NAME=train`; `UserError` for an unknown split."""
    found: dict[str, tuple[str, ...]] = {}
    for option in options:
        name, _, text = option.rpartition("=")
        names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        for split in names:
            if split not in SPLITS:
                raise unknown_name_error("split", split, SPLITS)
        found[name] = names
    return found


def open_sources(
    words: tuple[str, ...], places: DataLocations, splits: Splits, side: int, agreed: bool = False
) -> list[CorpusSource]:
    """Open the sources that the arguments name, in order.

    Args:
        words: names of tasks, paths of npz files or cards, `KIND:NAME`.
        side: in pixels: the largest stored size up to it is taken, else the smallest above.

    Raises:
        UserError: a word names nothing, a card is wrong, data are missing, or two sources share a name.
    """
    sources = [_open_source(word, places, splits, side, agreed) for word in words]
    names = [source.facts.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"Two sources are called '{name}': name each once, or rename one of them.")
    for name in splits:
        if name and name not in names:
            raise unknown_name_error("source", name, names)
    return sources


def _open_source(word: str, places: DataLocations, splits: Splits, side: int, agreed: bool) -> CorpusSource:
    path = Path(word)
    if path.suffix == ".npz":
        if not path.with_suffix(".toml").is_file():
            raise UserError(f"{path} has no card {path.stem}.toml beside it: write one (docs/tasks.md).")
        return _task_source(local_task(path.with_suffix(".toml")), places, splits, side)
    if path.suffix == ".toml":
        return _open_card(path, places, splits, side)
    kind, colon, name = word.partition(":")
    if colon and kind in SOURCES:
        named = SOURCES[kind].named
        if named is None:
            raise UserError(f"A source of the kind '{kind}' needs a card: name its TOML file.")
        return named(name, places, agreed)
    if path.is_dir():
        raise UserError(
            f"{path} is a folder: write a source card for it (docs/build-a-mednet.md) and name that."
        )
    return _task_source(_find_task(word, places), places, splits, side)


def _open_card(path: Path, places: DataLocations, splits: Splits, side: int) -> CorpusSource:
    content = read_toml(path)
    if str(content.get("path", "")).endswith(".npz"):
        return _task_source(local_task(path), places, splits, side)
    if "kind" in content:
        SOURCES[str(content["kind"])]  # an unknown kind is reported before any other mistake
    card = as_card(path, content, SourceCard)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,59}", card.name):  # a tar's names have 100 characters
        raise UserError(f"{path}: key 'name': use up to 60 lower-case letters, digits, '.', '_' and '-'.")
    reading_of(card.reader, card.name)  # checked now, since the first file may be read hours later
    return SOURCES[card.kind].open(card, path.parent)


def _find_task(word: str, places: DataLocations) -> Task:
    """Find a task by name, "_" meaning "-", or by a unique prefix up to "-"."""
    tasks = catalog(places)
    name = word.lower().replace("_", "-")
    if word.lower() in tasks or name in tasks:
        return tasks.get(word.lower()) or tasks[name]
    matches = [task for known, task in tasks.items() if known.startswith(f"{name}-")]
    if len(matches) == 1:
        return matches[0]
    raise unknown_name_error(
        "source", word, [*tasks, *(f"{kind}:NAME" for kind, how in SOURCES.items() if how.named)]
    )


def _task_source(task: Task, places: DataLocations, splits: Splits, side: int) -> TaskSource:
    chosen = splits.get(task.name, splits.get("", task.pretrain_splits))
    sizes = task.source.sizes(places) or task.sizes or (side,)
    size = max((each for each in sizes if each <= side), default=min(sizes))
    fetch_tasks([task], size, places)
    require_tasks([task], size, places)
    return TaskSource(task, places, chosen, size)
