"""A run on files, exported image by image with the path of each file."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError

RUN = ["--inits", "scratch", "--protocols", "knn", "--fractions", "1.0", "--seeds", "0", "--device", "cpu"]
SIZES = ["--size", "28", "--input-size", "32", "--no-report"]


def command(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False, catch_exceptions=False)
    return result.output


@pytest.mark.parametrize("folds", [0, 4])
def test_each_line_has_the_file_of_its_label_and_patient(ward: Path, tmp_path: Path, folds: int) -> None:
    out, path = tmp_path / "run", tmp_path / "p.csv"
    more = ["--folds", folds]
    command("run", "--tasks", "ward", "--task-file", ward / "ward.toml", *RUN, *SIZES, *more, "--out", out)
    said = command("predictions", out, "--to", path)
    assert "this machine" in said
    sheets = tmp_path / "sheets"
    assert "worst errors (1)" in command("predictions", out, "--to", path, "--force", "--sheets", sheets)
    (sheet,) = sheets.iterdir()
    assert Image.open(sheet).size[0] > 1000 and sheet.name.startswith("ward-scratch-knn")
    with pytest.raises(UserError, match="may be published"):
        command("predictions", out, "--to", path, "--force", "--sheets", out / "report" / "sheets")
    found = pd.read_csv(path)
    with (ward / "labels.csv").open(newline="") as file:
        table = {row["path"]: row for row in csv.DictReader(file)}
    assert len(found) == (40 if folds else 8)
    assert [table[name]["label"] for name in found.file] == found.label.tolist()
    patients = {
        (table[name]["patient"], number) for name, number in zip(found.file, found.patient, strict=True)
    }
    assert len(patients) == found.patient.nunique() == len(found) / 2
    (ward / "ward.toml").unlink()  # the card is gone: the place among the images is left
    assert "no sheet of ward" in command("predictions", out, "--to", path, "--force", "--sheets", sheets)
    gone = pd.read_csv(path)
    assert gone.file.isna().all() and gone.image.tolist() == found.image.tolist()
