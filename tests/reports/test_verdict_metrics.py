"""Verdicts of a run on other metrics than AUC: as `judge` gives them on the same predictions."""

import csv
import io
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from synthetic import Grid, write_run

import mednet_bench as mb
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.training.metrics import METRICS, Predictions
from mednet_bench.cli.main import cli, main
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.longer_scratch import LongerGain
from mednet_bench.reports.analysis.verdicts import compute_verdicts
from mednet_bench.reports.pages.verdict_files import verdicts_csv
from mednet_bench.reports.statistics.metric_influence import JUDGED_METRICS

GRID = Grid(tasks=("breastmnist",), inits=("imagenet", "scratch"), fractions=(1.0,))
SCORE_FLAGS = {"near-ceiling", "no-headroom", "below-chance", "perfect"}


def write_scored(folder: Path, change=lambda cell, scores, labels: scores, groups=None) -> Path:
    """Invent a run of two inits whose records state the metrics of their predictions."""
    store = RecordStore(folder)
    for record in write_run(folder, GRID):
        if record.cell.step != "score":
            continue
        with np.load(store.predictions_of(record.key)) as kept:
            arrays = dict(kept)
        arrays["scores"] = change(record.cell, arrays["scores"], arrays["labels"]).astype(np.float32)
        if groups is not None:
            arrays["groups"] = groups
        np.savez(store.predictions_of(record.key), **arrays)
        truth = arrays["labels"][:, None] == np.arange(2)
        held = Predictions("binary", truth, arrays["scores"].astype(float))
        metrics = record.metrics | {name: METRICS[name](held) for name in JUDGED_METRICS}
        record = msgspec.structs.replace(record, metrics=metrics)
        store.path(record.key).write_bytes(msgspec.json.encode(record))
    return folder


def scores_of(folder: Path, keys: str) -> np.ndarray:
    return np.stack([np.load(folder / "predictions" / f"{key}.npz")["scores"][:, 1] for key in keys.split()])


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("metric", JUDGED_METRICS)
def test_a_verdict_is_that_of_judge_on_the_same_predictions(tmp_path: Path, metric: str, grouped: bool):
    groups = np.arange(300) // 3 if grouped else None
    results = mb.load_results(write_scored(tmp_path, groups=groups))
    (line,) = results.verdicts(metric=metric).to_dict("records")
    labels = np.load(tmp_path / "predictions" / f"{line['keys_a'].split()[0]}.npz")["labels"]
    a, b = (scores_of(tmp_path, line[f"keys_{side}"]).astype(float) for side in "ab")
    found = mb.judge(labels, a, b, metric=metric, groups=groups)
    assert (line["metric"], line["verdict"]) == (metric, found.verdict)
    assert line["difference"] == pytest.approx(found.difference, abs=1e-12)
    assert (line["low"], line["high"]) == pytest.approx(found.interval, abs=1e-12)
    for name in ("p", "p_equivalent", "p_better", "p_within_margin", "p_worse"):
        assert line[name] == pytest.approx(getattr(found, name), abs=1e-12)


def test_the_default_is_the_auc(tmp_path: Path):
    write_scored(tmp_path)
    results = load_report_input([tmp_path])
    assert results.choose_verdict_metric("auc") is results
    plain, chosen = (run_verdicts(tmp_path, *more) for more in ((), ("--metric", "auc")))
    assert plain == chosen and verdicts_csv(results).splitlines() == plain.splitlines()
    assert {row["metric"] for row in csv.DictReader(io.StringIO(plain))} == {"auc"}


def run_verdicts(folder: Path, *more: str) -> str:
    outcome = CliRunner().invoke(cli, ["verdicts", str(folder), "--format", "csv", *more])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def sharpen_scratch(cell, scores, labels):
    """Give random weights almost perfect scores, so that the first of a pair, imagenet, is worse."""
    if cell.init != "scratch":
        return scores
    noise = np.random.default_rng(cell.seed).random(len(labels)) * 0.2
    positive = np.where(labels == 1, 0.75 + noise, 0.05 + noise)
    return np.stack([1 - positive, positive], axis=1)


def test_a_lower_brier_score_is_better(tmp_path: Path):
    results = load_report_input([write_scored(tmp_path, sharpen_scratch)]).choose_verdict_metric("brier")
    (verdict,) = compute_verdicts(results)
    assert (verdict.a.init, verdict.verdict) == ("imagenet", "worse")
    assert verdict.difference > 0 and verdict.interval[0] > 0 and verdict.chances[2] > 0.9
    assert verdict.seen_from("scratch").verdict == "better"
    assert verdict.seen_from("scratch").chances[0] > 0.9


def test_longer_training_that_lowers_the_brier_score_of_scratch_is_an_improvement():
    for gain, name in ((-0.05, "scratch-short"), (0.05, "beats-longer-scratch")):
        longer = LongerGain("scratch", gain, 4.0, (0,), JUDGED_METRICS["brier"])
        flag = longer.flag("imagenet", -0.04, (-0.06, -0.02))
        assert flag.name == name and f"Brier score of scratch by {gain:+.3f}" in flag.reason


def test_flags_on_high_scores_are_about_the_metric_and_not_raised_for_the_brier_score(tmp_path: Path):
    results = load_report_input([write_scored(tmp_path, sharpen_scratch)])
    raised = {
        metric: {
            flag.name
            for verdict in compute_verdicts(results.choose_verdict_metric(metric))
            for flag in verdict.flags
        }
        for metric in JUDGED_METRICS
    }
    for metric in ("auc", "balanced_accuracy", "average_precision"):
        assert raised[metric] & SCORE_FLAGS == {"near-ceiling", "perfect"}
    assert not raised["brier"] & SCORE_FLAGS


def test_models_that_agree_on_a_class_are_not_equivalent_by_balanced_accuracy(tmp_path: Path):
    results = load_report_input([write_scored(tmp_path, agree_but_for_one)], margin=0.009)
    (verdict,) = compute_verdicts(results.choose_verdict_metric("balanced_accuracy"))
    assert verdict.p_equivalent[1] < 0.05
    assert verdict.has("no-disagreement") and verdict.verdict == "undecided"


def agree_but_for_one(cell, scores, labels):
    """Agree on all positives, and with all but one seed on all negatives, of which every second is missed."""
    negatives = np.flatnonzero(labels == 0)
    positive = np.where(labels == 1, 0.9, 0.1)
    positive[negatives[1::2]] = 0.9
    positive[negatives[0]] = 0.9 if (cell.init, cell.seed) == ("scratch", 0) else 0.1
    return np.stack([1 - positive, positive], axis=1)


def test_an_unknown_metric_is_one_sentence_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = write_scored(tmp_path)
    with pytest.raises(UserError, match=r"^There is no metric .* 'briar'; did you mean 'brier'\?$"):
        mb.load_results(folder).verdicts(metric="briar")
    monkeypatch.setattr(sys, "argv", ["mednet-bench", "verdicts", str(folder), "--metric", "briar"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2 and "did you mean 'brier'?" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "json"])
def test_every_format_names_the_metric(tmp_path: Path, format: str):
    write_scored(tmp_path)
    outcome = CliRunner().invoke(cli, ["verdicts", str(tmp_path), "--format", format, "--metric", "brier"])
    assert outcome.exit_code == 0
    text = " ".join(outcome.stdout.split())
    assert "Brier score (lower is better)" in text and "AUC" not in text


def test_a_run_without_predictions_says_so(tmp_path: Path):
    write_scored(tmp_path)
    for path in tmp_path.glob("predictions/*.npz"):
        path.unlink()
    for metric in JUDGED_METRICS:
        (verdict,) = compute_verdicts(load_report_input([tmp_path]).choose_verdict_metric(metric))
        (flag,) = (flag for flag in verdict.flags if flag.name == "no-evidence")
        assert "predictions" in flag.reason and verdict.verdict == "undecided"
