"""Stored features keep within a limit: the least recently used go first, none that a process is using."""

import os
from pathlib import Path

import numpy as np
import pytest
import toys

from mednet_bench.benchmark.training import features as module
from mednet_bench.benchmark.training.features import features_of
from mednet_bench.core.cache_limit import CacheEntry, cache_limit, feature_entries, make_room
from mednet_bench.core.errors import UserError
from mednet_bench.core.leases import claim_lock


def entries(folder: Path, count: int, size: int = 1000) -> list[CacheEntry]:
    """Write files that were used one second after another."""
    for number in range(count):
        path = folder / "features" / f"{number}.npz"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(bytes(size))
        os.utime(path, (1000 + number, 1000 + number))
    return feature_entries(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "features").glob("*.npz"))


def test_the_least_recently_used_are_removed_until_the_limit_is_kept(tmp_path: Path) -> None:
    found = entries(tmp_path, 5)
    CacheEntry(tmp_path / "features" / "0.npz").mark_used()
    make_room(found, limit=4000, needed=1000)
    assert names(tmp_path) == ["0", "3", "4"]
    make_room(feature_entries(tmp_path), limit=3000)
    assert names(tmp_path) == ["0", "3", "4"]


def test_features_in_use_are_kept_even_above_the_limit(tmp_path: Path) -> None:
    found = entries(tmp_path, 3)
    with claim_lock(tmp_path / "features" / "0.lock"):
        make_room(found, limit=0)
    assert names(tmp_path) == ["0"]
    make_room(found, limit=0)  # two of the listed files are gone: no error
    assert names(tmp_path) == [] and not list((tmp_path / "features").iterdir())


def bench(tmp_path: Path, seed: int) -> toys.Bench:
    card = toys.loaded_card(toys.write_weights(tmp_path / f"{seed}.safetensors", seed=seed))
    return toys.Bench(toys.task_of(toys.Toy()), tmp_path / "cache", card)


def test_a_new_entry_makes_room_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (bench(tmp_path, seed).job("linear") for seed in (1, 2))
    before = features_of(first)
    size = feature_entries(first.cache)[0].size
    monkeypatch.setenv("MEDNET_BENCH_CACHE_GB", str(1.5 * size / 1e9))
    features_of(second)
    assert len(feature_entries(first.cache)) == 1
    module._load_features.cache_clear()
    again = features_of(first)
    assert all((before.splits[name] == part).all() for name, part in again.splits.items())


def test_features_that_vanish_under_a_reader_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node may remove them where locks are local to a node."""
    job = bench(tmp_path, 1).job("linear")
    before = features_of(job)
    module._load_features.cache_clear()
    load = np.load

    def remove_then_load(file: object, **settings: object) -> object:
        for entry in feature_entries(job.cache):
            entry.path.unlink()
        monkeypatch.setattr(np, "load", load)
        raise OSError("stale file handle")

    monkeypatch.setattr(np, "load", remove_then_load)
    again = features_of(job)
    assert (before.splits["test"] == again.splits["test"]).all() and len(feature_entries(job.cache)) == 1


@pytest.mark.parametrize("given", ["much", "-1", "nan"])
def test_a_wrong_limit_is_named_with_its_cure(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE_GB", given)
    with pytest.raises(UserError, match=f"MEDNET_BENCH_CACHE_GB is '{given}': set it to a number"):
        cache_limit()
