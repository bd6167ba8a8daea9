"""Cross-validation: folds of all images of a task, stratified, with whole patients or other groups.

The pool is train, val and test of the task, in this order; rows are indices into it.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...tasks.task import SPLITS, Split, no_pixels
from ..schema.plan import Fold, LabelBudget
from .subsets import LabelSubset, choose_subset, one_hot, subset_digest

_Index = NDArray[np.int64]
_STREAM = 0xF01D
"""Keeps the draws of partitions apart from others of the same seed."""


@dataclass(frozen=True, eq=False)
class FoldRows:
    """Ascending rows of the pool: the test images of a fold, and those of its train and val."""

    train: _Index
    val: _Index
    test: _Index


def pool_splits(splits: Mapping[str, Split]) -> Split:
    """Concatenate all splits in order, without pixels: images are [n, 0, 0], traits are left out."""
    parts = [splits[name] for name in SPLITS]
    groups = [part.groups for part in parts if part.groups is not None]
    known = [part.patient_known for part in parts if part.patient_known is not None]
    return Split(
        no_pixels(sum(map(len, parts))),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(groups) if len(groups) == len(parts) else None,
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        patient_known=np.concatenate(known) if len(known) == len(parts) else None,
    )


def fold_rows(pool: Split, view: Fold, seed: int, val_share: float) -> FoldRows:
    """Return the rows of one fold: the partition follows from the seed, train and val from seed and fold.

    Args:
        pool: all images of the task.
        view: which fold of how many.
        seed: of the repeat.
        val_share: share of val in train and val, 0 to 1.
    """
    fold = _partition(pool, view.folds, seed)
    test, rest = np.flatnonzero(fold == view.index), np.flatnonzero(fold != view.index)
    rng = np.random.default_rng([_STREAM, seed, view.folds, view.index])
    is_val = divide_groups(pool.at(rest), np.array([1 - val_share, val_share]), rng) == 1
    return FoldRows(rest[~is_val], rest[is_val], test)


@lru_cache(maxsize=2)  # the folds of a seed come one after the other
def _partition(pool: Split, folds: int, seed: int) -> _Index:
    """Return the fold of each image of a pool, [n]; a pool is another one by its identity."""
    shares = np.full(folds, 1 / folds)
    return divide_groups(pool, shares, np.random.default_rng([_STREAM, seed, folds]))


def divide_groups(split: Split, shares: NDArray[np.float64], rng: np.random.Generator) -> _Index:
    """Divide images into parts, stratified by class or finding; groups stay whole.

    Of groups that hold the same numbers of each class, every part gets its share, rounded down. The others
    are dealt out, large ones first, each to the part that lacks most of its classes. Groups whose sizes have
    the same number of binary digits come in random order: a strict order would let seeds draw one partition.

    Args:
        split: n images.
        shares: [parts], sum 1.
        rng: draws which groups.

    Returns:
        Number of the part of each image, [n].
    """
    groups = group_numbers(split)
    columns = np.column_stack([one_hot(split.labels), np.ones(len(split), bool)])
    counts = np.zeros((int(groups.max(initial=-1)) + 1, columns.shape[1]))
    np.add.at(counts, groups, columns)  # [groups, classes and all]
    part = np.full(len(counts), -1)
    _, kinds = np.unique(counts, axis=0, return_inverse=True)
    order = rng.permutation(len(counts))
    order = order[np.argsort(kinds.ravel()[order], kind="stable")]
    for alike in np.split(order, np.flatnonzero(np.diff(kinds.ravel()[order])) + 1):
        dealt = np.repeat(np.arange(len(shares)), np.floor(shares * len(alike) + 1e-9).astype(int))
        part[alike[: len(dealt)]] = dealt
    weights = counts / np.maximum(counts.sum(axis=0), 1)  # share of each class in a group
    lacking = shares[:, None] - np.stack([weights[part == p].sum(axis=0) for p in range(len(shares))])
    left = rng.permutation(np.flatnonzero(part < 0))
    for group in left[np.argsort(-np.floor(np.log2(counts[left, -1])), kind="stable")]:
        wanted = lacking @ weights[group]
        part[group] = rng.choice(np.flatnonzero(wanted >= wanted.max() - 1e-12))
        lacking[part[group]] -= weights[group]
    return part[groups]


def group_numbers(split: Split) -> _Index:
    """Return the number of each image's group from 0, [n]; without groups each image is one."""
    if split.groups is None:
        return np.arange(len(split))
    return np.unique(split.groups, return_inverse=True)[1].ravel()


def choose_fold_subset(
    pool: Split, rows: FoldRows, labels: LabelBudget, seed: int, resampled: bool = False
) -> LabelSubset:
    """Choose the labels of a budget as `choose_subset`, as rows of the pool; the digest covers the test."""
    chosen = choose_subset(pool.at(rows.train), pool.at(rows.val), labels, seed, resampled)
    train, val = rows.train[chosen.train], rows.val[chosen.val]
    return LabelSubset(train, val, subset_digest(train, val, rows.test))


def hide_test_labels(pool: Split, rows: FoldRows) -> Split:
    """Return the pool with labels -1 for the test images of a fold."""
    labels = pool.labels.copy()
    labels[rows.test] = -1
    return replace(pool, labels=labels)


def check_folds(
    name: str, classes: Sequence[str], pool: Split, folds: int, seeds: Sequence[int], val_share: float
) -> str:
    """Check the folds of every repeat; return a warning where verdicts would be impossible, or "".

    Args:
        name: of the task.
        classes: names in label order.
        pool: all images.
        folds: number of folds.
        seeds: one per repeat.
        val_share: as in `fold_rows`.

    Raises:
        UserError: patients are too few for the folds, or a fold lacks a class.
    """
    groups, what = group_numbers(pool), f"Task '{name}': --folds {folds} needs images of {folds} patients"
    sides = dict(_label_sides(classes, pool.labels))
    held_by = {side: len(np.unique(groups[held])) for side, held in sides.items()}
    found = len(np.unique(groups))
    cure = _cure(min(found, *held_by.values()))
    if found < folds:
        raise UserError(f"{what}, and there are {found} (equal images count as one): {cure}.")
    for side, found in held_by.items():
        if found < folds:
            raise UserError(f"{what} in every class, and those {side} are of {found}: {cure}.")
    alone = ""
    for seed, index in itertools.product(seeds, range(folds)):
        rows = fold_rows(pool, Fold(index=index, folds=folds), seed, val_share)
        place = f"with --folds {folds}, fold {index + 1} of seed {seed}"
        if gap := _gap_of_fold(rows, sides):
            cure = "pass fewer folds, or add patients"
            raise UserError(f"Task '{name}': {place} has {gap}, since patients are kept whole: {cure}.")
        single = [
            side for side, held in sides.items() if len(np.unique(groups[rows.test][held[rows.test]])) == 1
        ]
        if single and not alone:
            alone = (
                f"{name}: {place} tests on one patient {single[0]}, which tells nothing of others, so that "
                "there can be no verdict: pass fewer folds."
            )
    return alone


def _gap_of_fold(rows: FoldRows, sides: Mapping[str, NDArray[np.bool_]]) -> str:
    """Name a part of a fold that is empty, or lacks a class in train or test; "" if there is none."""
    parts = {"training": rows.train, "validation": rows.val, "test": rows.test}
    if empty := [part for part, mine in parts.items() if not len(mine)]:
        return f"no {empty[0]} image"
    for (side, held), part in itertools.product(sides.items(), ("training", "test")):
        if not held[parts[part]].any():
            return f"no {part} image {side}"
    return ""


def _cure(found: int) -> str:
    return f"pass at most --folds {found}, or add patients" if found > 1 else "leave it out, or add patients"


def _label_sides(classes: Sequence[str], labels: _Index) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield which images [n] belong to each class; of multilabel tasks with and without each finding."""
    for number, held in enumerate(one_hot(labels, len(classes)).T):
        if labels.ndim == 1:
            yield f"of the class '{classes[number]}'", held
        else:
            yield from ((f"with '{classes[number]}'", held), (f"without '{classes[number]}'", ~held))


def fold_sizes(images: int, folds: int, val_share: float) -> tuple[int, int, int]:
    """Return the mean numbers of images in train, val and test of a fold, rounded."""
    test = round(images / folds)
    val = round((images - test) * val_share)
    return images - test - val, val, test
