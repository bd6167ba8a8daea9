"""The cheap part, for every run: test images and groups that stand in train or val, and images dropped."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress

import msgspec
import numpy as np

from ...tasks.task import SPLITS, Split, Task
from ..errors import UserError
from ..files import DiskFullError, cache_folder, read_regular, write_json
from .counted import Copies
from .equal import digests, equal_groups
from .groups import known_groups

_FORMAT = 1


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one content: the counts, and the rows of the test split that are copies."""

    copies: Copies
    rows: tuple[int, ...]


def identity(fingerprint: str, dedupe: bool) -> str:
    """Return what identifies the data of a cell: without its copies a test split is another one."""
    return f"{fingerprint}, without copies in test" if dedupe else fingerprint


def copies_in(task: Task, splits: Mapping[str, Split], fingerprint: str) -> Found:
    """Count the copies and shared groups of a task; copies are remembered, so that a content is hashed once.

    Args:
        task: whose card says how the content is read.
        splits: train, val and test as loaded.
        fingerprint: of the content.
    """
    counts = [len(splits[name]) for name in SPLITS]
    key = hashlib.sha256(msgspec.json.encode([_FORMAT, fingerprint, task.decisive, counts])).hexdigest()
    note = cache_folder() / "leakage" / f"{key[:32]}.json"
    try:
        found = msgspec.json.decode(read_regular(note), type=Found)
    except (OSError, ValueError, RecursionError):
        found = _counted(splits)
        with suppress(UserError, DiskFullError):  # without the note it is counted again next time
            write_json(note, found)
    return msgspec.structs.replace(found, copies=_grouped(found.copies, splits))


def _counted(splits: Mapping[str, Split]) -> Found:
    ordered = {name: splits[name] for name in SPLITS}
    groups = equal_groups(ordered, {name: digests(split.images) for name, split in ordered.items()})
    crossing = [group for group in groups if len(group.splits) > 1]
    tested = [group for group in crossing if "test" in group.splits]

    def rows(split: str, other: str) -> list[int]:
        return [
            row
            for g in crossing
            if {split, other} <= set(g.splits)
            for name, row in g.places
            if name == split
        ]

    in_train, in_val = rows("test", "train"), rows("test", "val")
    either = tuple(sorted({*in_train, *in_val}))
    return Found(
        copies=Copies(
            test=len(splits["test"]),
            in_train=len(in_train),
            in_val=len(in_val),
            either=len(either),
            conflicts=sum(group.conflict for group in tested),
            val=len(splits["val"]),
            val_in_train=len(rows("val", "train")),
        ),
        rows=either,
    )


def _grouped(copies: Copies, splits: Mapping[str, Split]) -> Copies:
    """Add the groups that test shares with train or val: quick, and another salt numbers them otherwise."""
    test = known_groups(splits["test"])
    both = np.intersect1d(test, np.concatenate([known_groups(splits[name]) for name in ("train", "val")]))
    of_shared = int(np.isin(test, both).sum())
    return msgspec.structs.replace(copies, known=len(test), shared_groups=len(both), of_shared=of_shared)


def without_copies(task: str, splits: Mapping[str, Split], found: Found) -> dict[str, Split]:
    """Return the splits without the test images that stand in train or val.

    Raises:
        UserError: no test image would be left.
    """
    test = splits["test"]
    kept = np.setdiff1d(np.arange(len(test)), found.rows)
    if not len(kept):
        raise UserError(f"Every test image of {task} stands in train or val: --dedupe would leave none.")
    return {**splits, "test": test.at(kept)}
