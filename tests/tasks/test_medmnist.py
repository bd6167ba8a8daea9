"""The twelve cards compared with the medmnist package, and the files with the cards."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from mednet_bench.core.errors import UserError
from mednet_bench.tasks.sources import medmnist as source_module
from mednet_bench.tasks.sources.medmnist import MedMNISTSource, read_medmnist_info
from mednet_bench.tasks.task import TASKS, DataLocations, MissingFile

KINDS = {
    "multi-class": "multiclass",
    "binary-class": "binary",
    "multi-label, binary-class": "multilabel",
    "ordinal-regression": "ordinal",
}


def medmnist_tasks():
    return {name: task for name, task in TASKS.items() if task.family == "medmnist"}


def test_every_card_says_what_the_package_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # importing it makes a folder there
    from medmnist import INFO

    flat = {name for name in INFO if "3d" not in name}
    assert set(medmnist_tasks()) == flat
    for name, task in medmnist_tasks().items():
        info = INFO[name]
        assert task.kind == KINDS[info["task"]], name
        assert list(task.classes) == [info["label"][str(i)] for i in range(len(info["label"]))], name
        assert task.variant == {1: "gray", 3: "color"}[info["n_channels"]], name
        assert task.split_sizes == tuple(info["n_samples"][split] for split in ("train", "val", "test")), name
        assert task.license == info["license"], name
        assert task.sizes == (28, 64, 128, 224)
        for size in task.sizes:
            suffix = "" if size == 28 else f"_{size}"
            (file,) = task.source.missing(size, DataLocations(medmnist_cache=tmp_path))
            assert file.url == info[f"url{suffix}"] and file.name == f"{name}{suffix}.npz"
            assert file.md5 == info[f"MD5{suffix}"]
            assert task.source.fingerprint(size, DataLocations()) == f"md5:{file.md5}"


def test_the_facts_are_read_as_the_package_gives_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    from medmnist import INFO

    assert read_medmnist_info() == INFO


def test_a_medmnist_that_is_missing_or_different_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="medmnist is not installed: pip install medmnist"):
        read_medmnist_info()
    (tmp_path / "info.py").write_text("INFO_OF_TASKS = {}\n")
    spec = ModuleSpec("medmnist", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(source_module, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"info\.py defines no INFO"):
        read_medmnist_info()


def test_sets_of_one_parent_share_a_group():
    tasks = medmnist_tasks()
    assert {tasks[f"organ{view}mnist"].source_group for view in "acs"} == {"lits"}
    assert "nih-chestxray14" in tasks["chestmnist"].origin
    assert all(task.caveats and task.citation and task.parents for task in tasks.values())


def test_organs_with_sides_are_not_mirrored():
    assert not TASKS["organamnist"].flips[0] and TASKS["breastmnist"].flips[0]


@pytest.mark.parametrize("name", ["breastmnist", "pneumoniamnist", "retinamnist"])
def test_real_files_load_as_the_card_says(real, name):
    task = TASKS[name]
    splits = task.source.load(28, real)
    assert tuple(len(splits[split]) for split in ("train", "val", "test")) == task.split_sizes
    for split in splits.values():
        assert split.images.dtype == np.uint8 and split.images.shape[1:3] == (28, 28)
        assert set(np.unique(split.labels)) == set(range(len(task.classes)))
    assert task.source.sizes(real) == (28,)


def test_the_bound_on_a_size_is_one(real):
    for name in ("breastmnist", "pneumoniamnist", "retinamnist"):
        file = real.roots[0] / "medmnist" / f"{name}.npz"
        (missing,) = TASKS[name].source.missing(28, DataLocations(medmnist_cache=Path("nowhere")))
        assert file.stat().st_size <= missing.bytes_at_most < 3 * file.stat().st_size


def test_roots_come_before_the_cache(real, tmp_path):
    good = real.roots[0] / "medmnist" / "breastmnist.npz"
    for folder in ("first", "second/medmnist", "cache"):
        (tmp_path / folder).mkdir(parents=True)
    places = DataLocations((tmp_path / "first", tmp_path / "second"), tmp_path / "cache", download=False)
    source = TASKS["breastmnist"].source
    with pytest.raises(UserError, match=r"breastmnist.npz is missing"):
        source.load(28, places)
    shutil.copy(good, tmp_path / "cache")
    assert len(source.load(28, places)["val"]) == 78
    for folder in ("second/medmnist", "first"):  # a bad file in front is named, not passed over
        (tmp_path / folder / "breastmnist.npz").write_bytes(b"bad")
        with pytest.raises(UserError, match=f"{folder}/breastmnist.npz is damaged or not the published"):
            source.load(28, places)


def test_a_truncated_file_is_one_sentence(real, tmp_path):
    content = (real.roots[0] / "medmnist" / "breastmnist.npz").read_bytes()
    (tmp_path / "breastmnist.npz").write_bytes(content[:-1000])
    with pytest.raises(UserError, match=r"^[^\n]+MD5 [0-9a-f]{32} instead of 7506[^\n]+delete it[^\n]+\.$"):
        TASKS["breastmnist"].source.load(28, DataLocations((tmp_path,), download=False))


def test_a_file_of_another_size_is_not_taken_for_this_one(real, tmp_path):
    """A right MD5 with wrong images, which only a wrong card can cause, must be refused."""
    source = TASKS["breastmnist"].source
    assert isinstance(source, MedMNISTSource)
    (tmp_path / "breastmnist_64.npz").write_bytes(
        (real.roots[0] / "medmnist" / "breastmnist.npz").read_bytes()
    )
    card = replace(source.card, md5={64: source.card.md5[28]})
    with pytest.raises(UserError, match="this is not breastmnist"):
        replace(source, card=card).load(64, DataLocations((tmp_path,), download=False))


def test_an_unknown_size_lists_the_known():
    with pytest.raises(UserError, match="has no size 48; it has 28, 64, 128, 224"):
        TASKS["breastmnist"].source.fingerprint(48, DataLocations())


def test_listing_all_tasks_imports_neither_torch_nor_medmnist(tmp_path):
    """Both take seconds, and medmnist makes a folder in the home directory."""
    code = (
        "import sys; from mednet_bench.tasks.task import TASKS; assert len(list(TASKS)) >= 17;"
        "print([name for name in ('torch', 'medmnist', 'scipy', 'pandas', 'sklearn') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert answer.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_can_be_downloaded(tmp_path):
    places = DataLocations(medmnist_cache=tmp_path)
    for task in medmnist_tasks().values():
        assert all(
            isinstance(file, MissingFile) and file.url and file.md5
            for file in task.source.missing(64, places)
        )
