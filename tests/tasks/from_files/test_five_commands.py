"""`task new`, `validate`, `audit leakage`, `run` and `report` need no editor, whatever form the data have."""

import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mednet_bench.cli.main import cli

COUNT, SIDE = 40, 24
COMMANDS = (
    "task new scans",
    "validate scans/scans.toml --size 24 --out check",
    "audit leakage scans/scans.toml --run runs/scans",
    "run --tasks scans/scans.toml --inits scratch --protocols knn --fractions 1.0 --seeds 0 --input-size 32 "
    "--device cpu --out runs/scans",
    "report runs/scans",
)


def levels(number: int) -> np.ndarray:
    image = np.random.default_rng(number).integers(0, 90, (SIDE, SIDE), np.uint8)
    image[4:12] += 90 * (number % 2)
    return image


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels(number)).save(path)


def class_folders(scans: Path) -> None:
    for number in range(COUNT):
        picture(scans / "archive" / f"grade {number % 2 * 8 + 2}" / f"{number}.png", number)
    picture(scans / "archive/__MACOSX/grade 2/x.png", 0)


def split_folders(scans: Path) -> None:
    for number in range(COUNT):
        picture(scans / ("train", "test")[number > 27] / "ab"[number % 2] / f"{number}.png", number)
    (scans / ".git").mkdir()


def ids(scans: Path) -> None:
    for number in range(COUNT):
        picture(scans / "img" / f"x{number:02}.png", number)
    with (scans / "list.csv").open("w", newline="") as file:
        rows = [(f"x{n:02}", ("Yes", "no", "yes", "No")[n % 4], f"p{n // 2}") for n in range(COUNT)]
        csv.writer(file).writerows([("id", "diagnosis", "patient"), *rows])


def excel(scans: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.worksheets[0].append(["file", "findings"])
    for number in range(COUNT):
        picture(scans / f"{number}.png", number)
        book.worksheets[0].append(
            [f"{number}.png", ("nodule; fluid", "fluid", "nodule", "fluid")[number % 4]]
        )
    book.save(scans / "list.xlsx")


def dicoms(scans: Path) -> None:
    """Write an export of an archive below class folders: files without suffix, two of each patient."""
    from dicoms import write

    for number in range(COUNT):
        patient = number // 2
        place = scans / ("healthy", "ill")[patient % 2] / f"P{patient}" / "S1"
        place.mkdir(parents=True, exist_ok=True)
        values = levels(2 * number + patient % 2).astype(np.int16)
        write(place / f"IM{number:06}", values, PatientID=f"P{patient}", StudyInstanceUID=f"1.2.{patient}")
        (place / "DICOMDIR").write_bytes(b"an index")


def bids(scans: Path) -> None:
    lines = ["participant_id\tgroup"]
    for number in range(COUNT // 2):
        path = scans / f"sub-{number:02}/anat/sub-{number:02}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        volume = np.stack([levels(100 * number + number % 2 + 2 * z) for z in range(3)], -1).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
        lines.append(f"sub-{number:02}\t{('control', 'patient')[number % 2]}")
    (scans / "participants.tsv").write_text("\n".join(lines))


FORMS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "class folders in an archive": (class_folders, r"grade 2 .*\ngrade 10 ", r"images +40 at 24 px"),
    "train and test folders": (split_folders, r"images +\d+ +\d+ +12\n", "as the names of the folders say"),
    "ids": (ids, r"No .*\nYes ", r"patients +20 known"),
    "excel": (excel, r"fluid .*\nnodule ", "multilabel"),
    "dicom folders": (
        dicoms,
        r"patients +20 known, 20 with several files",
        r"none, known of 40 of 40 images",
    ),
    "bids": (bids, r"control .*\npatient ", r"images +60 at 24 px"),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_five_commands_and_no_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    make, *words = FORMS[form]
    (tmp_path / "scans").mkdir()
    make(tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    said = ""
    for line in COMMANDS:
        result = CliRunner().invoke(cli, shlex.split(line), standalone_mode=False)
        assert not result.exception and not result.return_value, (line, result.exception, result.output)
        said += result.output
    for word in words:
        assert re.search(word, said), said
    assert "24 px" in said and (tmp_path / "runs/scans/report/report.html").is_file()
