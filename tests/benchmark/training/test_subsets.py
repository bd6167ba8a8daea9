"""Which labels a cell may see: nested, stratified, whole groups, the same in every process.

Paired comparisons need this: if two inits saw different labels, or 5 % were no part of 10 %, a learning
curve would compare luck with luck.
"""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from label_sets import FRACTIONS, SETS, imbalanced, labeled

from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.run.planner import build_plan
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.benchmark.training.subsets import (
    LEAST_PER_CLASS,
    LabelSubset,
    choose_subset,
    write_manifest,
)
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.task import DataLocations, Split


@pytest.mark.parametrize("name", SETS)
def test_a_smaller_share_lies_inside_every_larger_one(name: str) -> None:
    for seed in range(10):
        chosen = [choose_subset(*SETS[name], fraction, seed) for fraction in FRACTIONS]
        for small, large in itertools.pairwise(chosen):
            assert set(small.train) <= set(large.train)
            assert set(small.val) <= set(large.val)


@pytest.mark.parametrize("name", SETS)
def test_the_whole_share_is_everything(name: str) -> None:
    train, val = SETS[name]
    everything = choose_subset(train, val, 1.0, seed=5)
    assert np.array_equal(everything.train, np.arange(len(train)))
    assert np.array_equal(everything.val, np.arange(len(val)))


def test_every_class_keeps_its_share() -> None:
    # By random draws alone, 175 of 700 images would miss a class of 50 % by six images on average.
    train = labeled(imbalanced(700))
    off = []
    for seed in range(50):
        for fraction in FRACTIONS:
            taken = np.bincount(train.labels[choose_subset(train, train, fraction, seed).train], minlength=5)
            share = fraction * np.bincount(train.labels, minlength=5)
            off.append(np.where(taken > LEAST_PER_CLASS, taken - share, 0))
    # Each class is within one image of its share, give or take the rounding of the other classes.
    assert np.abs(off).max() < 2
    assert np.abs(off).mean() < 0.5


def test_the_number_of_labels_is_the_share_that_was_asked_for() -> None:
    train, val = SETS["single label"]
    for fraction in (0.1, 0.25, 0.5):
        subset = choose_subset(train, val, fraction, seed=0)
        rare = LEAST_PER_CLASS * 5  # what keeps the rarest classes alive may come on top
        assert len(train) * fraction <= len(subset.train) <= len(train) * fraction + rare
        assert len(val) * fraction <= len(subset.val) <= len(val) * fraction + rare


@pytest.mark.parametrize("name", ["groups", "multilabel groups"])
def test_a_patient_is_never_torn(name: str) -> None:
    for split in SETS[name]:
        for seed in range(5):
            for fraction in FRACTIONS:
                inside = np.isin(np.arange(len(split)), choose_subset(split, split, fraction, seed).train)
                assert split.groups is not None
                assert not set(split.groups[inside]) & set(split.groups[~inside])


def test_whole_patients_still_add_up_to_the_share_of_images() -> None:
    # A tenth of the patients may be a fifth of the images: what counts is labels, not patients.
    train, val = SETS["groups"]
    for seed in range(10):
        for fraction in (0.1, 0.25, 0.5):
            share = len(choose_subset(train, val, fraction, seed).train) / len(train)
            assert fraction <= share <= fraction + 0.03


@pytest.mark.parametrize("name", ["single label", "groups"])
def test_every_class_has_two_images_where_the_set_has_them(name: str) -> None:
    for seed in range(10):
        subset = choose_subset(*SETS[name], 0.001, seed)
        for split, index in zip(SETS[name], (subset.train, subset.val), strict=True):
            assert np.bincount(split.labels[index], minlength=5).min() >= LEAST_PER_CLASS


@pytest.mark.parametrize("name", ["multilabel", "multilabel groups"])
def test_every_finding_has_two_images_with_it_and_two_without(name: str) -> None:
    for seed in range(10):
        subset = choose_subset(*SETS[name], 0.001, seed)
        for split, index in zip(SETS[name], (subset.train, subset.val), strict=True):
            positives = split.labels[index].sum(axis=0)
            assert positives.min() >= LEAST_PER_CLASS
            assert (len(index) - positives).min() >= LEAST_PER_CLASS


def test_a_finding_that_almost_all_have_keeps_two_images_without_it() -> None:
    labels = np.ones((300, 2), np.int64)
    labels[:3, 1] = 0
    kept = labels[choose_subset(labeled(labels), labeled(labels), 0.02, seed=0).train]
    assert (kept[:, 1] == 0).sum() >= LEAST_PER_CLASS


def test_a_class_with_one_image_keeps_it_at_every_share() -> None:
    labels = np.array([0] * 99 + [1])
    assert 99 in choose_subset(labeled(labels), labeled(labels), 0.01, seed=0).train


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("fraction", [0.001, 0.5, 1.0])
def test_tiny_sets_give_what_they_have(n: int, fraction: float) -> None:
    for labels in (np.arange(n) % 2, np.zeros(n, int), np.zeros((n, 2), int), np.ones((n, 2), int)):
        subset = choose_subset(labeled(labels), labeled(labels[:1]), fraction, seed=0)
        assert 1 <= len(subset.train) <= n
        assert np.array_equal(subset.val, [0])
        assert len(subset.train) == n or fraction < 1


def test_an_empty_validation_split_stays_empty() -> None:
    subset = choose_subset(labeled([0, 1, 0, 1]), labeled([]), 0.5, seed=0)
    assert len(subset.val) == 0 and len(subset.train) == 4  # two of each class


def test_another_seed_draws_other_images_and_train_and_validation_draw_apart() -> None:
    train = labeled(imbalanced(700))
    first, second = (choose_subset(train, train, 0.1, seed) for seed in (0, 1))
    assert set(first.train) != set(second.train)
    assert set(first.train) != set(first.val)  # one stream for both would repeat the choice
    assert first.digest != second.digest


def test_the_hash_is_of_the_content_of_both_splits() -> None:
    train, val = labeled([0, 1] * 30), labeled([0, 1] * 20)
    seen = {
        choose_subset(train, val, 0.5, 0).digest,
        choose_subset(train, val, 0.6, 0).digest,
        choose_subset(train, labeled([0, 1] * 21), 0.5, 0).digest,
        choose_subset(labeled([0, 1] * 31), val, 0.5, 0).digest,
        choose_subset(val, train, 0.5, 0).digest,
    }
    assert len(seen) == 5
    assert choose_subset(train, val, 0.5, 0).digest in seen
    # an image that moves from the end of train to the start of validation is another subset
    ones, twos = labeled([0]), labeled([0, 0])
    assert choose_subset(ones, twos, 1.0, 0).digest != choose_subset(twos, ones, 1.0, 0).digest


PROCESS = """
import sys; sys.path.insert(0, sys.argv[1])
from label_sets import FRACTIONS, SETS
from mednet_bench.benchmark.training.subsets import choose_subset
print([choose_subset(*SETS[name], fraction, 3).digest for name in SETS for fraction in FRACTIONS])
"""


def test_another_process_draws_the_same() -> None:
    # Sets and dictionaries have another order in every process: a subset must not depend on that.
    content = subprocess.run(
        [sys.executable, "-c", PROCESS, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    ).stdout.strip()
    assert content == str(
        [choose_subset(*SETS[name], fraction, 3).digest for name in SETS for fraction in FRACTIONS]
    )


def test_every_init_is_given_the_same_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    inits = f"scratch,mednet={toys.write_card(tmp_path)}"
    request = toys.run_config(tmp_path / "run", inits=inits, protocols="knn", fractions="0.2", seeds="4")
    task = toys.task_of(toys.Toy())
    grid = build_plan(request, [task], [task], toys.NOWHERE)
    scratch, mednet = (CellRunner(grid, "cpu").compute(planned)[0] for planned in grid.plan.cells)
    assert {scratch.cell.init, mednet.cell.init} == {"scratch", "mednet"}
    assert scratch.hashes.weights != mednet.hashes.weights
    assert (scratch.hashes.subset, scratch.counts) == (mednet.hashes.subset, mednet.counts)
    assert scratch.counts is not None and scratch.counts.train == 12  # a fifth of 60, four of each class


def test_the_manifest_says_what_was_seen_and_is_written_once(tmp_path: Path) -> None:
    subset = choose_subset(*SETS["single label"], 0.1, seed=2)
    write_manifest(tmp_path, "task-0.1-seed2", subset)
    path = tmp_path / "subsets" / "task-0.1-seed2.json"
    content = json.loads(path.read_text())
    assert content["n_train"] == len(content["train"]) == len(subset.train)
    # the file suffices to check the hash in the records
    digest = hashlib.sha256()
    for split in ("train", "val"):
        digest.update(len(content[split]).to_bytes(8, "little") + np.array(content[split], "<i8").tobytes())
    assert content["hash"] == subset.digest == f"sha256:{digest.hexdigest()}"
    before = path.stat().st_mtime_ns
    write_manifest(tmp_path, "task-0.1-seed2", LabelSubset(subset.val, subset.train, "sha256:other"))
    assert path.stat().st_mtime_ns == before


def test_the_smears_of_bccd_stay_whole_and_their_share_is_honest(data_root: Path) -> None:
    places = DataLocations(roots=(data_root,), download=False)
    splits = catalog(places)["bccd-cells"].source.load(28, places)
    train, val = splits["train"], splits["val"]
    assert train.groups is not None
    for seed in range(5):
        chosen = {fraction: choose_subset(train, val, fraction, seed) for fraction in FRACTIONS}
        for fraction, subset in chosen.items():
            inside = np.isin(np.arange(len(train)), subset.train)
            assert not set(train.groups[inside]) & set(train.groups[~inside])
            # 87 smears of validation hold 1137 cells: one per cent is less than the smallest that has
            # two platelets and two white cells, so that a little more is taken, and the record says so
            least = 0.03 if fraction < 0.05 else 0.0
            assert fraction - 0.001 <= inside.mean() <= fraction + 0.01
            assert fraction - 0.001 <= len(subset.val) / len(val) <= fraction + 0.02 + least
        rare = np.bincount(train.labels[chosen[0.1].train], minlength=3) / np.bincount(train.labels)
        assert rare == pytest.approx([0.1] * 3, abs=0.04)  # platelets are not left to chance


@st.composite
def sets(draw: st.DrawFn) -> Split:
    """Any set of up to 40 images, with rare classes, groups of any size or several findings."""
    n = draw(st.integers(1, 40))
    values = st.integers(0, 3)
    if draw(st.booleans()):
        rows = st.lists(st.integers(0, 1), min_size=2, max_size=2)
        labels = np.array(draw(st.lists(rows, min_size=n, max_size=n)))
    else:
        labels = np.array(draw(st.lists(values, min_size=n, max_size=n)))
    grouped = draw(st.booleans())
    groups = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)) if grouped else None
    return labeled(labels, None if groups is None else np.array(groups))


@settings(max_examples=150, deadline=None)
@given(sets(), st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 99))
def test_of_any_set_subsets_nest_keep_groups_and_hold_two_of_each_class(
    split: Split, one: float, two: float, seed: int
) -> None:
    small, large = (choose_subset(split, split, fraction, seed).train for fraction in sorted((one, two)))
    assert set(small) <= set(large)
    assert np.array_equal(small, np.unique(small)) and small.min() >= 0 and small.max() < len(split)
    assert len(small) >= round(min(one, two) * len(split))
    outside = np.setdiff1d(np.arange(len(split)), small)
    if split.groups is not None:
        assert not set(split.groups[small]) & set(split.groups[outside])
    member = split.labels if split.labels.ndim == 2 else np.eye(4, dtype=int)[split.labels]
    sides = (member, 1 - member) if split.labels.ndim == 2 else (member,)
    for side in sides:
        assert (side[small].sum(axis=0) >= np.minimum(side.sum(axis=0), LEAST_PER_CLASS)).all()


@settings(max_examples=100, deadline=None)
@given(sets(), st.floats(0.001, 1), st.integers(0, 99))
def test_a_resample_repeats_whole_groups_and_has_the_size_of_its_fraction(
    split: Split, fraction: float, seed: int
) -> None:
    chosen = choose_subset(split, split, fraction, seed, resampled=True).train
    times = np.bincount(chosen, minlength=len(split))
    assert np.array_equal(chosen, np.sort(chosen)) and len(times) == len(split)
    groups = np.arange(len(split)) if split.groups is None else split.groups
    for group in np.unique(groups):
        assert len(set(times[groups == group])) == 1
    assert len(chosen) >= round(fraction * len(split))
    member = split.labels if split.labels.ndim == 2 else np.eye(4, dtype=int)[split.labels]
    sides = (member, 1 - member) if split.labels.ndim == 2 else (member,)
    for side in sides:
        assert (side[chosen].sum(axis=0) >= np.minimum(side.sum(axis=0), LEAST_PER_CLASS)).all()


@pytest.mark.parametrize("name", SETS)
def test_resamples_are_stratified_bootstrap_samples_of_both_splits(name: str) -> None:
    train, val = SETS[name]
    subsets = [choose_subset(train, val, 1.0, seed, resampled=True) for seed in range(5)]
    assert len({subset.digest for subset in (*subsets, choose_subset(train, val, 1.0, 0))}) == 6
    for subset in subsets:
        for split, chosen in ((train, subset.train), (val, subset.val)):
            assert len(chosen) == pytest.approx(len(split), abs=12)  # a last group, and the rarest class
            units = np.arange(len(split)) if split.groups is None else split.groups
            # of units drawn with replacement, 1 - 1/e differ
            share = len(np.unique(units[chosen])) / len(np.unique(units))
            assert share == pytest.approx(0.632, abs=0.08)
    if name == "single label":
        shares = np.bincount(train.labels[subsets[0].train]) / np.bincount(train.labels)
        assert shares == pytest.approx([1] * 5, abs=0.1)


def test_every_init_of_a_seed_has_the_same_resample_under_a_key_of_its_own(tmp_path: Path) -> None:
    places = DataLocations(roots=(), download=False)
    known = catalog(places)
    task, options = known["phantom-organ"], {"inits": "scratch,imagenet", "protocols": "knn", "seeds": "0,1"}
    request = RunConfig(**options, input_size=32, fractions="0.5", out=str(tmp_path))  # type: ignore[arg-type]
    usual = build_plan(request, [task], list(known.values()), places)
    again = build_plan(request.with_options({"resample": True}), [task], list(known.values()), places)
    assert not {p.key for p in usual.plan.cells} & {p.key for p in again.plan.cells}
    assert {p.cell.protocol_label for p in again.plan.cells} == {"knn (resampled)"}
    assert b"resampled" not in msgspec.json.encode(usual.plan.cells)  # the keys of other cells stay
    runner = CellRunner(again, "cpu")
    found = {(p.cell.init, p.cell.seed): runner._eval_context(p.cell).subset for p in again.plan.cells}
    for seed in (0, 1):
        assert found["scratch", seed].digest == found["imagenet", seed].digest
        train = found["scratch", seed].train
        assert len(np.unique(train)) < len(train)
    assert found["scratch", 0].digest != found["scratch", 1].digest


def test_the_test_split_is_never_cut(tmp_path: Path) -> None:
    bench = toys.Bench(toys.task_of(toys.Toy()), tmp_path)
    job = bench.job("linear", fraction=0.1)
    assert [len(job.labels(split)) for split in ("train", "val", "test")] == [6, 6, 45]
