"""Tasks from files: whole patients, reproducible splits, one sentence per error."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cards import CARD
from PIL import Image

from mednet_bench.benchmark.training.subsets import choose_subset
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.from_files import prepared as preparing
from mednet_bench.tasks.from_files.letterbox import letterbox
from mednet_bench.tasks.from_files.source import FilesSource
from mednet_bench.tasks.from_files.split import split_by_patient
from mednet_bench.tasks.images.bit_depth import to_uint8
from mednet_bench.tasks.images.reader import ReadImage
from mednet_bench.tasks.local_cards import find_cards, local_task
from mednet_bench.tasks.task import DataLocations, Split

Change = Callable[[Callable[[list[list[str]]], object]], Path]


def loaded(card: Path, size: int = 16) -> dict[str, Split]:
    return dict(local_task(card).source.load(size, DataLocations()))


def refusal(card: Path) -> str:
    with pytest.raises(UserError) as caught:
        loaded(card)
    return str(caught.value)


def test_a_table_of_files_is_a_task(ward: Path) -> None:
    assert find_cards(ward) == [ward / "ward.toml"]
    splits = loaded(ward / "ward.toml")
    assert {name: len(split) for name, split in splits.items()} == {"train": 24, "val": 8, "test": 8}
    for split in splits.values():
        assert split.images.shape[1:] == (16, 16) and split.images.dtype == np.uint16
        assert isinstance(split.images, np.memmap)
        assert set(split.columns) == {"sex"} and set(split.columns["sex"]) <= {"F", "M"}
        assert np.bincount(split.labels).tolist() == [len(split) // 2] * 2, "classes in proportion"
        # bright rows from 5 to 15 of 40 mark the ill, whichever order the files were decoded in
        images = to_uint8(split.images)
        bright = images[:, 3:5, 4:12].mean((1, 2)) > images[:, 9:14, 4:12].mean((1, 2)) + 50
        assert bright.tolist() == (split.labels == 1).tolist()


def test_patients_stay_whole_and_splits_repeat(ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(ward / "ward.toml")
    groups = [set(split.groups.tolist()) for split in first.values() if split.groups is not None]
    assert [len(each) for each in groups] == [12, 4, 4] and len(set.union(*groups)) == 20
    source = local_task(ward / "ward.toml").source
    before = source.fingerprint(16, DataLocations())
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(ward.parent / "another"))
    assert source.fingerprint(16, DataLocations()) == before, "neither the salt nor the cache is part of it"
    again = loaded(ward / "ward.toml")
    assert all((again[name].images == first[name].images).all() for name in first)
    assert set(again["test"].groups.tolist()).isdisjoint(groups[2]), "another salt, other numbers"
    drawn = [choose_subset(splits["train"], splits["val"], 0.4, 0) for splits in (first, again)]
    assert drawn[0].train.tolist() == drawn[1].train.tolist(), "and yet the same labels"


def test_files_are_decoded_once(ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(ward / "ward.toml")
    monkeypatch.setattr(preparing, "decode_all", None)
    loaded(ward / "ward.toml")
    path = next(ward.rglob("*.dcm"))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(TypeError):
        loaded(ward / "ward.toml")


@pytest.mark.parametrize("patients", ['patient_column = "patient"', 'study_column = "label"', ""])
def test_new_splits_and_labels_take_the_images_that_were_decoded(
    ward: Path, monkeypatch: pytest.MonkeyPatch, patients: str
) -> None:
    card, text = ward / "ward.toml", (ward / "ward.toml").read_text()
    loaded(card)
    (ward / "labels.csv").write_text((ward / "labels.csv").read_text().replace(",F", ",M", 1))
    card.write_text(text.replace('patient_column = "patient"', patients) + "[split]\nseed = 3\n")
    with monkeypatch.context() as changed:
        changed.setattr(preparing, "decode_all", None)
        again = loaded(card)
    source = local_task(card).source
    assert isinstance(source, FilesSource)
    manifest = preparing.prepare_task(source.spec, 16).manifest
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(ward.parent / "another"))
    anew = loaded(card)
    assert preparing.prepare_task(source.spec, 16).manifest == manifest
    for name, split in anew.items():
        assert (again[name].images == split.images).all() and again[name].images.dtype == split.images.dtype
        assert (again[name].labels == split.labels).all() and (
            again[name].columns["sex"] == split.columns["sex"]
        ).all()
        for trait, values in split.traits.items():
            stored = again[name].traits[trait]
            if values.dtype.kind == "f":
                np.testing.assert_array_equal(values, stored)
            else:  # pseudonyms of another salt
                pairs = set(zip(values.tolist(), stored.tolist(), strict=True))
                assert len(pairs) == len(set(values.tolist())) == len(set(stored.tolist()))


def test_processes_give_what_one_gives(ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = local_task(ward / "ward.toml").source
    assert isinstance(source, FilesSource)
    alone = preparing.prepare_task(source.spec, 16).manifest.content
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(ward.parent / "another"))
    monkeypatch.setattr("mednet_bench.tasks.from_files.decode.FEW_FILES", 1)
    monkeypatch.setattr("mednet_bench.tasks.from_files.decode.FILES_PER_CHUNK", 3)
    assert preparing.prepare_task(source.spec, 16, jobs=2).manifest.content == alone


def test_folders_are_classes_and_headers_know_the_patients(ward: Path) -> None:
    for number, path in enumerate(sorted(ward.rglob("*.dcm"))):
        patient = int(re.findall(r"\d+", path.parent.name)[0])
        place = ward.parent / "folders" / ("healthy", "ill")[patient % 2] / f"{number}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    card = ward.parent / "folders" / "ward.toml"
    card.write_text(CARD + '[files]\npath = "."')
    splits = loaded(card)
    assert [len(np.unique(split.groups)) for split in splits.values()] == [12, 4, 4]
    (ward.parent / "folders" / "other").mkdir()
    assert len(loaded(card)["train"]) == 24, "a folder without images is no class"
    (ward.parent / "folders" / "other" / "x.dcm").touch()
    assert "differ (1 called otherwise)" in refusal(card)


def test_given_splits_are_kept_and_shared_patients_reported(changed: Change) -> None:
    card = changed(
        lambda rows: [row.insert(3, ("train", "Validation", "TEST")[n % 3]) for n, row in enumerate(rows)]
    )
    table = card.parent / "labels.csv"
    table.write_text(table.read_text().replace("patient,sex", "patient,split,sex"))
    card.write_text(card.read_text() + 'split_column = "split"\n')
    assert [len(split) for split in loaded(card).values()] == [14, 13, 13]
    source = local_task(card).source
    assert isinstance(source, FilesSource)
    assert (
        "20 patients are in more than one split"
        in preparing.prepare_task(source.spec, 16).manifest.warnings[0]
    )


@pytest.mark.parametrize("separator", [",", ";", "parquet"])
def test_several_labels_and_tables_of_any_kind(tmp_path: Path, separator: str) -> None:
    import pandas as pd

    for number in range(12):
        Image.fromarray(np.full((20, 20), 9 * number, np.uint8)).save(tmp_path / f"{number}.png")
    said = ["nodule|effusion", "nodule", "", "effusion"]
    frame = pd.DataFrame({"path": [f"{n}.png" for n in range(12)], "label": [said[n % 4] for n in range(12)]})
    name = "t.parquet" if separator == "parquet" else "t.csv"
    if separator == "parquet":
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, sep=separator, index=False)
    card = tmp_path / "card.toml"
    facts = CARD.replace('"binary"', '"multilabel"').replace('["healthy", "ill"]', '["nodule", "effusion"]')
    card.write_text(f'{facts}[files]\ntable = "{name}"')
    splits = loaded(card)
    labels = np.concatenate([split.labels for split in splits.values()])
    assert labels.shape == (12, 2) and labels.sum(0).tolist() == [6, 6]
    assert splits["train"].groups is None


WRONG: dict[str, tuple[Callable[[list[list[str]]], object], str]] = {
    "no label": (lambda rows: [row.__setitem__(1, "NaN") for row in rows], "no row has a label ('NaN' and"),
    "label unknown": (lambda rows: rows[3].__setitem__(1, "il"), "line 5: its label is none of the card's"),
    "one class": (lambda rows: [row.__setitem__(1, "ill") for row in rows], "of the class 'ill'"),
    "row twice": (lambda rows: rows.append(rows[0]), "line 42: it names the same file as line 2"),
    "row twice in another spelling": (
        lambda rows: rows.append([f"./{rows[0][0]}", *rows[0][1:]]),
        "line 42: it names the same file as line 2",
    ),
    "no such file": (lambda rows: rows[0].__setitem__(0, "x.dcm"), "(1 of 40 rows name none)"),
    "out of the folder": (lambda rows: rows[0].__setitem__(0, "../x.dcm"), "leads out of its folder"),
    "absolute": (lambda rows: rows[0].__setitem__(0, "/etc/passwd"), "say allow_outside = true"),
    "one patient": (lambda rows: [row.__setitem__(2, "P") for row in rows], "40 images are of one patient"),
    "few patients": (
        lambda rows: [row.__setitem__(2, f"P{n % 4}") for n, row in enumerate(rows)],
        "of 4 patients, and shares of 0.6, 0.2, 0.2 need 5",
    ),
    "no rows": (lambda rows: rows.clear(), "holds no rows"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_table_is_one_sentence(changed: Change, case: str) -> None:
    edit, words = WRONG[case]
    said = refusal(changed(edit))
    assert words in said and "\n" not in said
    assert "MUSTERMANN" not in said


def test_a_broken_file_is_named_by_its_line(ward: Path) -> None:
    path = sorted(ward.rglob("*.dcm"))[0]
    path.write_bytes(path.read_bytes()[:500])
    said = refusal(ward / "ward.toml")
    assert re.search(r"labels.csv, line \d+: the file cannot be read: ", said) and "MUSTERMANN" not in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('tabel = "x"', "did you mean 'table'?"),
        ('path = "../elsewhere"', "key 'files.path': it leads out of its folder"),
        ('path = "/elsewhere"', "key 'files.path': it is absolute"),
        ('label_column = "diagnosis"', "has no column 'diagnosis' among its 4: name it"),
        ('group_pattern = "("', "key 'files.group_pattern'"),
        ("[split]\nshares = [0.5, 0.5, 0.5]", "key 'split.shares'"),
        ("[reader]\nwindow = [0, -1]", "the width of a window must be above 0"),
    ],
)
def test_what_is_wrong_with_a_card_is_one_sentence(ward: Path, line: str, words: str) -> None:
    card = ward / "ward.toml"
    card.write_text(card.read_text() + line + "\n")
    said = refusal(card)
    assert words in said and "\n" not in said


def test_a_subgroup_column_is_no_identifier(ward: Path) -> None:
    card = ward / "ward.toml"
    card.write_text(card.read_text().replace('["sex"]', '["patient"]'))
    assert "'patient' names images or patients" in refusal(card)


def test_an_image_keeps_its_proportions() -> None:
    wide = letterbox(ReadImage(np.full((10, 40), 200, np.uint8)), False, 20)
    assert wide.dtype == np.uint8 and (wide[8:12] > 150).all() and not wide[:7].any() and not wide[13:].any()
    # pixels twice as high as wide: 10 x 40 of them look like 20 x 40
    stretched = letterbox(ReadImage(np.full((10, 40), 200, np.uint8), spacing=(2.0, 1.0)), True, 20)
    assert stretched.shape == (20, 20, 3) and (stretched[5:15] == 200).all() and not stretched[:5].any()


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2), (0.7, 0.1, 0.2), (0.8, 0.1, 0.1), (0.5, 0.25, 0.25)])
def test_shares_come_out_as_asked(shares: tuple[float, float, float]) -> None:
    labels = np.arange(2000) % 4 // 3
    splits = split_by_patient(labels, np.arange(2000) // 2, shares, 0, "x")
    for split, share in enumerate(shares):
        assert abs((splits == split).mean() - share) < 0.01
        assert abs(labels[splits == split].mean() - 0.25) < 0.02
    assert all(len(set(pair)) == 1 for pair in splits.reshape(-1, 2).tolist())


def test_a_link_that_leads_out_is_followed_only_where_the_card_says_so(ward: Path) -> None:
    elsewhere = ward.parent / "elsewhere"
    elsewhere.mkdir()
    [first, second, *_] = sorted(ward.rglob("*.dcm"))
    second.rename(second.with_name("inside"))
    second.symlink_to(second.with_name("inside"))  # stays in the folder
    loaded(ward / "ward.toml")
    first.rename(elsewhere / "x.dcm")
    first.symlink_to(elsewhere / "x.dcm")
    assert refusal(ward / "ward.toml").startswith(
        f"{ward / 'labels.csv'}, line 2: a link leads out of {ward}"
    )
    first.unlink()
    first.parent.rename(elsewhere / "folder")
    (elsewhere / "x.dcm").rename(elsewhere / "folder" / first.name)
    first.parent.symlink_to(elsewhere / "folder")
    assert "a link leads out of" in refusal(ward / "ward.toml")
    card = ward / "ward.toml"
    card.write_text(card.read_text() + "allow_outside = true\n")
    assert len(loaded(card)) == 3
    (ward / "labels.csv").rename(elsewhere / "labels.csv")
    (ward / "labels.csv").symlink_to(elsewhere / "labels.csv")
    assert len(loaded(card)) == 3
    card.write_text(card.read_text().replace("allow_outside = true", ""))
    assert "key 'files.table': a link leads out of its folder" in refusal(card)
