"""Given splits are kept and reported; generated splits never separate equal images."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from cards import CARD
from click.testing import CliRunner
from PIL import Image

from mednet_bench.cli.main import cli
from mednet_bench.cli.show.files import validate_card
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.from_files.card_draft import draft_card
from mednet_bench.tasks.images.bit_depth import to_uint8
from mednet_bench.tasks.local_cards import local_task
from mednet_bench.tasks.task import DataLocations, Split

SIDE = 16


def picture(path: Path, number: int) -> Path:
    """Write an image whose gray is its number, but for a black and a white row."""
    values = np.full((SIDE, SIDE), number, np.uint8)
    values[0], values[1] = 0, 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def numbers(split: Split) -> set[int]:
    return set(np.rint(np.median(to_uint8(split.images), axis=(1, 2))).astype(int).tolist())


def label(number: int) -> str:
    return ("healthy", "ill")[number % 2]


def ward_of(folder: Path, cells: dict[str, Callable[[int], str]], count: int = 60) -> Path:
    """Write images and a table with the columns of `cells`, each a function of the image's number."""
    rows = [["path", "label", *cells]]
    for number in range(count):
        picture(folder / f"{number}.png", number)
        rows.append([f"{number}.png", label(number), *(cell(number) for cell in cells.values())])
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def laid(folder: Path, names: Sequence[str], where: str = "{split}/{label}") -> dict[str, set[int]]:
    """Write images into folders: 24 of the first split and 8 of each other; returns which are where."""
    held: dict[str, set[int]] = {name: set() for name in names}
    for number in range(24 + 8 * (len(names) - 1)):
        name = names[max(0, number // 8 - 2)]
        held[name].add(number)
        picture(folder / where.format(split=name, label=label(number)) / f"{number}.png", number)
    return held


def drafted(folder: Path) -> tuple[Path, str]:
    """Write the card that `task new` drafts; returns it, and what it says of splits."""
    found = draft_card(folder)
    card = folder / "ward.toml"
    card.write_text(tomli_w.dumps({**found.content, "name": "ward"}))
    return card, "\n".join(found.splits)


def loaded(card: Path) -> dict[str, Split]:
    return dict(local_task(card).source.load(SIDE, DataLocations()))


def said_of(card: Path) -> str:
    return validate_card(card, SIDE, 1, card.parent.parent / "check")


def new(folder: Path) -> str:
    """Run `task new` without a terminal; returns what it says."""
    result = CliRunner().invoke(cli, ["task", "new", str(folder)], standalone_mode=False)
    assert not result.exception, result.exception
    return result.output


COLUMNS = {
    "Split": ("train", "test"),
    "SET": ("TRAIN", "Test"),
    "subset": ("Training", "Testing"),
    "data_split": ("train_set", "test_set"),
    "phase": ("train", "test"),  # not called as splits are: its cells tell
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_train_and_test_is_kept_and_val_cut_from_train_by_patient(
    tmp_path: Path, name: str
) -> None:
    words = COLUMNS[name]
    # images 0 to 39 are of train; patients have 2 images each, of unlike classes
    cells = {"patient": lambda n: f"P{n // 2}", name: lambda n: words[n >= 40]}
    card, said = drafted(ward_of(tmp_path / "scans", cells))
    assert (
        f"splits are taken from the column '{name}', without a val, which is cut from train by patient"
        in said
    )
    splits = loaded(card)
    assert numbers(splits["test"]) == set(range(40, 60)), "exactly the test that was given"
    train, val = numbers(splits["train"]), numbers(splits["val"])
    assert train | val == set(range(40)) and len(val) == 10
    assert {n // 2 for n in train}.isdisjoint({n // 2 for n in val}), "patients are whole"
    assert f"as the column '{name}' says, without a val, which is cut from train by patient" in said_of(card)


def test_a_given_val_is_kept_in_any_of_its_names(tmp_path: Path) -> None:
    for at, word in enumerate(("val", "Valid", "VALIDATION", "dev")):
        cells = {"split": lambda n, word=word: ("train", word, "test")[n // 10 % 3]}
        card, said = drafted(ward_of(tmp_path / f"scans{at}", cells))
        assert said == "splits are taken from the column 'split'"
        assert numbers(loaded(card)["val"]) == {n for n in range(60) if n // 10 % 3 == 1}


UNUSED: dict[str, Callable[[int], str]] = {
    "split": lambda n: ("train", "val")[n % 3 == 0],  # no test
    "set": lambda n: ("train", "test", "unlabeled")[n % 3],
    "subset": lambda n: ("train", "test", "")[n % 3],
    "cv_fold": lambda n: str(n % 5),
    "is_train": lambda n: str(n % 2),
    "Usage": lambda n: ("Training", "PublicTest", "PrivateTest")[n % 3],
    "where": lambda n: ("train", "val")[n % 2],
}


@pytest.mark.parametrize("name", UNUSED)
def test_a_column_that_looks_like_splits_and_is_not_used_is_named(tmp_path: Path, name: str) -> None:
    folder = ward_of(tmp_path / "my-scans", {name: UNUSED[name]})
    table = folder / "list.csv"
    table.write_text(table.read_text().replace("label", "finding"))  # no column is called so: it is guessed
    said = new(folder)
    assert f"the column '{name}' looks like splits and is not used: to take it" in said
    card = folder / "my-scans.toml"
    assert "split_column" not in card.read_text() and 'label_column = "finding"' in card.read_text()
    found = draft_card(folder)
    assert name not in (*found.options("label_column"), *found.options("patient_column"))
    assert f"warning     the column '{name}' looks like splits and is not used" in said_of(card)


def test_a_second_column_of_splits_is_named(tmp_path: Path) -> None:
    cells = {"fold": lambda n: str(n % 5), "split": lambda n: ("train", "test")[n % 2 and n > 30]}
    card, said = drafted(ward_of(tmp_path / "scans", cells))
    assert (
        "taken from the column 'split'" in said and "the column 'fold' looks like splits and is not" in said
    )
    assert "the column 'fold' looks like splits and is not used" in said_of(card)


def test_a_column_without_test_that_the_card_names_is_refused_with_the_cure(tmp_path: Path) -> None:
    folder = ward_of(tmp_path / "scans", {"split": UNUSED["split"]})
    (folder / "ward.toml").write_text(f'{CARD}[files]\ntable = "list.csv"\nsplit_column = "split"\n')
    with pytest.raises(
        UserError, match=r"no row is of the split test: call those to test on 'test' \(val is"
    ):
        loaded(folder / "ward.toml")


LAYOUTS = {
    "Training, Testing": (("Training", "Testing"), "{split}/{label}"),
    "train, val, test": (("train", "val", "test"), "{split}/{label}"),
    "TRAIN, Valid, Test_Set": (("TRAIN", "Valid", "Test_Set"), "{split}/{label}"),
    "train-images, test-images": (("train-images", "test-images"), "{split}/{label}/deeper"),
    "below the classes": (("train", "test"), "{label}/{split}"),
    "in numbered order": (("1_train", "2_val", "3_test"), "{split}/{label}"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_folders_called_as_splits_are_splits_and_no_classes(tmp_path: Path, case: str) -> None:
    names, where = LAYOUTS[case]
    held = laid(tmp_path / "scans", names, where)
    said = new(tmp_path / "scans")
    card = tmp_path / "scans" / "scans.toml"
    assert local_task(card).classes == ("healthy", "ill")
    splits = loaded(card)
    assert numbers(splits["test"]) == held[names[-1]]
    if len(names) == 3:
        assert (numbers(splits["train"]), numbers(splits["val"])) == (held[names[0]], held[names[1]])
    else:
        assert numbers(splits["train"]) | numbers(splits["val"]) == held[names[0]]
        cut = "without a val, which is cut from train by file and equal images"
        assert len(splits["val"]) == 6 and cut in said and cut in said_of(card), "no patient is known"
    assert "splits are taken from the names of the folders" in said
    for split in splits.values():
        odd = np.median(to_uint8(split.images), axis=(1, 2)).astype(int) % 2
        assert odd.tolist() == split.labels.tolist(), "every image has the class of its folder"
    assert "as the names of the folders say" in said_of(card)


@pytest.mark.parametrize("names", [("tr", "te"), ("fold1", "fold2", "fold3"), ("internal", "external")])
def test_folders_that_hold_the_same_folders_are_doubtful_classes(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    laid(tmp_path / "scans", names)
    words = f"{', '.join(sorted(names))} are taken for classes, and each holds folders of the same 2 names"
    said = new(tmp_path / "scans")
    assert words in said and "call these train, val and test" in said
    assert words in said_of(tmp_path / "scans" / "scans.toml")


def test_classes_that_hold_folders_of_patients_are_no_doubt(tmp_path: Path) -> None:
    laid(tmp_path / "scans", ("a", "b"), "{label}/of {split}-{label}")
    assert "each holds folders" not in new(tmp_path / "scans")


def test_of_two_columns_of_splits_the_one_with_val_is_taken_and_the_other_is_complete(tmp_path: Path) -> None:
    def split(number: int) -> str:
        return "train" if number < 40 else "test"

    folder = ward_of(
        tmp_path / "scans", {"split": split, "Split2": lambda n: "val" if n < 10 else split(n), "fold": str}
    )
    card, said = drafted(folder)
    assert 'split_column = "Split2"' in card.read_text()
    assert "'split' looks like splits and is not used: to take it, name it by split_column" in said
    assert "'fold' looks like splits and is not used: to take it, let it say train" in said


def test_a_split_may_lack_a_class_and_holds_none_of_its_own(tmp_path: Path) -> None:
    laid(tmp_path / "scans", ("train", "test"))
    for path in (tmp_path / "scans/test/healthy").iterdir():
        path.unlink()
    (tmp_path / "scans/test/healthy").rmdir()
    card, _ = drafted(tmp_path / "scans")
    assert "the split test has no image of 'healthy'" in said_of(card)


REFUSED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "another beside them": (
        ("train", "test"),
        "other/1.png",
        "train are called as splits are and 1 others not",
    ),
    "a class called test": (("a", "b"), "test/1.png", "test are called as splits are and 2 others not"),
    "no test": (("train", "val"), "train/notes.txt", "there is no test: rename the one to test on"),
    "no train": (("val", "test"), "val/notes.txt", "there is no train: add it"),
    "images without a class": (("train", "test"), "test/1.png", "test is a split, and holds files outside"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_are_not_all_splits_are_refused_with_the_choice(tmp_path: Path, case: str) -> None:
    names, extra, words = REFUSED[case]
    laid(tmp_path / "scans", names)
    picture((tmp_path / "scans" / extra).with_suffix(".png"), 200).rename(tmp_path / "scans" / extra)
    (tmp_path / "scans" / "ward.toml").write_text(f'{CARD}[files]\npath = "."\n')
    for refuse in (draft_card, lambda folder: loaded(folder / "ward.toml")):
        with pytest.raises(UserError) as caught:
            refuse(tmp_path / "scans")
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_card_that_takes_splits_for_classes_is_refused(tmp_path: Path) -> None:
    laid(tmp_path / "scans", ("Training", "Testing"))
    card = tmp_path / "scans" / "ward.toml"
    card.write_text(CARD.replace('["healthy", "ill"]', '["Testing", "Training"]') + '[files]\npath = "."\n')
    with pytest.raises(UserError, match="the folders in its folders of splits and the classes of the card"):
        loaded(card)


def tabled(folder: Path, split: Callable[[int], str] | None = None) -> Path:
    """Lay images into train/ and test/ with a table of their paths, and a column of splits if given."""
    laid(folder, ("train", "test"), "{split}")
    rows = [["path", "label", *(["split"] if split else [])]]
    for number in range(32):
        path = f"{'train' if number < 24 else 'test'}/{number}.png"
        rows.append([path, label(number), *([split(number)] if split else [])])
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def test_folders_of_a_table_without_splits_are_splits(tmp_path: Path) -> None:
    card, said = drafted(tabled(tmp_path / "scans"))
    assert "splits are taken from the names of the folders, without a val" in said
    assert numbers(loaded(card)["test"]) == set(range(24, 32))
    picture(tmp_path / "scans" / "32.png", 32)
    with (tmp_path / "scans" / "list.csv").open("a") as file:
        file.write("32.png,ill\n")
    words = "folders called test, train are not used as splits, since 1 of 33 files lie in none"
    assert words in draft_card(tmp_path / "scans").splits[0] and words in said_of(card)


def test_a_column_of_splits_overrides_folders_and_the_difference_is_reported(tmp_path: Path) -> None:
    card, said = drafted(tabled(tmp_path / "scans", lambda n: "train" if n < 20 else "test"))
    assert said.startswith("splits are taken from the column 'split'")
    assert numbers(loaded(card)["test"]) == set(range(20, 32))
    assert "4 files lie in a folder of another split than the table says, which is followed" in said_of(card)


def test_one_folder_called_train_above_all_files_tells_nothing(tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / "scans" / "train" / f"{number}.png", number)
    lines = ["path,label", *(f"train/{number}.png,{label(number)}" for number in range(20))]
    (tmp_path / "scans" / "list.csv").write_text("\n".join(lines))
    card, said = drafted(tmp_path / "scans")
    assert not said and [len(split) for split in loaded(card).values()] == [12, 4, 4]


def test_patients_and_equal_images_shared_by_given_splits_are_reported(tmp_path: Path) -> None:
    cells = {"patient": lambda n: f"P{n % 40}", "split": lambda n: ("train", "test")[n >= 40]}
    folder = ward_of(tmp_path / "scans", cells)
    for number in range(5):
        picture(folder / f"{40 + number}.png", number)
    said = said_of(drafted(folder)[0])
    assert "20 patients are in more than one split" in said
    assert "5 of 20 test images are in train or val, equal in every pixel" in said
    assert "5 equal another in every pixel" in said


@pytest.mark.parametrize("by", ["patient", "image"])
@pytest.mark.parametrize("given", [False, True])
def test_splits_that_are_made_keep_equal_images_together(tmp_path: Path, by: str, given: bool) -> None:
    """Of 40 images 20 have a copy in another format, and these pairs are of two patients each."""
    folder = tmp_path / "scans"
    rows = [["path", "label", "patient", "split"]]
    for number in range(40):
        names = [picture(folder / f"{number}.png", number)]
        if number < 20:
            names.append(folder / f"{number}-copy.bmp")
            Image.open(names[0]).convert("RGB").save(names[1])
        rows += [[name.name, label(number), f"P{at}-{number}", "train"] for at, name in enumerate(names)]
    for row in rows[-9:] if given else []:
        row[3] = "test"
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([row[: 4 if given else 3] for row in rows])
    card, _ = drafted(folder)
    content = card.read_text().replace('variant = "color"', 'variant = "gray"')
    card.write_text(f'{content}\n[split]\nby = "{by}"\n')
    splits = loaded(card)
    held = [numbers(split) for split in splits.values()]
    assert sum(map(len, held)) == 40 == len(set.union(*held)), "no image is in two splits"
    assert sum(len(split) for split in splits.values()) == 60
    assert len(held[2]) == 9 if given else len(held[2]) >= 4
    groups = [split.groups for split in splits.values()]
    assert sum(len(set(each.tolist())) for each in groups if each is not None) == 40, "copies are one group"
    said = said_of(card)
    assert "equal images  20 equal another in every pixel; splits that are made keep them" in said
    assert "are in train or val, equal" not in said


def test_blank_images_join_no_patients(tmp_path: Path) -> None:
    """A black first slice would otherwise merge all volumes into one group."""
    folder = tmp_path / "scans"
    folder.mkdir()
    rows = ["path,label"]
    for number in range(20):
        volume = np.zeros((3, 12, 10), np.uint8)  # no square: margins are no content either
        volume[0], volume[1], volume[1, 0] = 7, number, 255
        np.save(folder / f"{number}.npy", volume)
        rows.append(f"{number}.npy,{label(number)}")
    (folder / "list.csv").write_text("\n".join(rows))
    card, _ = drafted(folder)
    splits = loaded(card)
    assert [len(split) for split in splits.values()] == [36, 12, 12]
    groups = np.concatenate([split.groups for split in splits.values() if split.groups is not None])
    assert sorted(np.unique(groups, return_counts=True)[1]) == [3] * 20 and (groups < -1).all()
    assert "equal another" not in said_of(card)


def test_copies_of_files_without_patient_are_one_group_and_no_known_patient(tmp_path: Path) -> None:
    folder = ward_of(tmp_path / "scans", {}, 30)
    with (folder / "list.csv").open("a") as file:
        for number in range(10):
            picture(folder / f"again-{number}.png", number)
            file.write(f"again-{number}.png,{label(number)}\n")
    card, _ = drafted(folder)
    splits = loaded(card)
    groups = np.concatenate([s.groups for s in splits.values() if s.groups is not None])
    assert len(groups) == 40 and len(np.unique(groups)) == 30 and (groups < -1).all()
    assert "patients      none known" in said_of(card)


@pytest.mark.parametrize("inside", [".", "healthy", "train/ill"])
def test_validate_never_writes_into_the_folder_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """Its sheets would be one more class, and every later command would refuse the task."""
    folder = tmp_path / "scans"
    laid(folder, ("train", "test"), "{split}/{label}" if "train" in inside else "{label}/{split}")
    card, _ = drafted(folder)
    monkeypatch.chdir(folder / inside)
    before = sorted(folder.rglob("*"))
    for _ in range(2):
        assert f"2 contact sheets in {tmp_path / 'ward-check'}" in validate_card(card, SIDE, 1, None)
    with pytest.raises(
        UserError, match=r"--out sheets lies in .*scans, whose images are read: name a folder"
    ):
        validate_card(card, SIDE, 1, Path("sheets"))
    assert sorted(folder.rglob("*")) == before and len(list((tmp_path / "ward-check").iterdir())) == 2


def test_a_run_among_class_folders_is_refused_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid(tmp_path / "scans", ("train", "test"))
    card, _ = drafted(tmp_path / "scans")
    monkeypatch.chdir(tmp_path / "scans")
    before = sorted(tmp_path.rglob("*"))
    words = ["run", "--tasks", "ward", "--task-file", str(card), "--inits", "scratch", "--protocols", "knn"]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert "--out runs/latest lies among the class folders of 'ward'" in str(result.exception)
    assert sorted(tmp_path.rglob("*")) == before
