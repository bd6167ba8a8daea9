"""Of whom an image is: patients are whole wherever one source knows them, and their numbers tell no name."""

import csv
from pathlib import Path

import numpy as np
import pytest
from dicoms import SECRET, write
from pydicom import dcmread

from mednet_bench.benchmark.leakage.groups import known_groups
from mednet_bench.tasks.files.owners import widened
from mednet_bench.tasks.local import local_task
from mednet_bench.tasks.task import Places, Split

HERS = {"PatientID": None, "StudyInstanceUID": None, "SeriesInstanceUID": None}
"""What a header without any key lacks."""
GAPS = {
    "the study leads to the patient": (["P", "S"], ["", "S"], HERS),
    "the header leads to the patient": (["P", "S"], ["", "T"], {}),
    "the header knows more than the study": (["", "S"], ["", "T"], {}),
}


def loaded(ward: Path) -> dict[str, Split]:
    return dict(local_task(ward / "ward.toml").source.load(16, Places()))


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
                told = (f"{cell}-{patient}" if cell else "" for cell in row)
                lines.writerow((path, ("healthy", "ill")[patient % 2], *told))
    card = ward / "ward.toml"
    card.write_text(card.read_text().replace('subgroups = ["sex"]\n', "") + 'study_column = "study"\n')
    groups = [set(split.groups.tolist()) for split in loaded(ward).values() if split.groups is not None]
    assert [len(each) for each in groups] == [12, 4, 4] and len(set.union(*groups)) == 20


def test_numbers_of_studies_that_come_again_join_nobody() -> None:
    assert widened(("A", "B", "", ""), ("1", "1", "1", "2")) == ("A", "B", "1", "2")
    assert widened(("A", "A", "", ""), ("1", "1", "1", "")) == ("A", "A", "A", "")


def test_numbers_of_patients_are_not_in_the_order_of_their_names(ward: Path) -> None:
    """Salted hashes in order are nearly evenly spaced: in the order of names they tell who is who."""
    train = loaded(ward)["train"].groups
    assert train is not None and (np.diff(train) < 0).any(), "rows are in the order of their paths"


def test_a_file_of_nobody_stands_for_itself_and_counts_as_not_known(ward: Path) -> None:
    nobody = f"{SECRET}0/{SECRET}-0.dcm"
    write(ward / nobody, np.stack([dcmread(ward / nobody).pixel_array] * 3), **HERS)
    table = ward / "labels.csv"
    table.write_text(table.read_text().replace(f"{nobody},healthy,{SECRET}-0,", f"{nobody},healthy,,"))
    splits = loaded(ward)
    unknown = [split.groups[split.groups < 0] for split in splits.values() if split.groups is not None]
    assert sorted(map(len, unknown)) == [0, 0, 3], "its frames are in one split"
    (alone,) = np.unique(np.concatenate(unknown))
    assert alone < -1 and sum(len(known_groups(split)) for split in splits.values()) == 39
