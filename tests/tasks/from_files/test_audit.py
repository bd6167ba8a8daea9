"""Leakage audit of a card of files from the command line, with planted leaks and names."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mednet_bench.cli.main import cli

SPLITS = ("train", "train", "val", "test")


@pytest.fixture
def card(ward: Path) -> Path:
    """28 patients of two images; planted: a copy with another label, a patient in two splits, an even image.

    The scanner is another for the ill.
    """
    from dicoms import SECRET, write

    rng, rows = np.random.default_rng(0), []
    for patient in range(28):
        (ward / f"{SECRET}{patient}").mkdir(exist_ok=True)
        ill = patient // 4 % 2
        for number in range(2):
            values = rng.integers(0, 300, (40, 32)).astype(np.int16)
            values[rng.integers(0, 30) :][:8] += 400
            path = f"{SECRET}{patient}/{SECRET}-{number}.dcm"
            maker = ("ACME", "Zeta")[ill]
            write(ward / path, values, PatientID=f"{SECRET}-{patient}", Manufacturer=maker)
            split = SPLITS[patient % 4]
            rows.append([path, ("healthy", "ill")[ill], f"{SECRET}-{patient}", "F", split])
    rows[1][4] = "test"  # the second image of the first patient
    equal, healthy = ward / f"{SECRET}-equal.dcm", rows[2]  # of patient 1, in train
    equal.write_bytes((ward / healthy[0]).read_bytes())
    rows.append([equal.name, "ill", f"{SECRET}-equal", "F", "test"])
    write(ward / f"{SECRET}-even.dcm", np.full((40, 32), 9, np.int16), Manufacturer="ACME")
    rows.append([f"{SECRET}-even.dcm", "healthy", f"{SECRET}-even", "F", "val"])
    with (ward / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "patient", "sex", "split"), *rows])
    text = (ward / "ward.toml").read_text()
    (ward / "ward.toml").write_text(text + 'split_column = "split"\n')
    return ward / "ward.toml"


def command(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)
    assert not result.exception, result.exception
    return result


def audit(*arguments: object) -> Result:
    return command("audit", "leakage", *arguments)


def test_a_run_says_what_of_the_files_test_shares(card: Path, tmp_path: Path) -> None:
    asked = ["--inits", "scratch", "--protocols", "knn", "--fractions", 1.0, "--seeds", 0, "--device", "cpu"]
    sizes = ["--size", 28, "--input-size", 32, "--out", tmp_path / "run"]
    said = command("run", "--task-file", card, "--tasks", "ward", *asked, *sizes).stderr
    assert "1 of 16 test images stand in train or val, equal in every pixel" in said
    assert "1 of 16 test images are of 1 group that also stands in train or val" in said
    assert "1 of 16" in (tmp_path / "run" / "report" / "report.md").read_text()


def test_what_is_planted_in_files_is_found_and_no_name_goes_out(card: Path, tmp_path: Path) -> None:
    from dicoms import SECRET

    leaky = audit(card, "--size", 28, "--out", tmp_path / "found", "--pictures", 2)
    asked = audit(card, "--size", 28, "--out", tmp_path / "found", "--pictures", 2, "--json", "--strict")
    assert (leaky.return_value, asked.return_value) == (0, 3)
    (found,) = json.loads(asked.stdout)
    assert found["images"] == {"train": 27, "val": 15, "test": 16}
    (group,) = found["exact"]
    assert [split for split, _ in group["places"]] == ["train", "test"] and group["conflict"]
    (shared,) = found["shared"]
    assert {**shared, "known": 0} == {
        "split": "test", "against": "train", "groups": 1, "images": 1, "known": 0
    }  # fmt: skip
    assert {split: len(rows) for split, rows in found["constant"].items()} == {"val": 1}
    hints = {(hint["target"], hint["features"]): hint for hint in found["hints"]}
    header = hints["label", "header fields"]
    assert header["auc"] > 0.9 > header["chance"] and header["p"] == 0.005
    assert hints["label", "image size"]["reason"] == "the same in all images"
    assert "1 group, 1 of 16 images" in " ".join(leaky.stdout.split())
    outputs = [leaky.output, asked.output, leaky.stderr, asked.stderr]
    outputs += [path.read_text() for path in (tmp_path / "found").iterdir()]
    assert len(outputs) == 5
    for text in outputs:
        assert all(name not in text for name in (SECRET, "ACME", str(card.parent))), text
