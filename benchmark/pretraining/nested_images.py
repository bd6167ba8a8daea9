"""Images of a source that a pretraining may use, and nested subsets of them for `mednet@IMAGES`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...baselines.init import PretrainPlan
from ...core.errors import UserError
from ...tasks.task import Split, Task
from ..training.subsets import one_hot, stratified_order
from .sources import SourcePool, _Rows, group_numbers, hold_out

PRETRAIN_SEED = 0
"""Seed of a pretraining, also of the choice of its images."""
_NESTED = 1
"""Purpose of the random stream of a subset; third part of its seed."""


def join_splits(parts: Sequence[Split]) -> Split:
    """Concatenate splits, which share group numbers; an unknown group is -1."""
    alone = len(parts) == 1  # not copied: it may be larger than memory, with only some rows needed
    return Split(
        parts[0].images if alone else np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([np.full(len(part), -1) if part.groups is None else part.groups for part in parts]),
    )


def draw_rows(whole: Split, limit: int, seed: int, place: int) -> tuple[_Rows, _Rows, _Rows]:
    """Draw at most `limit` images of the source number `place`.

    Returns:
        The rows of the images, and which of these are to train on and held out.
    """
    rng = np.random.default_rng([seed, place])
    rows = rng.permutation(len(whole))[:limit]
    train, held_out = hold_out(len(rows), whole.groups[rows] if whole.groups is not None else None, rng)
    return rows, train, held_out


def nested_pools(
    pools: Sequence[SourcePool], groups: Sequence[_Rows], count: int, seed: int
) -> list[SourcePool]:
    """Leave `count` training images in all pools together; held-out images stay.

    They are the first of one order, so that fewer images are part of more. Every part of it holds sources and
    classes in proportion: each source is still drawn as often as with all images. Images of a group follow
    each other, so that of all groups only the last of each source may be cut. Each source keeps an image.

    Args:
        pools: with at least `count` training images.
        groups: of the images of each pool, as `hold_out` takes them.
        count: at least the number of pools.
        seed: decides which images.
    """
    orders, due = [], []
    for place, (pool, known) in enumerate(zip(pools, groups, strict=True)):
        rng = np.random.default_rng([seed, place, _NESTED])
        orders.append(_image_order(pool, known, rng))
        times = (np.arange(len(pool.train)) + rng.random()) / max(1, len(pool.train))
        times[:1] = -1  # one image of each source comes first
        due.append(times)
    whose = np.repeat(np.arange(len(pools)), [len(order) for order in orders])
    first = np.argsort(np.concatenate(due), kind="stable")[:count]
    taken = np.bincount(whose[first], minlength=len(pools))
    return [
        replace(pool, train=np.sort(order[:n])) for pool, order, n in zip(pools, orders, taken, strict=True)
    ]


def _image_order(pool: SourcePool, groups: _Rows, rng: np.random.Generator) -> _Rows:
    """Order the training rows of a pool: whole groups, every part with the classes in proportion."""
    number = group_numbers(groups[pool.train])
    counts = np.zeros((number.max(initial=-1) + 1, len(pool.classes)))  # [groups, classes]
    np.add.at(counts, number, one_hot(pool.labels[pool.train], len(pool.classes)))
    rank = np.empty(len(counts), np.int64)
    rank[stratified_order(counts, rng)] = np.arange(len(counts))
    return pool.train[np.argsort(rank[number], kind="stable")]


def check_nested_images(
    name: str, target: str, plan: PretrainPlan, draws: int, available: Sequence[int]
) -> None:
    """Check the number of images that an init such as `mednet@4000` asks for.

    Args:
        name: of the init.
        target: the task that it is pretrained for.
        plan: its pretraining; of any number of images.
        draws: images that the pretraining shows in all, repetitions included.
        available: training images of each source; fewer than the sources where some are not known.

    Raises:
        UserError: there are not as many, not all could be shown, or some source would have none.
    """
    if not plan.images:
        return
    if plan.images > draws:
        raise UserError(
            f"--inits: {name}: a pretraining shows {draws:,} images in all, repetitions included: pass "
            f"--pretrain-images {plan.images} or more, or take {name.partition('@')[0]}@{draws} at most."
        )
    if plan.images < len(plan.sources):
        raise UserError(
            f"--inits: {name}: the {len(plan.sources)} sources for {target} need an image each: take "
            f"{len(plan.sources)} images or more."
        )
    if len(available) == len(plan.sources) and plan.images > sum(available):
        raise UserError(
            f"--inits: {name}: the sources for {target} have {sum(available):,} images to pretrain on: take "
            f"at most that many, name {name.partition('@')[0]} for all of them, or put further "
            f"{plan.variant} data sets into the data root."
        )


def count_training_images(task: Task, splits: Mapping[str, Split], limit: int, seed: int, place: int) -> int:
    """Return how many images of a source a pretraining would be trained on, from its labels."""
    whole = join_splits([splits[name] for name in task.pretrain_splits])
    return len(draw_rows(whole, limit, seed, place)[1])
