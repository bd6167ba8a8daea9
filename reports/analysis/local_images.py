"""Test images of a user's own task, as far as its files are still on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...benchmark.overlap.copies import copies_in
from ...benchmark.schema.plan import Plan
from ...core.errors import UserError
from ...tasks.catalog import catalog
from ...tasks.data_paths import data_locations
from ...tasks.from_files.source import FilesSource
from ...tasks.images.bit_depth import Levels, to_uint8
from ...tasks.task import SPLITS, DataLocations, Split, Task
from .report_input import LeaderboardRow, ReportInput


@dataclass(frozen=True, eq=False)
class LocalImages:
    """Scored images of a task, in the order of the predictions; of a cross-validated one the whole pool.

    Attributes:
        parts: memory-mapped pixels, split by split.
        rows: [n] index of each image in the joined parts.
        files: [n] path relative to the images' folder; None where the source is no folder.
    """

    parts: tuple[Levels, ...]
    rows: NDArray[np.int64]
    files: NDArray[np.str_] | None

    def pixels(self, place: int) -> NDArray[np.uint8]:
        """Return one image with 8 bits, [h, w] or [h, w, 3]."""
        row = int(self.rows[place])
        for part in self.parts:
            if row < len(part):
                return to_uint8(part[row])
            row -= len(part)
        raise IndexError(place)


def own_tasks(plan: Plan | None) -> tuple[Mapping[str, Task], DataLocations]:
    """Return the user's own tasks that a run named, and its folders; empty where a card is gone."""
    request = plan.request if plan else {}
    root = str(request.get("data_root") or "")
    places = data_locations(Path(root) if root else None)
    files = request.get("task_file") or ()
    try:
        found = catalog(
            places, [Path(str(path)) for path in files] if isinstance(files, (list, tuple)) else []
        )
    except UserError:  # a card was moved: the predictions are written without its files
        return {}, places
    return {name: task for name, task in found.items() if task.family == "local"}, places


def find_local_images(results: ReportInput, row: LeaderboardRow) -> LocalImages | None:
    """Return the images that a row was scored on; None unless they are the user's, there and unchanged."""
    tasks, places = own_tasks(results.plan)
    task = tasks.get(row.task)
    used = next(record.hashes.data for record in results.counted if record.key == row.keys[0])
    fingerprint, _, without = used.partition(", ")
    try:
        if task is None or task.source.missing(row.size, places):
            return None
        if task.source.fingerprint(row.size, places) != fingerprint:
            return None
        splits = task.source.load(row.size, places)
        names = SPLITS if row.folds else ("test",)
        rows = np.arange(sum(len(splits[name]) for name in names))
        if without.endswith("copies in test"):
            rows = np.delete(rows, list(copies_in(task, splits, fingerprint).rows["test"]))
        files = _files_of(task, row.size, places, names)
        return LocalImages(_pixels(splits, names), rows, None if files is None else files[rows])
    except UserError:  # a file is damaged or gone
        return None


def _pixels(splits: Mapping[str, Split], names: tuple[str, ...]) -> tuple[Levels, ...]:
    return tuple(splits[name].images for name in names)


def _files_of(
    task: Task, size: int, places: DataLocations, names: tuple[str, ...]
) -> NDArray[np.str_] | None:
    if not isinstance(task.source, FilesSource):
        return None
    found = task.source.image_files(size, places)
    return np.array([path for name in names for path in found[name]], np.str_)
