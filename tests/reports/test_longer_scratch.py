"""A verdict "better than scratch" says whether it survives when scratch is trained longer."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.longer_scratch import LongerGain
from mednet_bench.reports.analysis.verdicts import compute_verdicts
from mednet_bench.reports.statistics.metric_influence import JUDGED_METRICS

GRID = Grid(tasks=("breastmnist",), inits=("imagenet", "scratch"), fractions=(1.0,), seeds=(0, 1, 2, 3, 4))


def predict(record: Record, store: RecordStore, slope: float) -> Record:
    """Give a record predictions whose AUC rises with `slope`."""
    rng = np.random.default_rng(record.cell.seed)
    labels = np.arange(400) % 2
    positive = 1 / (1 + np.exp(-(slope * labels + rng.normal(0, 1, 400))))
    scores = np.stack([1 - positive, positive], axis=1).astype(np.float32)
    metrics = {**record.metrics, "auc": float(roc_auc_score(labels, scores[:, 1]))}
    return store.write(msgspec.structs.replace(record, metrics=metrics), {"labels": labels, "scores": scores})


@pytest.mark.parametrize(
    ("gain", "flag", "said"),
    [
        (0.01, "beats-longer-scratch", "by +0.010 (seeds 0, 1, 2): imagenet is still better"),
        (0.3, "scratch-short", "by +0.300 (seeds 0, 1, 2): imagenet is not shown to be better than that"),
        (None, "", ""),
    ],
)
def test_a_verdict_against_scratch_is_checked_against_its_controls(
    gain: float | None, flag: str, said: str, tmp_path: Path
) -> None:
    store = RecordStore(tmp_path)
    for record in write_run(tmp_path, GRID):
        cell = record.cell
        if cell.step != "score":
            continue
        record = predict(record, store, 2.0 if cell.init == "imagenet" else 0.5)
        if gain is not None and cell.init == "scratch" and cell.seed < 3:
            longer, metrics = msgspec.structs.replace(cell, longer=4.0), {"auc": record.metrics["auc"] + gain}
            store.write(
                msgspec.structs.replace(record, key=f"longer{cell.seed}", cell=longer, metrics=metrics)
            )
    results = load_report_input([tmp_path])
    assert [row.seeds for row in results.rows] == [GRID.seeds] * 2, "controls are in no row"
    (verdict,) = compute_verdicts(results)
    assert verdict.verdict == "better"
    found = {each.name: each.reason for each in verdict.flags if "scratch" in each.name}
    assert list(found) == ([flag] if flag else [])
    assert found.get(flag, "").endswith(said)


def test_a_check_by_image_of_a_verdict_by_patient_says_so():
    gain = LongerGain("scratch", 0.01, 4.0, (0, 1), JUDGED_METRICS["auc"], " by image")
    reason = gain.flag("imagenet", 0.1, (0.05, 0.15)).reason
    assert reason.startswith("4 times the passes change the AUC by image of scratch by +0.010")
