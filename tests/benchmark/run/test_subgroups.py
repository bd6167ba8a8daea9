"""From an npz with a column to the report: a real run on generated images."""

import csv
from pathlib import Path

import numpy as np
import pytest
from processes import CommandLine

from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.task import DataLocations

CARD = """name = "nodules"
title = "Generated nodules with a column"
kind = "binary"
classes = ["none", "nodule"]
modality = "x-ray"
variant = "gray"
source_group = "nodules"
parents = []
license = "none"
citation = "none"
path = "nodules.npz"
subgroups = ["scanner"]
"""
RUN = ["run", "--tasks", "nodules", "--task-file", "nodules.toml", "--inits", "imagenet,scratch"]
RUN += ["--protocols", "linear", "--fractions", "1.0", "--seeds", "0..1", "--input-size", "32"]
RUN += ["--device", "cpu", "--out", "run"]


def write(folder: Path, scanner: np.ndarray | None = None) -> np.ndarray:
    """Write images, every second replaced by noise of scanner "old"; return the column."""
    splits = catalog(DataLocations())["phantom-nodule"].source.load(28, DataLocations())
    rng, content = np.random.default_rng(0), {}
    for name, split in splits.items():
        old = np.arange(len(split)) % 2 == 1
        noisy = rng.integers(0, 256, split.images.shape, np.uint8)
        content[f"{name}_images"] = np.where(old[:, None, None], noisy, split.images)
        content[f"{name}_labels"] = split.labels
        content[f"{name}_scanner"] = np.where(old, "old", "new")
    content |= {} if scanner is None else {"test_scanner": scanner}
    np.savez_compressed(folder / "nodules.npz", **content)
    (folder / "nodules.toml").write_text(CARD)
    return content["test_scanner"]


@pytest.mark.slow
def test_a_scanner_that_drowns_the_picture_is_found_by_the_report(mednet_bench: CommandLine, tmp_path: Path):
    scanner = write(tmp_path)
    mednet_bench.succeed(*RUN)
    store = RecordStore(tmp_path / "run")
    for record in store.read_all():
        if record.cell.step == "score":
            np.testing.assert_array_equal(store.read_predictions(record.key)["column scanner"], scanner)
    lines = list(csv.DictReader((tmp_path / "run" / "report" / "subgroups.csv").open(newline="")))
    found = {(e["init_a"], e["subgroup"]): float(e["value"]) for e in lines if e["quantity"] == "auc"}
    assert found["imagenet", "old"] + 0.1 < found["imagenet", "new"]  # 0.43 and 0.66
    gaps = {e["subgroup"] for e in lines if e["quantity"] == "gap" and e["init_a"] == "imagenet"}
    assert gaps == {"old < new"}
    assert "Does pretraining help everyone alike?" in (tmp_path / "run/report/report.md").read_text()


@pytest.mark.slow
def test_an_identifier_is_refused_before_anything_is_computed(mednet_bench: CommandLine, tmp_path: Path):
    n = len(write(tmp_path))
    write(tmp_path, np.array([f"patient {number}" for number in range(n)]))
    ended = mednet_bench(*RUN)
    assert ended.returncode == 2 and "an identifier is no subgroup" in ended.stderr
    assert "patient 1" not in ended.stderr and not list((tmp_path / "run").glob("records/*"))
