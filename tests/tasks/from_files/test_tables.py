"""Tables as people have them: ids, patterns, spellings, labels, several tables, Excel, a row per patient."""

import csv
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image

from mednet_bench.cli.show.files import validate_card
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.from_files.card_draft import CardDraft, DraftAnswers, draft_card
from mednet_bench.tasks.from_files.find import list_task_files
from mednet_bench.tasks.from_files.label_words import LabelReader, find_separator, natural_order
from mednet_bench.tasks.from_files.listing import FileListing
from mednet_bench.tasks.from_files.source import FilesSource
from mednet_bench.tasks.local_cards import local_task
from mednet_bench.tasks.task import DataLocations

SECRET = "MUSTERMANN"
COUNT = 20


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), number, np.uint8)).save(path, "png")


def write_rows(path: Path, rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def finding(number: int) -> str:
    return ("cyst", "stone")[number % 2]


def ward_of(folder: Path, file: str, cell: str, head: str = "scan") -> Path:
    """Write images called as `file` says and a table whose cells are as `cell` says, of their number."""
    for number in range(COUNT):
        picture(folder / file.format(number), number)
    rows = [[cell.format(number), finding(number)] for number in range(COUNT)]
    write_rows(folder / "list.csv", [[head, "label"], *rows])
    return folder


def listed(folder: Path, draft: CardDraft, **files: object) -> FileListing:
    """List the files of the card that was drafted, with other keys of [files]."""
    card = folder / "ward.toml"
    content = {**draft.content, "name": "ward", "files": {**draft.content["files"], **files}}
    card.write_text(tomli_w.dumps(content), encoding="utf-8")
    source = local_task(card).source
    assert isinstance(source, FilesSource)
    return list_task_files(source.spec)


def levels(found: FileListing) -> list[int]:
    """Return the gray level of each file, which is its number."""
    return [int(np.asarray(Image.open(found.root / path))[0, 0]) for path in found.paths]


SPELLINGS = {
    "ids": ("films/XR-{:03}.png", "XR-{:03}", "**/{id}.*"),
    "ids of files without a common folder": ("s{0}/XR{0}_a.png", "XR{}_a", "**/{id}.*"),
    "ids with points": ("1.2.{}.png", "1.2.{}", "{id}.*"),
    "names of files elsewhere": ("part/x/a{}.png", "a{}.png", "**/{id}"),
    "paths of another machine": ("part/a{}.png", "/home/x/a{}.png", "**/{name}"),
    "paths of another system": ("part/a{}.png", "D:\\data\\a{}.png", "**/{name}"),
    "another suffix": ("part/a{}.png", "part/a{}.dcm", "{stem}.*"),
    "zeros before": ("part/{:04}.png", "{}", "**/{id:04}.*"),
    "backslashes": ("part/a{}.png", "part\\a{}.png", ""),
    "capitals": ("Part/a{}.PNG", "part/A{}.png", ""),
    "composed": (unicodedata.normalize("NFD", "Größe/é{}.png"), "Größe/é{}.png", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", SPELLINGS)
def test_cells_find_their_files_and_the_decision_is_said(tmp_path: Path, case: str) -> None:
    file, cell, pattern = SPELLINGS[case]
    ward = ward_of(tmp_path / "ward", file, cell)
    draft = draft_card(ward)
    assert draft.content["files"].get("path_pattern", "") == pattern
    assert any("files are found by the column 'scan'" in each.decision for each in draft.choices)
    found = listed(ward, draft)
    assert sorted(levels(found)) == list(range(COUNT))
    assert [draft.content["classes"][label] for label in found.labels] == [finding(n) for n in levels(found)]
    for number, place in zip(levels(found), found.places, strict=True):
        assert place.endswith(f", line {number + 2}")


def test_a_file_in_the_very_spelling_goes_before_another(tmp_path: Path) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    picture(ward / "A3.PNG", 99)
    assert sorted(levels(listed(ward, draft_card(ward)))) == list(range(COUNT))
    (ward / "a3.png").rename(ward / "A3.png")
    with pytest.raises(UserError, match=r"line 5: several files below .* are meant \(1 of 20 rows\)"):
        listed(ward, draft_card(ward))


def test_a_card_with_ids_is_told_the_pattern_that_finds_them(tmp_path: Path) -> None:
    ward = ward_of(tmp_path / "ward", "films/" + SECRET + "{}.png", SECRET + "{}", "path")
    draft = draft_card(ward)
    with pytest.raises(UserError) as caught:
        listed(ward, draft, path_pattern="")
    assert 'to find them say path_pattern = "**/{id}.*" in [files]' in str(caught.value)
    assert SECRET not in str(caught.value)
    assert len(listed(ward, draft, path_pattern="films/{id}.png").paths) == COUNT
    for pattern, words in (
        ("films/x.png", "needs a column in braces"),
        ("{ward}/{id}.png", "no column 'ward'"),
    ):
        with pytest.raises(UserError, match=words):
            listed(ward, draft, path_pattern=pattern)


def test_007_and_7_are_two_images(tmp_path: Path) -> None:
    picture(tmp_path / "ward/007.png", 1)
    picture(tmp_path / "ward/7.png", 2)
    rows = [["007", "cyst"], ["7", "stone"]]
    write_rows(tmp_path / "ward/list.csv", [["path", "label"], *rows])
    draft = draft_card(tmp_path / "ward")
    found = listed(tmp_path / "ward", draft)
    assert dict(zip(levels(found), found.labels.tolist(), strict=True)) == {1: 0, 2: 1}


def test_paths_that_lead_outside_are_refused_with_any_stroke(tmp_path: Path) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    picture(tmp_path / "b.png", 0)
    for cell in ("..\\b.png", "../b.png", "x/../../b.png"):
        table = ward / "list.csv"
        write_rows(
            table, [["scan", "label"], *[[f"a{n}.png", finding(n)] for n in range(COUNT)], [cell, "cyst"]]
        )
        with pytest.raises(UserError, match="line 22: its path: it leads out of its folder"):
            listed(ward, draft_card(ward))


def test_rows_without_content_or_label_are_left_out_and_counted(tmp_path: Path) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    lines = (ward / "list.csv").read_text().splitlines()
    lines[3:3] = ["", ",", "NaN, "]
    lines[-1] = "a19.png,n/a"
    (ward / "list.csv").write_text("\n".join(lines) + "\n\n,\n")
    draft = draft_card(ward)
    said = [each.decision for each in draft.choices]
    assert "5 blank rows of the table are left out" in said
    assert "1 of 20 rows have no label and are left out ('NaN' and 'none' count as nothing)" in said
    found = listed(ward, draft)
    assert sorted(levels(found)) == list(range(COUNT - 1))
    assert {place.rpartition(" ")[2] for place in found.places} == {"2", "3", *map(str, range(7, 24))}
    assert [note.split(" rows")[0] for note in found.notes[:2]] == ["5 blank", "1 of 20"]


LABELS = {
    "semicolons": (["cyst;stone", "cyst", "stone ; cyst"], ";", ["cyst", "stone"]),
    "commas": (["cyst,stone", "cyst", "stone"], ",", ["cyst", "stone"]),
    "strokes": (["cyst/stone", "cyst", "Stone"], "/", ["cyst", "stone"]),
    "bars": (["cyst|stone", "mass"], None, ["cyst", "mass", "stone"]),
    "a comma in a name": (["left, upper", "right, upper", "left, lower"], "", None),
    "a stroke in a name": (["n/a", "and/or", "cyst"], "", ["and/or", "cyst"]),
}  # fmt: skip


@pytest.mark.parametrize("case", LABELS)
def test_separators_of_labels_are_recognized(tmp_path: Path, case: str) -> None:
    words, separator, classes = LABELS[case]
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    rows = [[f"a{n}.png", words[n % len(words)]] for n in range(COUNT)]
    write_rows(ward / "list.csv", [["scan", "label"], *rows])
    draft = draft_card(ward)
    assert draft.content["kind"] == (
        "multilabel" if separator != "" else "binary" if classes else "multiclass"
    )
    assert draft.content["classes"] == (classes or sorted(words))
    assert draft.content["files"].get("label_separator") == (separator or None)
    found = listed(ward, draft)
    if separator == ";":
        assert found.labels.tolist() == [[1, 1 - (n % 3 == 1)] for n in levels(found)]
    single = draft_card(ward, DraftAnswers(chosen={"label_separator": "no"})).content
    assert single["kind"] != "multilabel" and set(single["classes"]) <= set(words)


def test_no_finding_is_a_class_or_none_of_them(tmp_path: Path) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    words = ["cyst;stone", "cyst", "Normal", ""]
    write_rows(ward / "list.csv", [["scan", "label"], *[[f"a{n}.png", words[n % 4]] for n in range(COUNT)]])
    draft = draft_card(ward)
    assert draft.content["classes"] == ["Normal", "cyst", "stone"]
    assert any("'Normal' is taken for a class" in each.decision for each in draft.choices)
    draft = draft_card(ward, DraftAnswers(chosen={"no_finding": "none of the classes"}))
    found = listed(ward, draft)
    assert found.labels.sum(0).tolist() == [10, 5] and len(found.labels) == COUNT


def test_the_label_map_gives_classes_and_leaves_out(tmp_path: Path) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    words = ["COVID-19", "covid-19 ", "Influenza", "RSV", "blurred", ""]
    write_rows(ward / "list.csv", [["scan", "label"], *[[f"a{n}.png", words[n % 6]] for n in range(18)]])
    draft = draft_card(ward)
    draft.content.update(classes=["covid", "other"], kind="binary")
    found = listed(ward, draft, label_map={"COVID-19": "covid", "*": "other", "blurred": ""})
    assert dict(zip(levels(found), found.labels.tolist(), strict=True)) == {
        n: int(n % 6 > 1) for n in range(18) if n % 6 < 4
    }
    assert any(note.startswith("6 of 18 rows have no label") for note in found.notes)
    with pytest.raises(UserError, match=r"line 2: its label is none of the card's classes \(covid, other\)"):
        listed(ward, draft, label_map={"Influenza": "other"})
    with pytest.raises(UserError, match=r"key 'files\.label_map': 'flu' is none of the classes"):
        listed(ward, draft, label_map={"Influenza": "flu"})


def test_spellings_of_a_label_are_one_class_unless_the_card_names_both() -> None:
    reader = LabelReader(("Ja", "nein"), {})
    assert [reader.find(word) for word in ("ja", "JA", "Nein", "", "none")] == [0, 0, 1, None, None]
    reader = LabelReader(("T", "t", "none"), {})
    assert [reader.find(word) for word in ("T", "t", "None", "nan")] == [0, 1, 2, None]
    reader = LabelReader(("0", "1"), {})
    assert [reader.find(word) for word in ("1.0", "0", "1")] == [1, 0, 1]
    with pytest.raises(KeyError):
        reader.find("01")
    assert find_separator(["a;b"]) == ";" and find_separator(["a, b", "c, d"]) == ""
    assert sorted(["grade 10", "grade 2", "10", "9"], key=natural_order) == ["9", "10", "grade 2", "grade 10"]


def test_tables_of_one_form_are_appended_and_their_names_are_splits(tmp_path: Path) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    rows = [[f"a{n}.png", finding(n)] for n in range(COUNT)]
    (ward / "list.csv").unlink()
    write_rows(ward / "train_labels.csv", [["scan", "label"], *rows[:14]])
    write_rows(ward / "test_labels.csv", [["scan", "label"], *rows[14:]])
    draft = draft_card(ward, DraftAnswers(tables=("train_labels.csv", "test_labels.csv")))
    assert draft.content["files"]["split_column"] == "split"
    found = listed(ward, draft)
    assert {n for n, split in zip(levels(found), found.splits, strict=True) if split == "test"} == {
        *range(14, 20)
    }
    assert found.places[0].endswith("train_labels.csv, line 2")


def test_a_table_is_named_from_its_folder_or_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    (tmp_path / "list.csv").write_text((ward / "list.csv").read_text())
    monkeypatch.chdir(tmp_path)
    for name in ("list.csv", "ward/list.csv", str(ward / "list.csv"), "./../ward/list.csv"):
        draft = draft_card(Path("ward"), DraftAnswers(tables=(name,)))
        assert draft.content["files"]["table"] == "list.csv", name
    for name, words in (
        ("../list.csv", "lies outside of ward: copy it there"),
        (str(tmp_path / "list.csv"), "lies outside of ward: copy it there"),
        ("lists.csv", "There is no table ward/lists.csv: correct --table, a file in ward"),
    ):
        with pytest.raises(UserError, match=words):
            draft_card(Path("ward"), DraftAnswers(tables=(name,)))


def test_tables_with_a_common_column_are_joined(tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    for number in range(COUNT):
        picture(ward / f"a{number}.png", number)
    write_rows(
        ward / "files.csv", [["file", "case"], *[[f"a{n}.png", f"{SECRET}{n // 2}"] for n in range(COUNT)]]
    )
    people = [[f"{SECRET}{n}", ("ill", "well")[n % 2]] for n in range(COUNT // 2 - 1)]
    write_rows(ward / "people.csv", [["case", "state"], *people])
    draft = draft_card(ward, DraftAnswers(tables=("files.csv", "people.csv")))
    found = listed(ward, draft, patient_column="case")
    assert {n: found.labels[at] for at, n in enumerate(levels(found))} == {n: n // 2 % 2 for n in range(18)}
    assert "2 of 20 rows have none in people.csv" in found.notes
    write_rows(ward / "other.csv", [["a", "b"], ["1", "2"]])
    with pytest.raises(UserError, match=r"other\.csv: no column relates it to files\.csv") as caught:
        draft_card(ward, DraftAnswers(tables=("files.csv", "other.csv")))
    assert SECRET not in str(caught.value)


def test_of_several_tables_the_one_that_names_files_is_taken(tmp_path: Path) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    write_rows(ward / "a_dictionary.csv", [["word", "meaning"], ["cyst", "x"]])
    draft = draft_card(ward)
    assert draft.content["files"]["table"] == "list.csv"
    assert any("of 2 tables list.csv is taken" in each.decision for each in draft.choices)
    (ward / "list.csv").rename(ward / "z.csv")
    write_rows(ward / "list.csv", [["scan", "label"], *[[f"a{n}.png", finding(n + 1)] for n in range(COUNT)]])
    assert draft_card(ward).options("table") == ("list.csv", "z.csv")
    assert draft_card(ward, DraftAnswers(chosen={"table": "z.csv"})).content["files"]["table"] == "z.csv"


def excel_of(path: Path, rows: Sequence[Sequence[object]], zeros: bool = False) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    sheet = book.create_sheet("Films")
    for row in [[], *rows, [None, None], []]:
        sheet.append(row)
    for cell in sheet["A"][1:] if zeros else ():
        cell.number_format = "000"
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def test_excel_is_read_as_it_shows(tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    for number in range(COUNT):
        picture(ward / f"{number:03}.png", number)
    rows = [[number, finding(number), float(number // 2), None] for number in range(COUNT)]
    excel_of(ward / "list.xlsx", [["film", "label", "patient", None], *rows], zeros=True)
    (ward / "~$list.xlsx").write_bytes(b"open")
    draft = draft_card(ward)
    found = listed(ward, draft)
    assert sorted(levels(found)) == list(range(COUNT)) and set(found.patients) == {str(n) for n in range(10)}
    assert found.places[0].endswith("list.xlsx, line 3"), "the header is in row 2"
    with pytest.raises(UserError, match=r"list\.xlsx has no sheet 'Film': correct 'files\.sheet'"):
        listed(ward, draft, sheet="Film")
    for content, words in ((b"PK\3\4broken", "is damaged or no Excel workbook"), (b"", "is damaged or no")):
        (ward / "list.xlsx").write_bytes(content)
        with pytest.raises(UserError, match=words):
            draft_card(ward)
    (ward / "list.xlsx").rename(ward / "list.xls")
    with pytest.raises(UserError, match=r"is of Excel before 2007: save it as \.xlsx or as CSV"):
        draft_card(ward)


def test_excel_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ward = ward_of(tmp_path / "ward", "a{}.png", "a{}.png")
    (ward / "list.csv").rename(ward / "list.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match=r"needs openpyxl: pip install 'mednet-bench\[excel\]'"):
        draft_card(ward)


def bids(folder: Path, endings: Sequence[str], ids: str = "sub-{:02}") -> Path:
    """Write a set like BIDS, with PNGs in place of volumes, and a participant without images."""
    for number in range(COUNT):
        for ending in endings:
            picture(folder / f"sub-{number:02}/ses-1/anat/sub-{number:02}_ses-1_{ending}.png", number)
        picture(folder / f"derivatives/seg/sub-{number:02}/sub-{number:02}_mask.png", 0)
    rows = [[ids.format(n), f"{30 + n % 17}", ("control", "patient")[n % 2]] for n in range(COUNT + 1)]
    lines = ["\t".join(row) for row in [["participant_id", "age", "group"], *rows]]
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("ids", ["sub-{:02}", "{:02}"])
def test_bids_takes_its_participants(tmp_path: Path, ids: str) -> None:
    ward = bids(tmp_path / "ward", ["T2w", "T1w"], ids)
    draft = draft_card(ward)
    files = draft.content["files"]
    assert (files["patient_column"], files["label_column"]) == ("participant_id", "group")
    assert files["path_pattern"].endswith("{id}/**/*_T1w.png")
    assert any("of 2 kinds of images per row those of" in each.decision for each in draft.choices)
    found = listed(ward, draft)
    assert len(found.paths) == COUNT and all(path.endswith("_T1w.png") for path in found.paths)
    assert found.labels.tolist() == [n % 2 for n in levels(found)] and len(set(found.patients)) == COUNT
    assert "1 of 21 rows name no file and are left out" in found.notes
    other = next(each for each in draft.options("path_pattern") if "T2w" in each)
    again = listed(ward, draft_card(ward, DraftAnswers(chosen={"path_pattern": other})))
    assert all(path.endswith("_T2w.png") for path in again.paths)


@pytest.mark.parametrize("column", ["participant_id", "patient"])
def test_one_file_for_each_participant_is_no_reason_to_warn(tmp_path: Path, column: str) -> None:
    """A row that takes all files of a patient leaves nothing to doubt, other than a column of its own."""
    ward = bids(tmp_path / "ward", ["T1w"])
    table = ward / "participants.tsv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{head}\tpatient", *[f"{row}\tP{n}" for n, row in enumerate(rows)]]))
    content = draft_card(ward).content
    card = ward / "ward.toml"
    card.write_text(tomli_w.dumps({**content, "files": {**content["files"], "patient_column": column}}))
    said = validate_card(card, 16, 1, tmp_path / "check")
    certain = column == "participant_id"
    assert ("20 known, 0 with several files" in said, "has two files" in said) == (certain, not certain)
    splits = local_task(card).source.load(16, DataLocations())
    known = [split.patient_known.all() for split in splits.values() if split.patient_known is not None]
    assert known == [certain] * 3


def test_a_row_per_patient_takes_all_images_of_the_folder(tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    for number in range(COUNT):
        picture(ward / f"{SECRET}{number // 2}" / "study" / f"scan_{number % 2}.png", number)
    rows = [[f"{SECRET}{n}", finding(n)] for n in range(COUNT // 2)]
    write_rows(ward / "people.csv", [["case", "label"], *rows])
    draft = draft_card(ward)
    assert draft.content["files"]["path_pattern"] == "{id}/**/*"
    found = listed(ward, draft)
    assert sorted(levels(found)) == list(range(COUNT))
    assert found.labels.tolist() == [n // 2 % 2 for n in levels(found)] and len(set(found.patients)) == 10
