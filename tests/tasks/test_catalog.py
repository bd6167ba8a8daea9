"""Selection by `--tasks`, and the messages for missing data."""

import shutil

import pytest

from mednet_bench.core.errors import UserError
from mednet_bench.tasks.catalog import (
    TASK_GROUPS,
    catalog,
    fetch_tasks,
    is_available,
    require_tasks,
    select_tasks,
)
from mednet_bench.tasks.data_paths import data_locations, download_folder
from mednet_bench.tasks.task import GROUP_NAMES, TASKS, DataLocations

PHANTOMS = ["phantom-findings", "phantom-fundus", "phantom-nodule", "phantom-organ", "phantom-tissue"]
ORGANS = ["organamnist", "organcmnist", "organsmnist"]


@pytest.fixture
def nowhere(tmp_path) -> DataLocations:
    return DataLocations(medmnist_cache=tmp_path / "cache", download=False)


def chosen(expression: str, places: DataLocations, size: int = 28) -> list[str]:
    return [task.name for task in select_tasks(expression, catalog(places), places, size)]


def test_names_globs_and_groups_choose(nowhere):
    assert chosen("breastmnist", nowhere) == ["breastmnist"]
    assert chosen(" BloodMNIST , organ?mnist,", nowhere) == ["bloodmnist", *ORGANS]
    assert chosen("organ*,organamnist,ORGANCMNIST", nowhere) == ORGANS
    assert sorted(chosen("phantom", nowhere)) == PHANTOMS
    assert len(chosen("medmnist", nowhere)) == 12


def test_the_groups_of_real_tasks_hold_no_phantom(nowhere, write_set):
    root = write_set().parent
    places = DataLocations((root,), nowhere.medmnist_cache)
    everything = chosen("all", places)
    assert "cells" in everything and len(everything) == 13
    gray, color = chosen("gray", places), chosen("color", places)
    assert sorted(gray + color) == sorted(everything) and "cells" in gray and "retinamnist" in color


def test_available_is_what_can_be_loaded_now(nowhere, write_set, real, tmp_path):
    root = write_set().parent
    assert chosen("available", DataLocations((root,), nowhere.medmnist_cache)) == ["cells"]
    assert chosen("available", real) == ["breastmnist", "pneumoniamnist", "retinamnist", "bccd-cells"]
    assert chosen("available", real, size=64) == ["bccd-cells"]  # a local set has one size, which serves all
    shutil.copy(real.roots[0] / "medmnist" / "breastmnist.npz", root / "breastmnist_128.npz")
    assert is_available(TASKS["breastmnist"], 128, DataLocations((root,)))
    with pytest.raises(
        UserError, match=r"'available' chooses no task at size 28.*'phantom', which needs no data"
    ):
        chosen("available", nowhere)


def test_a_folder_in_place_of_a_task_is_answered_with_its_card(nowhere, write_set, monkeypatch):
    root = write_set().parent
    monkeypatch.chdir(root.parent)
    with pytest.raises(UserError, match=rf"name your own by its card, {root.name}/cells\.toml"):
        chosen(root.name, nowhere)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("breastmist", "no task 'breastmist'; did you mean 'breastmnist'?"),
        ("grey", "did you mean 'gray'?"),
        ("breastmnist,xyz", "There is no task 'xyz'"),
        ("xyz*", "No task matches 'xyz*'; known: bloodmnist"),
        (" , ", "chooses no task"),
    ],
)
def test_a_wrong_expression_says_what_it_could_be(nowhere, expression, words):
    with pytest.raises(UserError) as caught:
        chosen(expression, nowhere)
    assert words in str(caught.value)


def test_a_source_is_no_target(write_set, card_text):
    places = DataLocations((write_set(card_text + '\nrole = "source"').parent,))
    assert catalog(places)["cells"].role == "source"
    assert "cells" not in chosen("all", places)
    with pytest.raises(UserError, match="'cells' only serves for pretraining"):
        chosen("cells", places)


def test_two_things_of_one_name_are_refused(write_set, card_text, tmp_path_factory):
    card = write_set()
    other = tmp_path_factory.mktemp("other") / "again.toml"
    other.write_text(card_text)
    places = DataLocations((card.parent,))
    assert "cells" in catalog(places, [card])  # the same card twice is one card
    with pytest.raises(UserError) as caught:
        catalog(places, [other])
    assert str(card) in str(caught.value) and str(other) in str(caught.value)
    other.write_text(card_text.replace('name = "cells"', 'name = "breastmnist"'))
    with pytest.raises(
        UserError, match=r"'breastmnist' is named by .*again\.toml and by mednet-bench itself"
    ):
        catalog(DataLocations(), [other])
    other.write_text(card_text.replace('name = "cells"', 'name = "available"'))
    with pytest.raises(UserError, match="name of a group"):
        catalog(DataLocations(), [other])


def test_a_task_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"Cannot read .*no.toml \(No such file"):
        catalog(DataLocations(), [tmp_path / "no.toml"])


def test_what_is_missing_is_one_sentence_with_every_cure(nowhere, write_set, real, tmp_path):
    tasks = [TASKS["bloodmnist"], TASKS["pathmnist"], TASKS["phantom-organ"]]
    with pytest.raises(UserError) as caught:
        require_tasks(tasks, 224, nowhere)
    assert str(caught.value) == (
        "Missing: bloodmnist_224.npz (at most 2.6 GB), pathmnist_224.npz (at most 16.1 GB) "
        "(from https://zenodo.org/records/10519652); put them into a folder that --data-root or "
        "MEDNET_BENCH_DATA names; generated images need no data and run with `--tasks phantom`."
    )
    with pytest.raises(UserError) as caught:
        require_tasks([TASKS["bloodmnist"]], 28, real)
    assert f"put it into {real.roots[0]}" in str(caught.value)
    assert "run" in str(caught.value) and "`--tasks available` (breastmnist, pneumonia" in str(caught.value)
    require_tasks([TASKS["breastmnist"], TASKS["phantom-organ"]], 28, real)
    card = write_set()
    (card.parent / "cells.npz").unlink()
    with pytest.raises(UserError, match=f"Missing: {card.parent}/cells.npz, where a card expects the data"):
        require_tasks([catalog(DataLocations((card.parent,)))["cells"]], 28, nowhere)


def test_a_size_that_does_not_exist_lists_those_that_do(nowhere, write_set):
    for act in (require_tasks, fetch_tasks):
        with pytest.raises(
            UserError, match="breastmnist has no images of size 48: choose one of 28, 64, 128"
        ):
            act([TASKS["breastmnist"]], 48, DataLocations(medmnist_cache=nowhere.medmnist_cache))
    require_tasks([catalog(DataLocations((write_set().parent,)))["cells"]], 48, nowhere)


def test_nothing_is_fetched_where_it_is_not_allowed(nowhere):
    fetch_tasks([TASKS["bloodmnist"]], 28, nowhere)
    assert not nowhere.medmnist_cache.exists()


def test_every_group_is_a_word_of_the_command_line():
    assert set(TASK_GROUPS) == {"all", "available", "medmnist", "phantom", "gray", "color"}
    assert not set(TASK_GROUPS) & set(TASKS)


def test_places_come_from_the_command_line_and_the_environment(tmp_path, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    monkeypatch.setenv("MEDNET_BENCH_DATA", str(second))
    monkeypatch.setenv("MEDNET_BENCH_MIRROR", "http://mirror.example/files")
    places = data_locations(first)
    assert places.roots == (first, second) and places.mirror == "http://mirror.example/files"
    assert data_locations(second, download=False) == DataLocations(
        (second,), mirror=places.mirror, download=False
    )
    assert download_folder(places) == first
    with pytest.raises(UserError, match=r"c \(--data-root\) does not exist"):
        data_locations(tmp_path / "c")
    monkeypatch.setenv("MEDNET_BENCH_DATA", str(tmp_path / "c"))
    with pytest.raises(UserError, match=r"c \(MEDNET_BENCH_DATA\) does not exist"):
        data_locations()
    monkeypatch.setenv("MEDNET_BENCH_DATA", "")
    monkeypatch.setenv("MEDNET_BENCH_MIRROR", "file:///etc")
    with pytest.raises(UserError, match="must start with http"):
        data_locations()


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ("http://[", "correct host and port"),
        ("http://[::1/files", "correct host and port"),
        ("http://mirror.example:99999/files", "correct host and port"),
        ("https://mirror.example:eighty", "correct host and port"),
        ("http://mirror.example:0", "correct host and port"),
        ("http:///files", "correct host and port"),
        ("https://me:secret@mirror.example/files", "leave it out, or download the files by hand"),
        ("https://secret@mirror.example", "leave it out, or download the files by hand"),
        ("https://me:secret@mirror.example:99999", "correct host and port"),
        ("ftp://me:secret@mirror.example", "must start with http:// or https://"),
        ("https://mirror.example/files?key=1", "without \\? and #"),
    ],
)
def test_a_mirror_that_cannot_be_used_is_one_sentence(mirror: str, words: str, monkeypatch):
    monkeypatch.setenv("MEDNET_BENCH_MIRROR", mirror)
    with pytest.raises(UserError, match=words) as caught:
        data_locations()
    assert "MEDNET_BENCH_MIRROR" in str(caught.value) and "secret" not in str(caught.value)


def test_no_task_may_be_called_as_a_group() -> None:
    assert set(TASK_GROUPS) == set(GROUP_NAMES)
