"""Patients stay whole if any source knows them, and their numbers reveal no name."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from dicoms import SECRET, write
from pydicom import dcmread

from mednet_bench.benchmark.audits.leakage.audit import leakage_of
from mednet_bench.benchmark.overlap.copies import copies_in
from mednet_bench.benchmark.overlap.groups import known_groups
from mednet_bench.cli.show.files import validate_card
from mednet_bench.cli.show.leakage import leakage_text
from mednet_bench.tasks.from_files.card_draft import draft_card
from mednet_bench.tasks.from_files.find import list_task_files
from mednet_bench.tasks.from_files.patient_ids import wider_ids
from mednet_bench.tasks.from_files.source import FilesSource
from mednet_bench.tasks.local_cards import local_task
from mednet_bench.tasks.patients import count_misspelled, propose_pattern
from mednet_bench.tasks.task import DataLocations, Split

HERS = {"PatientID": None, "StudyInstanceUID": None, "SeriesInstanceUID": None}
"""What a header without any key lacks."""
GAPS = {
    "the study leads to the patient": (["P", "S"], ["", "S"], HERS),
    "the header leads to the patient": (["P", "S"], ["", "T"], {}),
    "the header knows more than the study": (["", "S"], ["", "T"], {}),
}


def loaded(ward: Path) -> dict[str, Split]:
    return dict(local_task(ward / "ward.toml").source.load(16, DataLocations()))


@pytest.mark.parametrize("case", GAPS)
def test_a_patient_is_whole_where_columns_have_gaps(ward: Path, case: str) -> None:
    *cells, lacks = GAPS[case]
    with (ward / "labels.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("path", "label", "patient", "study"))
        for patient in range(20):
            for number, row in enumerate(cells):
                path = f"{SECRET}{patient}/{SECRET}-{number}.dcm"
                write(ward / path, dcmread(ward / path).pixel_array, **{"PatientID": f"H-{patient}", **lacks})
                values = (f"{cell}-{patient}" if cell else "" for cell in row)
                lines.writerow((path, ("healthy", "ill")[patient % 2], *values))
    card = ward / "ward.toml"
    card.write_text(card.read_text().replace('subgroups = ["sex"]\n', "") + 'study_column = "study"\n')
    groups = [set(split.groups.tolist()) for split in loaded(ward).values() if split.groups is not None]
    assert [len(each) for each in groups] == [12, 4, 4] and len(set.union(*groups)) == 20


def test_placeholders_in_a_patient_column_name_no_patient(ward: Path) -> None:
    table, words = ward / "labels.csv", ("-", "unknown", "?", "n/a", "Anonymous", "UNK")
    lines = table.read_text().replace(f",{SECRET}-", ",Q-").splitlines()
    at = lines[0].split(",").index("patient")
    for number in range(1, 13):
        cells = lines[number].split(",")
        cells[at] = words[number % 6]
        lines[number] = ",".join(cells)
    table.write_text("\n".join(lines))
    found = list_task_files(cast(FilesSource, local_task(ward / "ward.toml").source).spec)
    assert found.patients.count("") == 12 and not set(found.patients) & {*words}


@pytest.mark.parametrize("name", ["SubjectID", "participant_id", "MRN", "Person No."])
def test_columns_called_as_people_are_patients_where_their_values_come_again(ward: Path, name: str) -> None:
    table, card = ward / "labels.csv", ward / "ward.toml"
    table.write_text(table.read_text().replace("patient", name, 1))
    assert draft_card(ward).content["files"]["patient_column"] == name
    card.write_text(card.read_text().replace('patient_column = "patient"\n', ""))
    said = validate_card(card, 16, 1, ward.parent / "check")
    assert f"the column '{name}' seems to name patients and is not used: name it by patient_column" in said
    head, *lines = table.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    own = [",".join((path, label, str(number), sex)) for number, (path, label, _, sex) in enumerate(rows)]
    table.write_text("\n".join([head, *own]))
    assert "patient_column" not in draft_card(ward).content["files"]


def test_repeated_study_numbers_join_no_patients() -> None:
    assert wider_ids(("A", "B", "", ""), ("1", "1", "1", "2")) == ("A", "B", "1", "2")
    assert wider_ids(("A", "A", "", ""), ("1", "1", "1", "")) == ("A", "A", "A", "")


def test_numbers_of_patients_are_not_in_the_order_of_their_names(ward: Path) -> None:
    """Salted hashes in order are nearly evenly spaced: in the order of names they reveal patients."""
    train = loaded(ward)["train"].groups
    assert train is not None and (np.diff(train) < 0).any(), "rows are in the order of their paths"


def test_a_file_without_patient_is_its_own_group_and_counts_as_unknown(ward: Path) -> None:
    unnamed = f"{SECRET}0/{SECRET}-0.dcm"
    write(ward / unnamed, np.stack([dcmread(ward / unnamed).pixel_array] * 3), **HERS)
    table = ward / "labels.csv"
    table.write_text(table.read_text().replace(f"{unnamed},healthy,{SECRET}-0,", f"{unnamed},healthy,,"))
    splits = loaded(ward)
    unknown = [split.groups[split.groups < 0] for split in splits.values() if split.groups is not None]
    assert sorted(map(len, unknown)) == [0, 0, 3], "its frames are in one split"
    (alone,) = np.unique(np.concatenate(unknown))
    assert alone < -1 and sum(len(known_groups(split)) for split in splits.values()) == 39


def test_one_patient_per_file_is_reported_and_a_pattern_proposed(ward: Path) -> None:
    """A column that numbers images keeps no patient whole, and no audit may call that clean."""
    table = ward / "labels.csv"
    head, *lines = table.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    for number, row in enumerate(rows):
        row[2] = f"{SECRET}-image-{number}"
    table.write_text("\n".join([head, *map(",".join, rows)]))
    said = validate_card(ward / "ward.toml", 16, 1, ward.parent / "check")
    doubt = draft_card(ward).patient_doubt
    assert "no two files share a value of 'patient'" in doubt and SECRET not in doubt
    assert "40 named, each with one file" in said and "none of 40 patients has two files" in said
    assert 'group_pattern = "([^/]+)/[^/]*$", which finds 20' in said
    shown = leakage_text(leakage_of("ward", 16, "", loaded(ward)))
    assert "none, known of 0 of 40 images" in shown and "group_pattern" in shown
    assert SECRET not in said + shown
    card = ward / "ward.toml"
    pattern = card.read_text().replace('patient_column = "patient"', 'group_pattern = "([^/]+)/[^/]*$"')
    card.write_text(pattern)
    said = validate_card(card, 16, 1, ward.parent / "check")
    assert "patients     20 known, 20 with several files" in said and "two files" not in said
    assert "none, known of 40 of 40 images" in leakage_text(leakage_of("ward", 16, "", loaded(ward)))


def test_classes_and_measurements_in_paths_are_not_proposed_as_patients() -> None:
    def proposed(paths: list[str]) -> str:
        return propose_pattern(paths, 2).partition('group_pattern = "')[2].partition('"')[0]

    assert proposed([f"ill/scan_P{n // 2}_{n % 2}.png" for n in range(20)]) == "([^/]+)[_-][^/_-]*$"
    assert proposed([f"train/P{n // 2}/series/{n}.png" for n in range(20)]) == "^([^/]+)/"
    assert proposed([f"{'ab'[n % 2]}/IMG_{n}.png" for n in range(20)]) == "^([^/]+)/", "as an example only"
    assert "which finds" not in propose_pattern([f"{'ab'[n % 2]}/IMG_{n}.png" for n in range(20)], 2)


def test_one_patient_with_two_files_is_no_evidence_that_a_column_names_patients(
    changed: Callable[[Callable[[list[list[str]]], object]], Path],
) -> None:
    def number_images(rows: list[list[str]]) -> None:
        for number, row in enumerate(rows):
            row[2] = f"{SECRET}-image-{max(1, number)}"

    card = changed(number_images)
    doubt = draft_card(card.parent).patient_doubt
    assert "files share only 1 of the 39 values of 'patient'" in doubt and SECRET not in doubt
    said = validate_card(card, 16, 1, card.parent.parent / "check")
    assert "39 named, only 1 with several files" in said and "only 1 of 39 patients has two files" in said
    (line,) = (
        line
        for line in leakage_text(leakage_of("ward", 16, "", loaded(card.parent))).splitlines()
        if line.startswith("shared groups")
    )
    assert "none, known of 0 of 40 images" in line and line.endswith("shows nothing")


SPELLINGS = {
    "case": ("P{}", "p{}"),
    "blanks": ("P {}", "P  {} "),
    "leading zeros": ("P{:02}", "P{:04}"),
    "zeros without a letter": ("{}", "{:04}"),
    "a final .0": ("{}", "{}.0"),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_patients_that_only_their_spelling_parts_are_counted_without_a_name(
    changed: Callable[[Callable[[list[list[str]]], object]], Path], case: str
) -> None:
    def spell(rows: list[list[str]]) -> None:
        for number, row in enumerate(rows):
            row[2] = SPELLINGS[case][number % 2 if number < 6 else 0].format(number // 2 + 70)

    card = changed(spell)
    said = validate_card(card, 16, 1, card.parent.parent / "check")
    assert "6 of 23 patients have a name that differs from another only by case, blanks" in said


def test_patients_with_other_names_are_not_called_misspelled() -> None:
    assert (
        count_misspelled(["P1", "P10", "P100", "1 23", "12 3", "1.2.0", "1.20", "0", "00x", "1.05", "1.5"])
        == 0
    )
    assert count_misspelled(["P1", "p01", "P 1.0", "P2"]) == 3


@pytest.mark.parametrize("by", ["header", "column", "card"])
def test_a_study_is_no_patient_though_it_stays_whole(ward: Path, by: str) -> None:
    card = ward / "ward.toml"
    text = card.read_text().replace('patient_column = "patient"\n', "")
    text += {"header": "", "column": 'study_column = "patient"\n', "card": '[reader]\ngroup_by = "study"\n'}[
        by
    ]
    card.write_text(text)
    for path in sorted(ward.rglob("*.dcm")):
        lacks = HERS if by == "column" else {"PatientID": " " if by == "header" else SECRET}
        write(
            path, dcmread(path).pixel_array, **{"StudyInstanceUID": f"1.2.{path.parent.name[10:]}", **lacks}
        )
    said = validate_card(card, 16, 1, ward.parent / "check")
    assert "none known; 20 studies of patients not known" in said
    assert "of 40 images only the study or series is known" in said and "group_pattern" in said
    splits = loaded(ward)
    assert [len(np.unique(split.groups)) for split in splits.values() if split.groups is not None] == [
        12,
        4,
        4,
    ]
    shown = leakage_text(leakage_of("ward", 16, "", splits))
    assert "none, known of 0 of 40 images" in shown and "one patient may have several" in shown
    counted = copies_in(local_task(card), splits, f"test:{by}").copies
    assert counted.known == 0, "the report says: groups not known"


def test_frames_of_one_file_are_not_several_files_of_a_patient(ward: Path) -> None:
    for path in sorted(ward.rglob("*-1.dcm")):
        path.unlink()
    for path in sorted(ward.rglob("*-0.dcm")):
        write(path, np.stack([dcmread(path).pixel_array] * 2))
    table = ward / "labels.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "-1.dcm" not in line))
    assert "20 named, each with one file" in validate_card(ward / "ward.toml", 16, 1, ward.parent / "check")
    assert "none, known of 0 of 40 images" in leakage_text(leakage_of("ward", 16, "", loaded(ward)))


@pytest.mark.parametrize(("of_patient", "doubted"), [(lambda f, n: f, True), (lambda f, n: 2 * f + n, False)])
def test_folders_of_one_patient_each_are_doubtful_classes_and_a_table_makes_them_patients(
    tmp_path: Path, of_patient: Callable[[int, int], int], doubted: bool
) -> None:
    for folder, number in ((f, n) for f in range(6) for n in range(2)):
        place = tmp_path / "ward" / f"case{folder}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8), folder + number, np.uint8)
        write(place / f"{number}.dcm", pixels, PatientID=f"P{of_patient(folder, number)}")
    draft = draft_card(tmp_path / "ward")
    assert len(draft.content["classes"]) == 6
    assert ("each folder that was opened holds one patient" in " ".join(draft.splits)) == doubted
    rows = "\n".join(f"case{folder},{'ab'[folder % 2]}" for folder in range(6))
    (tmp_path / "ward" / "labels.csv").write_text(f"case,label\n{rows}\n")
    assert draft_card(tmp_path / "ward").content["classes"] == ["a", "b"]
