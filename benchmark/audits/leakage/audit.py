"""Audit what leaks between the splits of a task, by name or by card."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....core.clock import utc_now
from ....core.errors import UserError
from ....tasks.card_path import is_card_path, read_card_name
from ....tasks.catalog import catalog, fetch_tasks, require_tasks, select_tasks
from ....tasks.data_paths import data_locations
from ....tasks.images.bit_depth import Levels, to_uint8
from ....tasks.images.perceptual_hash import BLANK, SMALLEST_HASHED, perceptual_hashes
from ....tasks.pseudonymize import NO_GROUP
from ....tasks.task import SPLITS, DataLocations, Split, Task
from ...overlap.exact import ONE_VALUE, Digests, equal_groups, image_digests
from ...overlap.groups import known_groups, patients_known, shared_groups
from ...run.planner import stored_size
from ...schema.request import RunConfig
from ..contamination.search import _Hashes
from .near import SplitThumbnails, near_copies, thumbnails
from .outcome import LeakageAudit, _Rows
from .pair_images import add_pair_images
from .shortcuts import draw_rows, label_associations, shortcut_hints
from .within_split import near_within


@dataclass(frozen=True)
class LeakageRequest:
    """Request of an audit.

    Attributes:
        target: names of tasks or sources, globs or groups as for run; or the path of a card.
        request: the stored size, where data are, and cards beside them.
    """

    target: str
    request: RunConfig
    pictures: int = 0


def audit_leakage(wanted: LeakageRequest) -> Iterator[LeakageAudit]:
    """Audit each task; `UserError` for an unknown name, a wrong card or missing data."""
    request = wanted.request
    places = data_locations(Path(request.data_root) if request.data_root else None, request.download)
    targets = _targets(wanted, places)
    fetch_tasks(targets, request.size, places)
    require_tasks(targets, request.size, places)
    for task in targets:
        size = stored_size(task, request, places)
        loaded = task.source.load(size, places)
        data = task.source.fingerprint(size, places)
        yield leakage_of(task.name, size, data, loaded, wanted.pictures)


def _targets(wanted: LeakageRequest, places: DataLocations) -> tuple[Task, ...]:
    """Find the tasks, sources for pretraining included, since their splits can leak as well."""
    cards = [Path(path) for path in wanted.request.task_file]
    name = wanted.target
    if is_card_path(name):
        cards.append(Path(name).expanduser())
        name = read_card_name(cards[-1])
    known = catalog(places, cards)
    return (known[name],) if name in known else select_tasks(name, known, places, wanted.request.size)


def leakage_of(task: str, size: int, data: str, loaded: Mapping[str, Split], pairs: int = 0) -> LeakageAudit:
    """Audit splits in memory.

    Args:
        size: stored side in pixels.
        data: fingerprint of the content.
        loaded: the splits by name; empty ones are skipped.
        pairs: number of pairs of images to embed.

    Raises:
        UserError: the images are too small to hash.
    """
    splits = {name: loaded[name] for name in SPLITS if name in loaded and len(loaded[name])}
    if min((min(split.images.shape[1:3]) for split in splits.values()), default=0) < SMALLEST_HASHED:
        raise UserError(
            f"{task} has no images of {SMALLEST_HASHED} pixels a side or more: nothing can be audited."
        )
    marks = {name: image_digests(split.images) for name, split in splits.items()}  # in full depth
    images = {name: _eight_bits(split.images) for name, split in splits.items()}
    hashes = {
        name: np.where(marks[name] == ONE_VALUE, BLANK, perceptual_hashes(each)).astype(np.uint64)
        for name, each in images.items()
    }
    looks = SplitThumbnails(
        splits, images, hashes, marks, {name: thumbnails(each) for name, each in images.items()}
    )
    constant, blank = _empty_images(marks, hashes)
    drawn = draw_rows(_independent_units(splits, marks))
    found = LeakageAudit(
        task=task,
        size=size,
        data=data,
        images={name: len(split) for name, split in splits.items()},
        exact=equal_groups(splits, marks),
        near=(*near_copies(looks), *near_within(looks)),
        shared=shared_groups(splits),
        grouped={name: len(known_groups(split)) for name, split in splits.items()},
        patients=patients_known(splits),
        constant=constant,
        blank=blank,
        hints=tuple(shortcut_hints(splits, images, drawn)),
        associations=label_associations(splits, drawn),
        made=utc_now(),
    )
    return add_pair_images(found, images, pairs) if pairs else found


def _eight_bits(images: Levels) -> NDArray[np.uint8]:
    """Convert images to uint8 in chunks, since the conversion takes eight times their memory."""
    if images.dtype == np.uint8:
        return to_uint8(images)
    return np.concatenate([to_uint8(images[at : at + 256]) for at in range(0, len(images), 256)])


def _empty_images(
    marks: Mapping[str, Digests], hashes: Mapping[str, _Hashes]
) -> tuple[dict[str, _Rows], dict[str, _Rows]]:
    """Return (constant, noise): the rows of constant images and of images of pure noise.

    Each by split, for the splits that have any.
    """
    constant: dict[str, _Rows] = {}
    blank: dict[str, _Rows] = {}
    for name, mine in marks.items():
        constant[name] = tuple(np.flatnonzero(mine == ONE_VALUE).tolist())
        blank[name] = tuple(np.flatnonzero((hashes[name] == BLANK) & (mine != ONE_VALUE)).tolist())
    return {name: rows for name, rows in constant.items() if rows}, {n: r for n, r in blank.items() if r}


def _independent_units(
    splits: Mapping[str, Split], marks: Mapping[str, Digests]
) -> dict[str, NDArray[np.uint64]]:
    """Return the group of each image, or its digest where the group is unknown."""
    return {
        name: marks[name]
        if split.groups is None
        else np.where(split.groups == NO_GROUP, marks[name], split.groups.astype(np.uint64))
        for name, split in splits.items()
    }
