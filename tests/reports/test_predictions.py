"""The table of predictions: every score of a run, one line per test image."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.influence_input import StoredPredictions
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.pages.board import BoardRequest
from mednet_bench.reports.pages.error_sheet import mean_loss
from mednet_bench.reports.pages.predictions_csv import label_text, predictions_csv


def table(folder: Path, *wanted: object) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(predictions_csv(folder, BoardRequest(*wanted))))  # type: ignore[arg-type]


@pytest.mark.parametrize("folds", [0, 5])
def test_scores_and_labels_are_those_of_the_archives(tmp_path: Path, folds: int):
    write_run(tmp_path, Grid(tasks=("breastmnist",), fractions=(0.1, 1.0), folds=folds))
    found = table(tmp_path, (), (1.0,))
    assert len(found) == 300 and set(found.fraction) == {1.0} and set(found.split) == {"test"}
    results = load_report_input([tmp_path])
    row = next(r for r in results.rows if (r.init, r.fraction) == ("scratch", 1.0))
    kept = [RecordStore(tmp_path).read_predictions(key) for key in row.keys[2].split("+")]
    scores = np.concatenate([part["scores"] for part in kept]).astype(float)
    labels = np.concatenate([part["labels"] for part in kept]).astype(int)
    order = np.argsort(np.concatenate([part["rows"] for part in kept])) if folds else slice(None)
    np.testing.assert_allclose(found["scratch seed 2"], scores[order, 1], rtol=1e-6)
    assert found.label.tolist() == np.array(["benign", "malignant"])[labels[order]].tolist()
    if folds:
        assert found.patient.tolist() == (np.arange(300) // 2).tolist()
        parts = [part for _, part in found.groupby("fold of seed 2")]
        auc = [roc_auc_score(part.label, part["scratch seed 2"]) for part in parts]
        stored = results.scores_of("auc")[row.keys[2]]
        assert len(auc) == folds and np.mean(auc) == pytest.approx(stored, abs=1e-5)
    assert ("fold of seed 0" in found) == bool(folds)


def test_an_absent_fraction_is_refused_and_a_file_is_not_replaced(tmp_path: Path):
    write_run(tmp_path / "run", Grid(tasks=("breastmnist",), fractions=(1.0,), seeds=(0,)))
    with pytest.raises(UserError, match=r"no result with --fraction 0\.2"):
        table(tmp_path / "run", (), (0.2,))
    path, called = tmp_path / "p.csv", ["predictions", str(tmp_path / "run"), "--to", str(tmp_path / "p.csv")]
    CliRunner().invoke(cli, called, standalone_mode=False, catch_exceptions=False)
    written = path.read_text()
    with pytest.raises(UserError, match="--force"):
        CliRunner().invoke(cli, called, standalone_mode=False, catch_exceptions=False)
    path.write_text("")
    CliRunner().invoke(cli, [*called, "--force"], standalone_mode=False, catch_exceptions=False)
    assert path.read_text() == written


def test_several_labels_are_joined():
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert label_text(labels, ("a", "=b", "c")).tolist() == ["a|c", "", "'=b"]


def test_the_loss_is_of_what_is_right():
    one = StoredPredictions(np.array([1, 0]), np.array([[0.75, 0.25], [0.75, 0.25]]))
    two = StoredPredictions(np.array([1, 0]), np.array([[0.5, 0.5], [1.0, 0.0]]))
    loss, right = mean_loss([one, two])
    np.testing.assert_allclose(loss, [1.5 * np.log(2), np.log(4 / 3) / 2])
    np.testing.assert_allclose(right, [0.375, 0.875])
    several = StoredPredictions(np.array([[1, 0]]), np.array([[0.5, 0.5]]))
    np.testing.assert_allclose(mean_loss([several])[0], [np.log(2)])
