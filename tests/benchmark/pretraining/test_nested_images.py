"""`mednet@1000` sees a part of the images of `mednet@2000`, balanced as all of them are."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mednet_bench.baselines.init import PretrainPlan
from mednet_bench.benchmark.pretraining.batch_sampler import BatchSampler
from mednet_bench.benchmark.pretraining.nested_images import check_nested_images, draw_rows, nested_pools
from mednet_bench.benchmark.pretraining.sources import SourcePool, hold_out
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.task import Split

SIZES = {"large": 3000, "middle": 900, "small": 90}
PER_GROUP = 7


def example() -> tuple[list[SourcePool], list[np.ndarray]]:
    """Return three sources; images of the one in the middle are of patients, and one class is rare."""
    pools, groups = [], []
    for place, (name, count) in enumerate(SIZES.items()):
        rng = np.random.default_rng(place)
        number = np.arange(count) // PER_GROUP if name == "middle" else np.full(count, -1)
        labels = (number % 10 == 0).astype(int) if name == "middle" else rng.integers(0, 3, count)
        train, held_out = hold_out(count, number, rng)
        pools.append(SourcePool(name, "multiclass", ("a", "b", "c"), (True, False), labels, train, held_out))
        groups.append(number)
    return pools, groups


POOLS, GROUPS = example()
AVAILABLE = sum(len(pool.train) for pool in POOLS)


def rows(count: int, seed: int = 0) -> list[set[int]]:
    return [set(pool.train.tolist()) for pool in nested_pools(POOLS, GROUPS, count, seed)]


def test_fewer_images_are_among_more_and_their_number_is_exact() -> None:
    counts = (3, 10, 100, 1000, 2000, AVAILABLE)
    found = [rows(count) for count in counts]
    assert [sum(map(len, each)) for each in found] == list(counts)
    for fewer, more in pairwise(found):
        assert all(a <= b for a, b in zip(fewer, more, strict=True))
    assert found[-1] == [set(pool.train.tolist()) for pool in POOLS]
    assert all(found[0])  # each source keeps an image


def test_the_seed_decides_which_images() -> None:
    assert rows(500) == rows(500)
    assert rows(500) != rows(500, seed=1)


def test_held_out_images_stay_and_are_never_trained_on() -> None:
    for before, after in zip(POOLS, nested_pools(POOLS, GROUPS, 200, 0), strict=True):
        assert (before.held_out == after.held_out).all()
        assert not np.isin(after.train, after.held_out).any()
        assert (np.diff(after.train) > 0).all()


@pytest.mark.parametrize("count", [200, 1000, 2500])
def test_sources_and_classes_keep_their_shares(count: int) -> None:
    kept = nested_pools(POOLS, GROUPS, count, 0)
    shares = [BatchSampler(pools, 64, 0, temperature=2.0).shares for pools in (POOLS, kept)]
    assert shares[1] == pytest.approx(shares[0], rel=0.12)
    for before, after in zip(POOLS[:2], kept[:2], strict=True):
        classes = [
            np.bincount(pool.labels[pool.train], minlength=3) / len(pool.train) for pool in (before, after)
        ]
        one_group = PER_GROUP / len(after.train)
        assert classes[1] == pytest.approx(classes[0], abs=0.01 + one_group)


@pytest.mark.parametrize("count", [50, 300, 1111])
def test_at_most_one_patient_of_a_source_is_cut(count: int) -> None:
    pool = nested_pools(POOLS, GROUPS, count, 0)[1]
    taken = np.bincount(GROUPS[1][pool.train], minlength=GROUPS[1].max() + 1)
    whole = np.bincount(GROUPS[1][POOLS[1].train], minlength=GROUPS[1].max() + 1)
    assert ((taken > 0) & (taken < whole)).sum() <= 1


def test_multilabel_sources_are_thinned_too() -> None:
    findings = np.random.default_rng(0).random((400, 3)) < 0.2
    pool = replace(POOLS[0], kind="multilabel", labels=findings.astype(int), train=np.arange(400))
    (kept,) = nested_pools([pool], [np.full(400, -1)], 100, 0)
    assert findings[kept.train].mean(axis=0) == pytest.approx(findings.mean(axis=0), abs=0.06)


def test_the_images_of_a_source_do_not_depend_on_how_many_are_kept() -> None:
    whole = Split(np.zeros((500, 0, 0), np.uint8), np.zeros(500, np.int64))
    first, second = (draw_rows(whole, 400, seed=0, place=1) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert len(first[0]) == 400 == len(first[1]) + len(first[2])


def plan_of(images: int) -> PretrainPlan:
    return PretrainPlan("gray", (None,) * 3, (28,) * 3, "resnet18", 64, "x", images=images)  # type: ignore[arg-type]


WRONG = {
    "more than shown": (5000, 4000, "pass --pretrain-images 5000 or more, or take mednet@4000 at most"),
    "more than there are": (3600, 4000, "have 3,500 images to pretrain on: take at most that many"),
    "fewer than sources": (
        2,
        4000,
        "the 3 sources for breastmnist need an image each: take 3 images",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_number_that_cannot_be_had_is_refused_with_the_cure(what: str) -> None:
    images, draws, cure = WRONG[what]
    with pytest.raises(UserError) as refusal:
        check_nested_images(f"mednet@{images}", "breastmnist", plan_of(images), draws, [3000, 400, 100])
    assert cure in str(refusal.value) and f"mednet@{images}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_number_that_can_be_had_is_accepted() -> None:
    for images in (0, 3, 3500):
        check_nested_images("mednet@x", "breastmnist", plan_of(images), 4000, [3000, 400, 100])
    check_nested_images(
        "mednet@3600", "breastmnist", plan_of(3600), 4000, [3000]
    )  # one source is unknown yet
