"""Results by patient and clinical measures, against scikit-learn on the exported table."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score, roc_curve
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import RecordStore, SplitOverlap
from mednet_bench.benchmark.training.patient_level import aggregate_by_patient
from mednet_bench.benchmark.training.thresholds import RULES
from mednet_bench.cli.main import cli
from mednet_bench.reports.analysis.clinical import clinical_lines
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.patients import patient_results
from mednet_bench.reports.analysis.verdicts import compute_verdicts
from mednet_bench.reports.pages.board import BoardRequest
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.pages.predictions_csv import predictions_csv
from mednet_bench.reports.sections.clinical import clinical_section
from mednet_bench.reports.statistics.operating_points import estimate, share_interval

PATIENTS = np.repeat(np.arange(100), 3)
THRESHOLD = 0.4


def write(folder: Path, how: str = "mean", folds: int = 0) -> pd.DataFrame:
    """Write a run with patients, a subgroup column and thresholds; return its exported predictions."""
    grid = Grid(tasks=("breastmnist",), inits=("imagenet", "scratch"), fractions=(1.0,), folds=folds)
    store = RecordStore(folder)
    for record in write_run(folder, grid):
        if record.cell.step == "score" and record.task:
            task = msgspec.structs.replace(record.task, patient_score=how)
            chosen = {rule: {"malignant": THRESHOLD} for rule in RULES}
            changed = {"task": task, "thresholds": {"image": chosen, "patient": chosen}}
            store.path(record.key).write_bytes(
                msgspec.json.encode(msgspec.structs.replace(record, **changed))
            )
            kept = store.read_predictions(record.key)
            if not folds:
                sex = np.where(PATIENTS % 2 == 0, "F", "M")
                more = kept | {"groups": PATIENTS, "column sex": sex}
                np.savez(store.predictions_of(record.key), **more)  # type: ignore[arg-type]
    return pd.read_csv(io.StringIO(predictions_csv(folder, BoardRequest())))


def by_patient(table: pd.DataFrame, column: str, how: str) -> tuple[np.ndarray, np.ndarray]:
    groups = table.assign(positive=table.label == "malignant").groupby("patient")
    return groups.positive.max().to_numpy(), groups[column].agg(how).to_numpy()


@pytest.mark.parametrize("how", ["mean", "max"])
def test_measures_by_patient_are_those_of_scikit_learn_on_the_table(tmp_path: Path, how: str):
    table = write(tmp_path, how)
    results = load_report_input([tmp_path])
    lines = {(line.row.init, line.unit): line for line in clinical_lines(results)}
    line, wanted = lines["scratch", "patient"], []
    for seed in range(3):
        truth, scores = by_patient(table, f"scratch seed {seed}", how)
        alarms, hits, _ = roc_curve(truth, scores, drop_intermediate=False)
        tn, fp, fn, tp = confusion_matrix(truth, scores >= THRESHOLD).ravel()
        wanted.append(
            [
                roc_auc_score(truth, scores), average_precision_score(truth, scores),
                hits[alarms <= 0.1 + 1e-12].max(), 1 - alarms[hits >= 0.9 - 1e-12].min(),
                hits[alarms <= 0.05 + 1e-12].max(), 1 - alarms[hits >= 0.95 - 1e-12].min(),
                tp, fp, fn, tn, tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn),
            ]
        )  # fmt: skip
    found = [each.value for each in line.ranking.values()] + list(line.confusion)
    found += [each.value for each in line.calls["youden"].values()]
    np.testing.assert_allclose(found, np.mean(wanted, axis=0), rtol=1e-6)
    assert (line.positives + line.negatives, lines["scratch", "image"].positives) == (
        100, (table.label == "malignant").sum(),
    )  # fmt: skip
    for name, each in line.ranking.items():
        few = " at " in name and np.isnan(each.low)  # a fixed value that allows few errors
        assert few or (each.low <= each.value <= each.high and each.low < each.high)
    subgroup = {each.value: each for each in line.subgroups}["F"]
    assert subgroup.positives + subgroup.negatives == 50
    by_patients = patient_results(results)
    assert by_patients
    (verdict,) = compute_verdicts(by_patients.results)
    pairs = [
        [roc_auc_score(*by_patient(table, f"{init} seed {s}", how)) for s in range(3)]
        for init in ("imagenet", "scratch")
    ]
    assert verdict.difference == pytest.approx(np.mean(np.subtract(pairs[0], pairs[1])), abs=1e-6)
    assert verdict.n_test == 100 and compute_verdicts(results)[0].n_test == 300


def test_folds_are_compared_within_themselves_by_patient(tmp_path: Path):
    table = write(tmp_path, folds=3)
    by_patients = patient_results(load_report_input([tmp_path]))
    assert by_patients
    (verdict,) = compute_verdicts(by_patients.results)
    assert verdict.n_test == 150 and not verdict.barred
    store, seeds = RecordStore(tmp_path), []
    for key in verdict.b.keys:
        aucs = []
        for fold in map(store.read_predictions, key.split("+")):
            rows = table.loc[table.image.isin(fold["rows"])]
            seed = verdict.b.seeds[len(seeds)]
            aucs.append(roc_auc_score(*by_patient(rows, f"scratch seed {seed}", "mean")))
        seeds.append(np.mean(aucs))
    assert verdict.b.stats["auc"].mean == pytest.approx(np.mean(seeds), abs=1e-6)


def test_patients_of_several_classes_are_left_out_where_no_class_is_higher():
    labels, scores = np.array([0, 1, 2, 2, 1]), np.eye(3)[[0, 1, 2, 2, 1]]
    groups = np.array([7, 7, 9, 9, 4])
    found = aggregate_by_patient("multiclass", labels, scores, groups)
    assert (found.left_out, found.labels.tolist(), found.first.tolist()) == (1, [1, 2], [4, 2])
    assert aggregate_by_patient("ordinal", labels, scores, groups).labels.tolist() == [1, 1, 2]


def test_the_report_says_it_by_patient_and_at_a_stated_prevalence(tmp_path: Path):
    write(tmp_path)
    out = tmp_path / "page"
    asked = ["report", str(tmp_path), "--to", str(out), "--prevalence", "0.02"]
    CliRunner().invoke(cli, asked, standalone_mode=False, catch_exceptions=False)
    text = (out / "report.md").read_text()
    assert "## By patient" in text and "## Clinical measures" in text and "prevalence of 2\u00a0%" in text
    assert re.search(r"^[A-Z][^`]*\. `--[a-z][^`]+`$", text, re.MULTILINE), (
        "the next step, and its options as code"
    )
    (line,) = csv.DictReader((out / "verdicts_by_patient.csv").open(newline=""))
    assert line["n_test"] == "100"
    found = clinical_lines(load_report_input([tmp_path]))[0]
    share, calls = found.positives / (found.positives + found.negatives), found.calls["youden"]
    assert found.prevalence == share
    stated = clinical_lines(replace(load_report_input([tmp_path]), prevalence=0.02))[0].calls["youden"]
    assert stated["sensitivity"] == calls["sensitivity"] and stated["PPV"].value < calls["PPV"].value


def test_a_fixed_value_that_allows_too_few_errors_in_a_fold_has_no_interval(tmp_path: Path):
    write(tmp_path, folds=3)  # some 25 patients of each side in a fold: 2.5 at 0.90, and 1.25 at 0.95
    for line in clinical_lines(load_report_input([tmp_path])):
        known = {name: not np.isnan(found.low) for name, found in line.ranking.items()}
        assert not any(np.isnan(found.value) for found in line.ranking.values())
        assert known["auc"] and known["average precision"]
        assert not known["sensitivity at specificity 0.95"] and not known["specificity at sensitivity 0.95"]


def test_records_without_thresholds_keep_the_curves(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), inits=("scratch",), fractions=(1.0,)))
    (line,) = clinical_lines(load_report_input([tmp_path]))
    assert not line.calls and len(line.ranking) == 6
    text = build_report([tmp_path]).markdown.read_text()
    assert "no threshold from validation" in text and "By patient" not in text.split("Clinical measures")[0]


def test_a_share_without_exception_has_the_exact_interval():
    found = estimate(np.ones(100), 10)
    assert (found.value, found.high) == (1.0, 1.0) and found.low == pytest.approx(0.6915, abs=1e-4)
    assert np.isnan(estimate(np.ones(100), 0).low)


def test_the_interval_of_a_share_is_wilsons_and_does_not_shrink_where_networks_nearly_agree():
    low, high = share_interval(0.9, 0.9 * 0.1 / 40, 40)
    for end in (low, high):
        assert abs(0.9 - end) == pytest.approx(stats.t.ppf(0.975, 39) * np.sqrt(end * (1 - end) / 40))
    exact = share_interval(1.0, 0.0, 10)
    nearly = share_interval(0.98, 0.06**2 / 10, 10)  # one of five networks misses one of ten patients
    assert nearly[0] < 0.8 and nearly[0] == pytest.approx(exact[0], abs=0.15)
    assert (
        all(0 < end < 1 for end in share_interval(0.6, 0.0, 12))
        and np.isnan(share_interval(0.6, 0.0, 1)).all()
    )


def test_the_interval_of_a_sensitivity_covers_with_five_networks_and_twenty_patients():
    rng, hits, percentiles = np.random.default_rng(0), 0, 0
    for _ in range(400):
        hard = np.sqrt(0.7) * rng.standard_normal(20)
        called = hard + np.sqrt(0.3) * rng.standard_normal((5, 20)) < stats.norm.ppf(0.9)
        share = called.mean(axis=0)
        draws = rng.multinomial(20, np.full(20, 0.05), 200) @ share / 20
        found = estimate(np.append(share.mean(), draws), 20)
        hits += found.low <= 0.9 <= found.high
        low, high = np.quantile(draws, [0.025, 0.975])
        percentiles += low <= 0.9 <= high
    assert hits / 400 >= 0.94 and percentiles / 400 < 0.93


def test_weights_and_test_sets_that_training_knew_are_marked(tmp_path: Path):
    write(tmp_path)
    store = RecordStore(tmp_path)
    for record in list(store.read_all()):
        if record.cell.step == "score" and record.cell.init == "imagenet" and record.init:
            init = msgspec.structs.replace(record.init, overlap=("breast-source",))
            copies = SplitOverlap(
                test=300, in_train=40, in_val=0, either=40, conflicts=0, val=80, val_in_train=0
            )
            changed = msgspec.structs.replace(record, init=init, copies=copies, content="")
            store.path(record.key).write_bytes(msgspec.json.encode(changed))
    section = clinical_section(load_report_input([tmp_path]))
    assert section
    (part,) = section.parts
    assert any("40 of 300 test images" in text and "too good" in text for text in part.lead)
    notes = [str(entry) for row in part.blocks[0].rows for entry in row]  # type: ignore[union-attr]
    assert any("declared overlap with this task: breast-source" in note for note in notes)
