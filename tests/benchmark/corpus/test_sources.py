"""Sources from cards, tables and names, and one sentence for each mistake."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from corpora import card, folder, made, npz, opened, picture, table
from PIL import Image

from mednet_bench.benchmark.corpus.source_args import open_sources, splits_of
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.task import DataLocations


def images(place: Path, count: int) -> list[str]:
    """Write images; returns their names."""
    place.mkdir(exist_ok=True)
    for number in range(count):
        Image.fromarray(picture(number)).save(place / f"{number}.png")
    return [f"{number}.png" for number in range(count)]


def test_a_table_with_several_labels_an_image(tmp_path: Path) -> None:
    names = images(tmp_path / "files", 4)
    labels = ("effusion|nodule", "", "nodule", "effusion")
    rows = [("file", "labels", "study"), *zip(names, labels, ("a", "a", "b", ""), strict=True)]
    classes = ["nodule", "effusion"]
    built = made(
        tmp_path / "out", table(tmp_path, "c", rows, labels="multilabel", classes=classes, root="files")
    )
    assert [row["label"] for row in built.rows] == [[1, 1], [0, 0], [1, 0], [0, 1]]
    groups = [row["group"] for row in built.rows]
    assert groups[0] == groups[1] != groups[2]
    assert groups[3] == -1


def test_sources_without_labels(tmp_path: Path) -> None:
    labeled = folder(tmp_path, "wards", range(6))
    (tmp_path / "scans" / "deep").mkdir(parents=True)
    for number, place in ((0, "a.png"), (20, "deep/b.png"), (21, "c.png")):  # 0 occurs in `wards` too
        Image.fromarray(picture(number)).save(tmp_path / "scans" / place)
    loose = card(tmp_path / "scans.toml", labels="none", group_pattern=r"(deep)/")
    images(tmp_path / "files", 33)
    rows = [("file", "patient"), ("31.png", "x"), ("32.png", "x")]
    listed = table(tmp_path, "list", rows, labels="none", root="files")
    built = made(tmp_path / "out", labeled, loose, listed)
    assert [(each.name, each.classes, each.images) for each in built.corpus.sources] == [
        ("wards", ("benign", "malignant"), 6), ("scans", (), 2), ("list", (), 2),
    ]  # fmt: skip
    without = [row for row in built.rows if row["source"] != "wards"]
    assert all(row["label"] == [-1] for row in without)
    assert {row["source"]: row["group"] for row in without if row["group"] != -1}.keys() == {"scans", "list"}
    assert [line["labels"] for line in built.lines("duplicates.csv")] == ["not comparable"]
    shown = CliRunner().invoke(cli, ["corpus", "info", str(tmp_path / "out")]).output
    assert "scans: no labels" in shown and "list: no labels" in shown
    with pytest.raises(UserError, match="The card of 'scans' has no labels, so leave its 'classes' out"):
        made(tmp_path / "other", card(tmp_path / "scans.toml", labels="none", classes=["a", "b"]))


def test_a_row_without_its_file_is_a_problem(tmp_path: Path) -> None:
    names = images(tmp_path, 2)
    rows = [("path", "label"), (names[0], "a"), ("gone.png", "b"), (names[1], "b")]
    built = made(tmp_path / "out", table(tmp_path, "c", rows))
    assert built.corpus.images == 2
    (line,) = built.lines("problems.csv")
    assert (line["file"], "No such file" in line["reason"]) == ("gone.png", True)


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (
            [("path", "label"), ("0.png", "cat")],
            {"classes": ["a", "b"]},
            "line 2: 'cat' is no class of 'c' (a, b)",
        ),
        ([("path", "finding"), ("0.png", "a")], {}, "no column 'label' or 'labels' or 'class'"),
        ([("path", "label"), ("0.png",)], {}, "line 2: its cells are not those of the header"),
        ([("path", "label"), ("0.png", "a")], {}, "at least two"),
        ([("path", "label")], {"group_column": "patient"}, "no column 'patient'"),
        ([("path", "label")], {"database": "nih-chestxray41"}, "did you mean 'nih-chestxray14'"),
        ([("path", "label")], {"path": "none.csv"}, "none.csv (No such file"),
        ([("path", "label")], {"licenses": "CC0"}, "no key 'licenses'; did you mean 'license'"),
        ([("path", "label")], {"variant": "grey"}, "c.toml: Invalid enum value 'grey' - at `$.variant`"),
        ([("path", "label")], {"name": "My set"}, "use up to 60 lower-case letters"),
        ([("path", "label"), ("0.png", "a"), ("1.png", "b")], {"reader": {"widow": 1}}, "'reader'"),
    ],
)
def test_a_wrong_card_or_table_is_one_sentence(
    rows: list[tuple[str, ...]], changes: dict, message: str, tmp_path: Path
) -> None:
    images(tmp_path, 2)
    if "database" in changes:
        rows = [("path", "label"), ("0.png", "a"), ("1.png", "b")]
    path = table(tmp_path, "c", rows)
    with pytest.raises(UserError) as caught:
        made(tmp_path / "out", card(path, **{"kind": "table", "path": "c.csv", **changes}))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["benign", "odd"]}, "(none is called odd; 1 called otherwise)"),
        ({"path": "nowhere"}, "does not exist"),
        ({"labels": "multilabel"}, "use a table"),
        ({"labels": "ordinal"}, "name its 'classes' in their order"),
        ({"classes": ["benign", "malignant", "benign"]}, "twice"),
        ({"group_pattern": "("}, "'group_pattern'"),
        ({"group_pattern": "PATIENT"}, "parentheses"),
    ],
)
def test_a_wrong_card_of_a_folder_is_one_sentence(changes: dict, message: str, tmp_path: Path) -> None:
    folder(tmp_path, "wards", range(2))
    with pytest.raises(UserError) as caught:
        opened(card(tmp_path / "wards.toml", **changes))
    assert message in str(caught.value)


def test_folders_of_splits_are_no_classes_to_pretrain_on(tmp_path: Path) -> None:
    path = folder(tmp_path, "wards", range(2))
    for name, split in (("benign", "Training"), ("malignant", "test")):
        (tmp_path / "wards" / name).rename(tmp_path / "wards" / split)
    with pytest.raises(UserError, match="called as splits are, and one of test is nothing to pretrain on"):
        opened(path)


def test_a_file_whose_name_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    path = folder(tmp_path, "wards", range(2))
    name = os.fsdecode(os.fsencode(tmp_path / "wards" / "benign") + b"/\xff.png")
    try:
        Path(name).write_bytes(b"")
    except OSError:
        pytest.skip("this file system knows text only")
    with pytest.raises(UserError, match="rename it, in UTF-8"):
        made(tmp_path / "out", path)


def test_images_drawn_by_a_program_are_a_source_too(tmp_path: Path) -> None:
    (source,) = open_sources(("phantom-organ",), DataLocations(), splits_of(("val",)), 28)
    (first, *_) = source.units()
    items = list(source.read(first))
    assert len(items) == 120
    assert (items[0].pixels.shape, items[0].name) == ((28, 28), "val 0")


def test_words_find_sets_and_say_what_they_do_not_find(tmp_path: Path) -> None:
    npz(tmp_path, "blood-cells", range(4))
    places = DataLocations((tmp_path,), download=False)
    for word in ("blood-cells", "blood_cells", "blood", str(tmp_path / "blood-cells.npz")):
        (source,) = open_sources((word,), places, {}, 224)
        assert source.facts.name == "blood-cells"
    for words, message in (
        (("blod-cells",), "did you mean 'blood-cells'"),
        (("blood", "blood-cells"), "Two sources are called 'blood-cells'"),
        ((str(tmp_path),), "write a source card"),
        (("folder:x",), "needs a card"),
        ((str(tmp_path / "other.npz"),), "no card other.toml"),
        (("pneumoniamnist",), "pneumoniamnist.npz"),
    ):
        with pytest.raises(UserError, match=message):
            open_sources(words, places, {}, 28)


def test_the_card_says_which_splits_are_taken_and_the_option_goes_over_it(tmp_path: Path) -> None:
    path = npz(tmp_path, "cells", range(4))
    for options, taken in (((), ("train",)), (("train,val",), ("train", "val")), (("cells=val",), ("val",))):
        (source,) = open_sources((str(path),), DataLocations(), splits_of(options), 224)
        assert source.facts.splits == taken
        assert len([item for unit in source.units() for item in source.read(unit)]) == 4 * len(taken)
    with pytest.raises(UserError, match="did you mean 'train'"):
        splits_of(("cells=trian",))
    with pytest.raises(UserError, match="did you mean 'cells'"):
        open_sources((str(path),), DataLocations(), splits_of(("cels=train",)), 224)


def command(*words: object) -> tuple[int, str]:
    """Run a command in this process; returns its exit code and what it printed."""
    result = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    if result.exception:
        raise result.exception
    return int(result.return_value or 0), result.output


def test_the_commands_build_show_and_check(tmp_path: Path) -> None:
    wards, clinic = (
        folder(tmp_path, "wards", range(10)),
        folder(tmp_path, "clinic", range(5, 12), license="CC BY-NC 4.0"),
    )
    code, text = command("corpus", "build", tmp_path / "out", "--variant", "gray", wards, clinic)
    assert code == 0
    assert "12 images of at most 224 pixels" in text
    assert "non-commercial" in text
    code, text = command("corpus", "info", tmp_path / "out", "--json")
    found = json.loads(text)
    assert (found["images"], found["modalities"], found["identity"]) == (12, {"x-ray": 12}, found["identity"])
    sheet = Image.open(found["contact_sheet"])
    assert len(np.unique(np.asarray(sheet))) > 100
    assert command("corpus", "check", tmp_path / "out")[0] == 0
    next((tmp_path / "out" / "shards").iterdir()).unlink()
    assert command("corpus", "check", tmp_path / "out")[0] == 3


def test_a_source_without_any_image_is_exit_code_1(tmp_path: Path) -> None:
    wards, empty = folder(tmp_path, "wards", range(4)), folder(tmp_path, "empty", range(2))
    for path in (tmp_path / "empty").rglob("*.png"):
        path.write_bytes(b"nothing")
    code, text = command("corpus", "build", tmp_path / "out", "--variant", "gray", wards, empty)
    assert code == 1
    assert "no image came from empty" in text
    code, text = command("corpus", "build", tmp_path / "nothing", "--variant", "gray", empty)
    assert (code, "0 images" in text) == (1, True)


def test_help_imports_nothing_heavy() -> None:
    import sys

    heavy = "{'pyarrow', 'numpy', 'PIL'}"
    code = f"import sys, mednet_bench.cli.main; print(sorted({heavy} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.strip() == "[]"
