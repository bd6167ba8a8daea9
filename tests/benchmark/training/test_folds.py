"""Folds hold whole patients and every class in proportion, and follow from the seed alone."""

import numpy as np
import pytest
import toys

from mednet_bench.benchmark.schema.plan import Fold
from mednet_bench.benchmark.training.folds import (
    FoldRows,
    check_folds,
    choose_fold_subset,
    fold_rows,
    pool_splits,
)
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.task import Split


def patients(kind: str, count: int = 60, seed: int = 0) -> Split:
    """Patients of 1 to 6 images; single labels are 80, 15 and 5 %, findings 40, 20 and 10 %."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, count)
    labels = rng.permutation(np.repeat([0, 1, 2], np.round(count * np.array([0.8, 0.15, 0.05])).astype(int)))
    if kind == "multilabel":
        labels = (rng.random((count, 3)) < [0.4, 0.2, 0.1]).astype(int)
    groups = np.repeat(rng.permutation(count) * 7 - 100, sizes)
    order = rng.permutation(len(groups))  # the images of a patient are apart
    return Split(
        np.empty((len(groups), 0, 0), np.uint8), np.repeat(labels, sizes, axis=0)[order], groups[order]
    )


def all_folds(pool: Split, folds: int, seed: int, val_share: float = 0.25) -> list[FoldRows]:
    return [fold_rows(pool, Fold(index=index, folds=folds), seed, val_share) for index in range(folds)]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "no groups"])
def test_every_image_is_tested_once_and_no_patient_is_in_two_parts(kind: str) -> None:
    pool = patients(kind)
    pool = pool if kind != "no groups" else Split(pool.images, pool.labels)
    folds = all_folds(pool, 5, seed=3)
    assert np.array_equal(np.sort(np.concatenate([rows.test for rows in folds])), np.arange(len(pool)))
    for rows in folds:
        parts = (rows.train, rows.val, rows.test)
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(pool)))
        assert all((np.diff(part) > 0).all() for part in parts)
        if pool.groups is not None:
            held = [set(pool.groups[part].tolist()) for part in parts]
            assert sum(map(len, held)) == len(set.union(*held))
        assert len(rows.test) == pytest.approx(len(pool) / 5, abs=6)  # the images of one patient
        assert len(rows.val) == pytest.approx(len(pool) / 5, abs=6)  # a quarter of four fifths


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_folds_are_stratified(kind: str) -> None:
    """By chance alone the rarest class, of 3 patients, would be missing in one of 3 folds in 7 of 9 seeds."""
    pool = patients(kind)
    member = pool.labels if pool.labels.ndim == 2 else np.eye(3, dtype=int)[pool.labels]
    for seed in range(9):
        for rows in all_folds(pool, 3, seed):
            assert member[rows.test].sum(axis=0) == pytest.approx(member.sum(axis=0) / 3, abs=6)
            assert (member[rows.train].sum(axis=0) > 0).all()


def test_a_seed_draws_one_partition_and_another_seed_another() -> None:
    """Patients that all have different numbers of images are the hard case: their order is no tie."""
    sizes = np.arange(3, 33)
    groups = np.repeat(np.arange(30), sizes)
    pool = Split(np.empty((len(groups), 0, 0), np.uint8), groups % 2, groups)
    drawn = [[rows.test.tolist() for rows in all_folds(pool, 5, seed)] for seed in (*range(6), *range(6))]
    assert drawn[:6] == drawn[6:]
    assert len({frozenset(map(tuple, partition)) for partition in drawn}) == 6
    first, second = (fold_rows(pool, Fold(index=0, folds=5), 0, share) for share in (0.25, 0.5))
    assert np.array_equal(first.test, second.test) and len(first.val) < len(second.val)


def test_subsets_of_a_fold_are_nested_rows_of_its_train_and_val() -> None:
    pool = patients("multiclass")
    rows = fold_rows(pool, Fold(index=1, folds=4), 2, 0.25)
    small, large = (choose_fold_subset(pool, rows, fraction, 2) for fraction in (0.3, 1.0))
    assert np.array_equal(large.train, rows.train) and np.array_equal(large.val, rows.val)
    assert set(small.train) < set(large.train) and set(small.val) < set(large.val)
    other = FoldRows(rows.train, rows.val, rows.test[1:])
    assert choose_fold_subset(pool, other, 1.0, 2).digest != large.digest


def test_the_pool_is_train_val_and_test_in_this_order() -> None:
    splits = toys.splits_of(toys.Toy())
    pool = pool_splits({name: splits[name] for name in ("test", "val", "train")})
    expected = np.concatenate([splits[name].labels for name in ("train", "val", "test")])
    assert np.array_equal(pool.labels, expected) and len(pool) == 135 and pool.groups is None


@pytest.mark.parametrize(
    ("labels", "groups", "folds", "sentence"),
    [
        ([0, 1, 0, 1, 0, 1], [1, 1, 2, 2, 3, 3], 5, "5 patients, and there are 3"),
        ([0, 1, 0, 1, 0, 0], [1, 1, 2, 2, 3, 4], 5, "there are 4 .*: pass at most --folds 2,"),
        ([0, 1, 0, 1, 0, 0], [1, 1, 2, 2, 3, 4], 3, "those of the class 'ill' are of 2"),
        ([[0, 1], [1, 1], [0, 1], [0, 0]], [1, 2, 3, 4], 2, "those with 'healthy' are of 1"),
        ([[1, 1], [1, 0], [1, 1], [0, 0]], [1, 2, 3, 4], 2, "those without 'healthy' are of 1"),
        ([0, 1, 0, 1], [1, 1, 2, 2], 2, "has no validation image"),
    ],
)
def test_too_few_patients_are_one_sentence(
    labels: list[int], groups: list[int], folds: int, sentence: str
) -> None:
    pool = Split(np.empty((len(groups), 0, 0), np.uint8), np.array(labels), np.array(groups))
    with pytest.raises(UserError, match=sentence) as error:
        check_folds("ward", ("healthy", "ill"), pool, folds, (0,), 0.25)
    assert "\n" not in str(error.value) and "folds" in str(error.value)


def test_a_fold_with_one_patient_of_a_class_is_named() -> None:
    """Of one patient the error of a score is unknown, so that the report gives no verdict."""
    pool = patients("multiclass")  # the rarest class has 3 patients
    said = check_folds("ward", ("a", "b", "c"), pool, 3, range(5), 0.25)
    assert said.startswith("ward: with --folds 3, fold 1 of seed 0 tests on one patient of the class 'c'")
    common = pool.at(np.flatnonzero(pool.labels < 2))
    assert check_folds("ward", ("a", "b"), common, 3, range(5), 0.25) == ""
