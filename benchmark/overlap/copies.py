"""Count test images and groups that occur in train or val, and drop images (`--dedupe`)."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import msgspec
import numpy as np

from ...core.errors import UserError
from ...core.files import DiskFullError, cache_folder, read_regular, write_json
from ...tasks.task import SPLITS, Split, Task
from ..schema.split_overlap import Dedupe, SplitOverlap
from ..training.subsets import one_hot
from .exact import Digests, equal_groups, image_digests
from .groups import known_groups, patients_known

_FORMAT = 3
_FROM: Mapping[Dedupe, tuple[str, ...]] = {"test": ("test",), "train": ("train", "val")}
"""Splits that lose images."""
_OPTION: Mapping[Dedupe, str] = {"test": "--dedupe", "train": "--dedupe train"}
_BESIDE: Mapping[Dedupe, str] = {"test": "train or val", "train": "test"}


class SplitCopies(msgspec.Struct, frozen=True, kw_only=True):
    """Cached result for one content: the counts, and the rows that are copies."""

    copies: SplitOverlap
    rows: dict[str, tuple[int, ...]]
    """By split: rows of test that also occur in train or val, rows of train and val that occur in test."""

    def after(self, dedupe: Dedupe | None) -> SplitOverlap:
        """Return the counts, with the number of dropped images."""
        lost = {f"dropped_{name}": len(self.rows[name]) for name in _FROM["train"] if dedupe == "train"}
        return msgspec.structs.replace(self.copies, dropped=dedupe is not None, **lost)


def data_identity(fingerprint: str, dedupe: Dedupe | None) -> str:
    """Return the identity of a cell's data, which depends on the dropped copies."""
    return f"{fingerprint}, without copies in {' and '.join(_FROM[dedupe])}" if dedupe else fingerprint


def copies_in(
    task: Task,
    splits: Mapping[str, Split],
    fingerprint: str,
    load: Callable[[], Mapping[str, Split]] | None = None,
) -> SplitCopies:
    """Count the copies and shared groups of a task; copies are cached by content and card.

    Args:
        task: the card.
        splits: with or without pixels.
        fingerprint: of the content.
        load: returns the splits with pixels, called only where nothing is cached; None if `splits` have them.
    """
    counts = [len(splits[name]) for name in SPLITS]
    key = hashlib.sha256(msgspec.json.encode([_FORMAT, fingerprint, task.decisive, counts])).hexdigest()
    note = cache_folder() / "leakage" / f"{key[:32]}.json"
    try:
        found = msgspec.json.decode(read_regular(note), type=SplitCopies)
    except (OSError, ValueError, RecursionError):
        found = _count_copies(load() if load else splits)
        with suppress(UserError, DiskFullError):  # the cache is optional
            write_json(note, found)
    return msgspec.structs.replace(found, copies=_add_shared_groups(found.copies, splits))


def copies_in_fold(splits: Mapping[str, Split], marks: Mapping[str, Digests]) -> SplitOverlap:
    """Count the copies and shared groups of a fold; its splits may lack pixels.

    Equal images are one group, so that there are none.
    """
    return _add_shared_groups(_count_copies(splits, marks).copies, splits)


def _count_copies(splits: Mapping[str, Split], marks: Mapping[str, Digests] | None = None) -> SplitCopies:
    ordered = {name: splits[name] for name in SPLITS}
    marks = marks or {name: image_digests(split.images) for name, split in ordered.items()}
    groups = equal_groups(ordered, marks)
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
    copied = {name: tuple(sorted(rows(name, "test"))) for name in ("train", "val")}
    return SplitCopies(
        copies=SplitOverlap(
            test=len(splits["test"]),
            in_train=len(in_train),
            in_val=len(in_val),
            either=len(either),
            conflicts=sum(group.conflict for group in tested),
            val=len(splits["val"]),
            val_in_train=len(rows("val", "train")),
        ),
        rows={"test": either, **copied},
    )


def _add_shared_groups(copies: SplitOverlap, splits: Mapping[str, Split]) -> SplitOverlap:
    """Add the groups that test shares with train or val; numbers depend on the salt: no cache."""
    test = known_groups(splits["test"])
    both = np.intersect1d(test, np.concatenate([known_groups(splits[name]) for name in ("train", "val")]))
    of_shared = int(np.isin(test, both).sum())
    known = len(test) if of_shared else patients_known(splits)["test"]
    return msgspec.structs.replace(copies, known=known, shared_groups=len(both), of_shared=of_shared)


def without_copies(
    task: Task, splits: Mapping[str, Split], found: SplitCopies, dedupe: Dedupe
) -> dict[str, Split]:
    """Return the splits without test images that occur in train or val, or without the copies.

    Raises:
        UserError: a split would keep no image of a class.
    """
    lost = tuple(_lost_classes(task, splits, found, dedupe))
    if lost:
        other: Dedupe = "train" if dedupe == "test" else "test"
        kind = "the copies in train and val" if dedupe == "test" else "the images of test"
        cure = f"pass {_OPTION[other]}, which drops {kind} instead"
        if any(_lost_classes(task, splits, found, other)):
            cure = f"{_OPTION[other]} would empty a class too, so make other splits"
        raise UserError(
            f"Task '{task.name}': {_OPTION[dedupe]} would leave {' and '.join(lost)}, since all of them also "
            f"stand in {_BESIDE[dedupe]}: {cure}."
        )
    return {**splits, **{name: _drop_rows(splits[name], found.rows[name]) for name in _FROM[dedupe]}}


def dropped_copies(
    task: Task, before: Mapping[str, Split], after: Mapping[str, Split], dedupe: Dedupe
) -> Iterator[str]:
    """Describe the images that `without_copies` dropped from each split, per class."""
    for name in _FROM[dedupe]:
        had, has = _class_counts(task, before[name]), _class_counts(task, after[name])
        present = list(had)[: len(task.classes)]  # without those that lack a finding
        less = [
            f"{had[which] - has[which]:,} of the {had[which]:,} {which}"
            for which in present
            if has[which] < had[which]
        ]
        count = len(before[name]) - len(after[name])
        total = f"{count:,} of {len(before[name]):,} {name} images, which also stand in {_BESIDE[dedupe]}"
        yield f"{task.name}: {_OPTION[dedupe]} drops {total}{': ' if less else ''}{', '.join(less)}"


def _lost_classes(
    task: Task, splits: Mapping[str, Split], found: SplitCopies, dedupe: Dedupe
) -> Iterator[str]:
    """Name the classes (or absent findings) that would lose all images of a split."""
    for name in _FROM[dedupe]:
        has = _class_counts(task, _drop_rows(splits[name], found.rows[name]))
        for which, many in _class_counts(task, splits[name]).items():
            if many and not has[which]:
                yield f"no {name} image {which}"


def _drop_rows(split: Split, lost: tuple[int, ...]) -> Split:
    return split.at(np.setdiff1d(np.arange(len(split)), lost)) if lost else split


def _class_counts(task: Task, split: Split) -> dict[str, int]:
    """Count the images of each class; for multi-label tasks also those without each finding."""
    counts = dict(
        zip(task.classes, one_hot(split.labels, len(task.classes)).sum(axis=0).tolist(), strict=True)
    )
    absent = {f"without '{name}'": len(split) - count for name, count in counts.items()}
    present = {f"of '{name}'": count for name, count in counts.items()}
    return present | absent if task.kind == "multilabel" else present
