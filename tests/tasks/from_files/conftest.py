"""Fixtures of tasks from files: a ward of DICOM files, and a separate cache."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "readers")]  # for `cards`, and for `dicoms`

from cards import CARD  # noqa: E402

TABLE = '[files]\ntable = "labels.csv"\npatient_column = "patient"\n'
HEAD = ("path", "label", "patient", "sex")
Rows = list[list[str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    """40 DICOM files of 20 patients in a folder each, with a table; every name is the planted identifier."""
    from dicoms import SECRET, write

    folder, rng, rows = tmp_path / "ward", np.random.default_rng(0), []
    for patient in range(20):
        (folder / f"{SECRET}{patient}").mkdir(parents=True)
        for number in range(2):
            values = rng.integers(0, 300, (40, 32)).astype(np.int16)
            values[5:15] += 400 * (patient % 2)
            path = f"{SECRET}{patient}/{SECRET}-{number}.dcm"
            write(folder / path, values, PatientID=f"{SECRET}-{patient}")
            label, sex = ("healthy", "ill")[patient % 2], ("F", "M")[patient // 10]
            rows.append([path, label, f"{SECRET}-{patient}", sex])
    save(folder, rows)
    (folder / "ward.toml").write_text(CARD + 'subgroups = ["sex"]\n' + TABLE)
    return folder


def save(folder: Path, rows: Rows) -> None:
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])


@pytest.fixture
def changed(ward: Path) -> Callable[[Callable[[Rows], object]], Path]:
    """Change the rows of the table; returns the card."""

    def change(edit: Callable[[Rows], object]) -> Path:
        with (ward / "labels.csv").open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        edit(rows)
        save(ward, rows)
        return ward / "ward.toml"

    return change
