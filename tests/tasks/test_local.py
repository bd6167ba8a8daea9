"""A card makes a task; an error in it names the card and the key."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from mednet_bench.core.errors import UserError
from mednet_bench.tasks import hashes
from mednet_bench.tasks.local_cards import find_cards, local_task
from mednet_bench.tasks.task import DataLocations


def refusal(card: Path) -> str:
    with pytest.raises(UserError) as caught:
        local_task(card)
    assert str(card) in str(caught.value)
    return str(caught.value)


def test_a_card_becomes_a_task(write_set):
    task = local_task(write_set())
    assert (task.name, task.role, task.pretrain_splits, task.family) == ("cells", "task", ("train",), "local")
    assert task.origin == {"cells"} and task.sizes == () and not task.generated
    assert task.source.sizes(DataLocations()) == (8,)
    assert {name: len(split) for name, split in task.source.load(999, DataLocations()).items()} == {
        "train": 12,
        "val": 6,
        "test": 6,
    }


def test_the_file_is_looked_for_beside_the_card(write_set, monkeypatch, tmp_path_factory):
    card = write_set()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    task = local_task(card)
    assert not task.source.missing(28, DataLocations())
    (card.parent / "cells.npz").unlink()
    (lost,) = task.source.missing(28, DataLocations())
    assert lost.place == card.parent / "cells.npz" and task.source.sizes(DataLocations()) == ()


def test_the_example_cards_load(real):
    tasks = {task.name: task for task in map(local_task, find_cards(real.roots[0]))}
    assert set(tasks) >= {"bccd-cells", "mednist-sample", "pathmnist-subset"}
    assert list(tasks["pathmnist-subset"].source.load(28, real)) == ["test"]
    cells = tasks["bccd-cells"].source.load(28, real)
    groups = [set(np.unique(split.groups)) for split in cells.values()]
    assert groups[0].isdisjoint(groups[1]) and groups[0].isdisjoint(groups[2])
    assert tasks["mednist-sample"].origin == {"mednist", "nih-chestxray14", "mednist-sample"}


@pytest.mark.parametrize(
    ("line", "other", "words"),
    [
        ("license =", "licens =", "There is no key 'licens'; did you mean 'license'?"),
        ('license = "CC0-1.0"', "", "lacks the key 'license'"),
        ('classes = ["a", "b", "c"]', 'classes = "abc"', "key 'classes': Expected `array`, got `str`"),
        ('classes = ["a", "b", "c"]', "classes = [1, 2]", "key 'classes': Expected `str`, got `int`"),
        ('classes = ["a", "b", "c"]', 'classes = ["a", "a"]', "key 'classes': name two classes at least"),
        ('kind = "multiclass"', 'kind = "binary"', "key 'classes': a binary task has two, not 3"),
        (
            'kind = "multiclass"',
            'kind = "multi-class"',
            "it is one of binary, multiclass, multilabel, ordinal",
        ),
        ('variant = "gray"', 'variant = "grey"', "key 'variant': it is one of gray, color, not 'grey'"),
        ('name = "cells"', 'name = "My cells"', "key 'name': use lower-case letters"),
        ('source_group = "cells"', 'source_group = ""', "key 'source_group': it must not be empty"),
        ('path = "cells.npz"', 'path = "cells.csv"', "key 'path': it must name an .npz file"),
        (
            "parents = []",
            'parents = []\nrole = "source"\npretrain_splits = []',
            "a source that only pretrains",
        ),
        ("parents = []", 'parents = []\npretrain_splits = ["dev"]', "it is one of train, val, test"),
        ("parents = []", "parents = [", "is not valid TOML"),
    ],
)
def test_a_wrong_card_names_itself_and_the_key(write_set, card_text, line, other, words):
    assert words in refusal(write_set(card_text.replace(line, other)))


def test_a_source_may_lack_what_it_does_not_use(write_set, card_text, arrays):
    only_test = {name: array for name, array in arrays.items() if name.startswith("test")}
    source = card_text + '\nrole = "source"\npretrain_splits = ["test"]'
    assert list(local_task(write_set(source, only_test)).source.load(8, DataLocations())) == ["test"]
    with pytest.raises(UserError, match="no array train_images"):
        local_task(write_set(card_text + '\nrole = "source"', only_test)).source.load(8, DataLocations())


def test_foreign_toml_files_are_not_cards(write_set, card_text, tmp_path):
    write_set()
    (tmp_path / "run.toml").write_text('tasks = "all"\nseeds = "0..4"')
    (tmp_path / "other.toml").write_text('path = "weights.npz"\nepochs = 3')
    (tmp_path / "broken.toml").write_text("this is = = not toml")
    (tmp_path / "almost.toml").write_text(card_text.replace('kind = "multiclass"\n', ""))
    (tmp_path / "typo.toml").write_text(card_text.replace("parents = []", "parents = ["))
    assert [path.name for path in find_cards(tmp_path)] == ["almost.toml", "cells.toml", "typo.toml"]
    assert "lacks the key 'kind'" in refusal(tmp_path / "almost.toml")


def test_the_fingerprint_follows_the_content_and_is_remembered(write_set, arrays, monkeypatch):
    card = write_set()
    source, file = local_task(card).source, card.parent / "cells.npz"
    before = source.fingerprint(28, DataLocations())
    assert before.startswith("sha256:") and len(before) == 71
    long_ago = time.time() - 100
    os.utime(file, (long_ago, long_ago))
    monkeypatch.setattr(hashes, "_TICK", -1.0)  # the change time cannot be set back: let it count as old
    assert source.fingerprint(28, DataLocations()) == before

    def unread(path, algorithm):
        raise AssertionError("an unchanged file was read again")

    with monkeypatch.context() as patch:
        patch.setattr(hashes, "hash_file", unread)
        hashes._read_or_hash.cache_clear()  # as in a new process: only the note on disk is left
        assert source.fingerprint(28, DataLocations()) == before
    arrays["train_images"][0] ^= 1
    write_set()
    os.utime(file, (long_ago, long_ago))
    assert source.fingerprint(28, DataLocations()) != before


def test_a_cache_that_cannot_be_written_costs_only_time(write_set, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(hashes, "_TICK", -1.0)
    assert local_task(write_set()).source.fingerprint(28, DataLocations()).startswith("sha256:")
