"""DICOM folders, NIfTI volumes and the Imaging Data Commons as sources of a corpus."""

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from dicoms import write

from mednet_bench.benchmark.corpus.source import ReadProblem, SourceCard, SourceItem
from mednet_bench.benchmark.corpus.sources.dicom import open_dicom
from mednet_bench.benchmark.corpus.sources.idc import DONE, open_collection
from mednet_bench.benchmark.corpus.sources.nifti import open_nifti
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.task import DataLocations

FACTS: dict[str, Any] = {"variant": "gray", "modality": "ct", "license": "CC0", "source_group": "x"}


def slices(root: Path) -> None:
    """Write two patients with two series of six files each, numbered against the order of their names."""
    for patient in range(2):
        for series in range(2):
            for at in range(6):
                place = root / ("left", "right")[patient] / f"S{series}" / f"IM{5 - at}"
                place.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full((20, 20), 100 * patient + 10 * series + at, np.uint8)
                uids = {"StudyInstanceUID": f"1.{patient}", "SeriesInstanceUID": f"1.{patient}.{series}"}
                more = {"Modality": ("CT", "MR")[series], "InstanceNumber": at}
                write(place, pixels, PatientID=f"P{patient}", **uids, **more)


def read(card: SourceCard, root: Path) -> tuple[list[SourceItem], list[ReadProblem]]:
    """Read all of a source, as another process would."""
    import pickle

    opened = open_dicom(card, root) if card.kind == "dicom" else open_nifti(card, root)
    copy = pickle.loads(pickle.dumps(opened))
    found = [each for unit in copy.units() for each in copy.read(unit)]
    items = [each for each in found if isinstance(each, SourceItem)]
    return items, [each for each in found if isinstance(each, ReadProblem)]


def seen(items: list[SourceItem]) -> list[tuple[int, int, str]]:
    """Return (what the image shows, label, group) of each."""
    return [(int(item.pixels[0, 0]), item.label[0], item.group) for item in items]


def test_series_and_slices_are_capped_evenly_and_labels_are_folders(tmp_path: Path) -> None:
    slices(tmp_path)
    card = SourceCard(name="x", kind="dicom", slices_per_series=2, series_per_patient=1, **FACTS)
    items, problems = read(card, tmp_path)
    # of series 0 and 1 the middle of two is 1; of slices 0 to 5 those in the middle of each half
    assert sorted(seen(items)) == [(11, 0, "P0"), (14, 0, "P0"), (111, 1, "P1"), (114, 1, "P1")]
    assert problems == []


def test_without_labels_every_series_is_taken_within_the_caps(tmp_path: Path) -> None:
    slices(tmp_path)
    (tmp_path / "left" / "broken.dcm").write_bytes(b"\x08\0" + b"x" * 500)
    card = SourceCard(name="x", kind="dicom", labels="none", slices_per_series=1, **FACTS)
    items, problems = read(card, tmp_path)
    assert sorted(seen(items)) == [(3, -1, "P0"), (13, -1, "P0"), (103, -1, "P1"), (113, -1, "P1")]
    assert [each.name for each in problems] == ["left/broken.dcm"]


def test_labels_come_from_a_header_field(tmp_path: Path) -> None:
    slices(tmp_path)
    card = SourceCard(name="x", kind="dicom", labels_from="Modality", slices_per_series=1, **FACTS)
    items, _ = read(card, tmp_path)
    assert sorted(seen(items)) == [(3, 0, "P0"), (13, 1, "P0"), (103, 0, "P1"), (113, 1, "P1")]
    with pytest.raises(UserError, match="'PatientName' is neither 'folder', nor a header field"):
        open_dicom(SourceCard(name="x", kind="dicom", labels_from="PatientName", **FACTS), tmp_path)


@pytest.mark.parametrize(
    ("column", "keys"),
    [("SeriesInstanceUID", ["1.0.0", "1.1.0"]), ("study", ["1.0", "1.1"]), ("patient_id", ["P0", "P1"])],
)
def test_labels_come_from_a_table_by_any_key(tmp_path: Path, column: str, keys: list[str]) -> None:
    slices(tmp_path / "scans")
    rows = [f"{column},label", f"{keys[0]},benign", f"{keys[1]},malignant"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    card = SourceCard(name="x", kind="dicom", path="scans", labels_from="labels.csv", **FACTS)
    items, problems = read(card, tmp_path)
    assert {item.label: item.group for item in items} == {(0,): "P0", (1,): "P1"}
    if column == "SeriesInstanceUID":  # series missing from the table are reported and counted
        assert len(items) == 12
        assert {each.reason for each in problems} == {"its series has no label in the table"}
        assert len(problems) == 12
    else:
        assert len(items) == 24 and problems == []


def test_what_is_broken_is_a_problem_and_what_is_no_dicom_is_left_out(tmp_path: Path) -> None:
    slices(tmp_path)
    (tmp_path / "left" / "broken.dcm").write_bytes(b"\x08\0" + b"x" * 500)
    (tmp_path / "left" / "notes.txt").write_text("hello")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    write(tmp_path / "lost.dcm", np.zeros((20, 20), np.uint8))
    items, problems = read(SourceCard(name="x", kind="dicom", **FACTS), tmp_path)
    assert len(items) == 24
    assert {each.name: each.reason for each in problems}.keys() == {"left/broken.dcm", "lost.dcm"}
    assert problems[-1].reason == "it lies in no folder that is a class"


def test_a_table_that_contradicts_itself_or_names_one_class_is_refused(tmp_path: Path) -> None:
    slices(tmp_path / "scans")
    card = SourceCard(name="x", kind="dicom", path="scans", labels_from="labels.csv", **FACTS)
    for rows, words in {
        "patient,label\nP0,a\nP0,b": "line 3: this patient has another label above",
        "patient,label\nP0,a\nP1,a": "name 1 of its classes, and at least two are needed",
        "person,label\nP0,a\nP1,b": "has no column .* among its 2: name it",
        "patient,label\nP0,a,b\nP1,b": "line 2: its cells are not those of the header",
    }.items():
        (tmp_path / "labels.csv").write_text(rows)
        with pytest.raises(UserError, match=words):
            open_dicom(card, tmp_path)
    with pytest.raises(UserError, match="which does not exist: correct 'path'"):
        open_dicom(SourceCard(name="x", kind="dicom", path="nowhere", **FACTS), tmp_path)


def test_volumes_become_slices_that_share_a_group(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scan.json").write_text("{}")
        volume = np.random.default_rng(0).integers(0, 99, (20, 20, 8)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 5, 1])), tmp_path / name / "scan.nii.gz")
    items, problems = read(SourceCard(name="x", kind="nifti", slices_per_series=3, **FACTS), tmp_path)
    assert [(item.label, item.group) for item in items] == [
        *[((0,), "a/scan.nii.gz")] * 3, *[((1,), "b/scan.nii.gz")] * 3,
    ]  # fmt: skip
    assert problems == []


@pytest.fixture
def commons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace idc-index 0.13 and its index; returns the downloads that were asked for."""
    row = {
        "collection_id": "toy", "SeriesInstanceUID": "1", "PatientID": "P0", "Modality": "CT",
        "BodyPartExamined": "CHEST", "instanceCount": 6, "license_short_name": "CC BY 4.0",
        "series_size_MB": 1500.0, "analysis_result_id": None,
    }  # fmt: skip
    other = {**row, "SeriesInstanceUID": "2", "PatientID": "P1", "Modality": "MR", "series_size_MB": 1000.0}
    derived = {**row, "Modality": "SEG", "analysis_result_id": "somebody"}
    flat = {**row, "collection_id": "flat"}
    pd.DataFrame([row, other, derived, flat]).to_parquet(tmp_path / "index.parquet")
    asked: list[dict[str, Any]] = []

    class IDCClient:
        def download_from_selection(self, **arguments: Any) -> None:
            asked.append(arguments)
            slices(Path(arguments["downloadDir"]))

    for name, facts in {
        "idc_index": {"IDCClient": IDCClient},
        "idc_index_data": {"IDC_INDEX_PARQUET_FILEPATH": tmp_path / "index.parquet"},
    }.items():
        module = ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(facts)
        monkeypatch.setitem(sys.modules, name, module)
    return asked


def test_a_collection_is_planned_and_downloaded_only_after_a_yes(
    tmp_path: Path, commons: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    places = DataLocations(roots=(tmp_path,))
    with pytest.raises(UserError, match=r"Nothing was downloaded of idc:toy: repeat with --yes .* 2.5 GB"):
        open_collection("toy", places, False)
    report = capsys.readouterr().err
    assert "CT: 1 series of 1 patients, 6 files, 1.5 GB" in report and "SEG" not in report
    assert f"--collection-id toy --analysis-results exclude --download-dir {tmp_path}" in report
    with pytest.raises(UserError, match="downloads are switched off"):
        open_collection("toy", DataLocations(roots=(tmp_path,), download=False), True)
    assert commons == []
    source = open_collection("toy", places, True)
    assert [each["collection_id"] for each in commons] == ["toy"]
    assert source.facts.classes == ("CT", "MR") and source.facts.license == "CC BY 4.0"
    assert (tmp_path / "idc" / "toy" / DONE).exists()
    open_collection("toy", places, False)  # it is there: nothing is asked
    assert len(commons) == 1


def test_a_collection_of_one_kind_or_unknown_is_refused(
    tmp_path: Path, commons: list[dict[str, Any]]
) -> None:
    with pytest.raises(UserError, match="one body part and one modality"):
        open_collection("flat", DataLocations(roots=(tmp_path,)), True)
    with pytest.raises(UserError, match="did you mean 'tcga_luad'"):
        open_collection("tcga_luat", DataLocations(roots=(tmp_path,)), True)


def test_without_the_package_the_catalog_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "idc_index" else find(name, *rest)
    )
    result = CliRunner().invoke(
        cli, ["corpus", "build", str(tmp_path / "out"), "--variant", "gray", "idc:rider_pilot"]
    )
    said = str(result.exception)
    assert isinstance(result.exception, UserError)
    assert "pip install mednet-bench[idc]" in said and "CT: " in said and " GB" in said
