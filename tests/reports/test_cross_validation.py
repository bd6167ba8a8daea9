"""Reports on cross-validated runs: the folds of a seed are one score, and their trainings overlap."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats
from synthetic import Grid, cells, record_of, write_run

from mednet_bench.benchmark.schema.plan import Cell, HeldOutSite
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.influence_input import read_predictions, score_evidence
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import fold_keys
from mednet_bench.reports.analysis.subgroups import subgroup_gains
from mednet_bench.reports.analysis.verdicts import Verdict, compute_verdicts
from mednet_bench.reports.elements.format import TIMES
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.pages.verdict_files import verdict_rows
from mednet_bench.reports.sections.problems import problems_section
from mednet_bench.reports.statistics.cross_validation import average_over_folds
from mednet_bench.reports.statistics.families import moderate_differences
from mednet_bench.reports.statistics.influence import macro_auc_influence
from mednet_bench.reports.statistics.metric_influence import brier_influence
from mednet_bench.reports.statistics.paired import overlap_variance, paired_difference

GRID = Grid(
    tasks=("breastmnist",),
    inits=("imagenet", "scratch"),
    protocols=("linear",),
    fractions=(1.0,),
    seeds=(0, 1, 2),
    folds=4,
)


def only_verdict(folder: Path) -> Verdict:
    (found,) = compute_verdicts(load_report_input([folder]))
    return found


def score_by_hand(folder: Path, key: str) -> tuple[float, np.ndarray]:
    """AUC of a repeat, and influence of its 150 patients, by counting pairs of images."""
    values, influence = [], np.zeros(150)
    for fold in key.split("+"):
        kept = np.load(folder / "predictions" / f"{fold}.npz")
        score, positive, patient = kept["scores"][:, 1].astype(float), kept["labels"] == 1, kept["groups"]
        won = (np.sign(score[positive][:, None] - score[~positive]) + 1) / 2
        values.append(won.mean())
        share = np.empty(len(score))
        for side, own in ((positive, won.mean(axis=1)), (~positive, won.mean(axis=0))):
            share[side] = (own - won.mean()) / np.sqrt(len(own) * (len(own) - 1))
        patients = len(np.unique(patient))
        np.add.at(influence, patient, share * np.sqrt(patients / (patients - 1)) / 4)
    return float(np.mean(values)), influence


def test_value_and_interval_are_those_computed_by_hand_from_the_files(tmp_path: Path):
    write_run(tmp_path, GRID)
    found = only_verdict(tmp_path)
    (a, of_a), (b, of_b) = (
        map(np.array, zip(*(score_by_hand(tmp_path, key) for key in row.keys), strict=True))
        for row in (found.a, found.b)
    )
    differences, influence = a - b, of_a - of_b
    once, each = (influence.mean(axis=0) ** 2).sum(), (influence**2).sum(axis=1).mean()
    noise = (each - once) / 2  # of the trainings, in the mean of 3 repeats
    squares = influence.mean(axis=0) ** 2
    freedom = 2 / 3 * min(2 * once**2 / ((squares**2).sum() - once**2 / 150), 149)
    of_images = 2 * each  # every image is a training image, too
    of_repeats = max(differences.var(ddof=1) / 3 - noise, 0)
    half = np.hypot(stats.t.ppf(0.975, freedom) * of_images**0.5, stats.t.ppf(0.975, 2) * of_repeats**0.5)
    assert found.a.stats["auc"].mean == pytest.approx(a.mean(), abs=1e-9)
    assert found.difference == pytest.approx(differences.mean(), abs=1e-9)
    assert found.interval == pytest.approx((found.difference - half, found.difference + half), abs=1e-9)


def test_the_folds_of_a_seed_count_as_one_score_and_all_keys_are_listed(tmp_path: Path):
    records = write_run(tmp_path, GRID)
    results = load_report_input([tmp_path])
    assert [(row.init, row.seeds, row.folds) for row in results.rows] == [
        ("imagenet", (0, 1, 2), 4), ("scratch", (0, 1, 2), 4),
    ]  # fmt: skip
    assert len(results.counted_cells) == len(records) == 24 and len(results.counted) == 6
    listed = [key for row in results.rows for keys in row.keys for key in fold_keys(keys)]
    assert sorted(listed) == sorted(record.key for record in records)
    (line,) = verdict_rows(results)
    assert line["n_seeds"] == 3 and line["protocol"] == "linear (folds=4)"
    assert [len(fold_keys(key)) for key in line["keys_a"].split()] == [4, 4, 4]
    merged = results.counted[0]
    folds = results.cells_of(merged)
    assert [record.cell.view.index for record in folds] == [0, 1, 2, 3]
    for name in ("auc", "accuracy"):
        assert merged.metrics[name] == pytest.approx(np.mean([record.metrics[name] for record in folds]))
    assert merged.counts.test == 300 and merged.seconds == sum(record.seconds for record in folds)


def test_the_estimand_names_partitions_and_other_training_sets(tmp_path: Path):
    write_run(tmp_path, GRID)
    assert only_verdict(tmp_path).estimand == (
        "other groups of test images, other trainings with their tuning, "
        "other partitions and, approximately, other training sets of this size"
    )


def test_repeats_that_lack_a_fold_are_left_out_and_named(tmp_path: Path):
    def is_fold(cell: Cell, seed: int, index: int) -> bool:
        return cell.init == "scratch" and (cell.seed, cell.view.index) == (seed, index)

    grid = replace(
        GRID,
        seeds=(0, 1, 2, 3),
        fail=lambda cell: is_fold(cell, 0, 1),
        skip=lambda cell: is_fold(cell, 1, 2) or is_fold(cell, 1, 3),
    )
    write_run(tmp_path, grid)
    results = load_report_input([tmp_path])
    assert {row.init: row.seeds for row in results.rows} == {"imagenet": (0, 1, 2, 3), "scratch": (2, 3)}
    assert {(each.cell.seed, each.lacking) for each in results.incomplete} == {(0, (1,)), (1, (2, 3))}
    assert sorted((item.cell.seed, item.reason) for item in results.missing) == [
        (0, "failed"), (1, "not run yet"), (1, "not run yet"),
    ]  # fmt: skip
    (found,) = compute_verdicts(results)
    assert found.seeds == (2, 3) and found.has("unpaired")
    section = problems_section(results)
    tables = {table.caption.partition(":")[0]: table for part in section.parts for table in part.blocks}
    repeats = next(table for caption, table in tables.items() if "lack folds" in caption)
    assert [row[-2:] for row in repeats.rows] == [("0", "2"), ("1", "3, 4")]
    assert any("1 (fold 3), 1 (fold 4)" in row for table in tables.values() for row in table.rows)


def test_the_report_says_of_which_folds_and_repeats_a_score_is_the_mean(tmp_path: Path):
    write_run(tmp_path, replace(GRID, protocols=("finetune",)))
    for record in RecordStore(tmp_path).read_all():
        path = RecordStore(tmp_path).predictions_of(record.key)
        arrays = dict(np.load(path))
        np.savez(path, **arrays, **{"column sex": np.where(arrays["groups"] % 2, "f", "m")})
    built = build_report([tmp_path], tmp_path / "report")
    assert f"mean over 4 folds {TIMES} 3 repeats" in built.html.read_text()
    gains = subgroup_gains(built.results)
    images = {"f": 150, "m": 150}
    assert {gain.stratum.value: gain.stratum.images for gain in gains} == images
    part = gains[0].stratum
    by_hand = []
    for key in (fold for keys in part.row.keys for fold in fold_keys(keys)):
        kept = np.load(tmp_path / "predictions" / f"{key}.npz")
        chosen = kept["column sex"] == part.value
        positive, score = kept["labels"][chosen] == 1, kept["scores"][chosen, 1].astype(float)
        by_hand.append((np.sign(score[positive][:, None] - score[~positive]).mean() + 1) / 2)
    assert part.auc == pytest.approx(np.mean(by_hand)) and part.part.cross_validated


def test_cross_validated_and_ordinary_rows_never_mix(tmp_path: Path):
    write_run(tmp_path, GRID)
    write_run(tmp_path, replace(GRID, folds=0))
    results = load_report_input([tmp_path])
    assert {row.protocol: row.folds for row in results.rows} == {"linear": 0, "linear (folds=4)": 4}
    assert {(v.a.protocol, v.b.protocol) for v in compute_verdicts(results)} == {
        ("linear", "linear"), ("linear (folds=4)", "linear (folds=4)"),
    }  # fmt: skip


def test_a_damaged_fold_leaves_no_verdict(tmp_path: Path):
    write_run(tmp_path, GRID)
    key = load_report_input([tmp_path]).fold_records
    broken = next(iter(key.values()))[1].key
    RecordStore(tmp_path).predictions_of(broken).write_bytes(b"no archive")
    results = load_report_input([tmp_path])
    assert results.damaged == {broken}
    (found,) = compute_verdicts(results)
    assert found.verdict == "undecided" and found.has("no-evidence")


def test_folds_that_share_an_image_or_lack_rows_cannot_be_read(tmp_path: Path):
    paths = [tmp_path / "0.npz", tmp_path / "1.npz"]
    arrays = {"labels": np.arange(4) % 2, "scores": np.ones((4, 2), dtype=np.float32)}
    np.savez(paths[0], **arrays, rows=np.array([6, 0, 2, 4]))
    np.savez(paths[1], **arrays, rows=np.array([1, 3, 5, 7]))
    read = read_predictions(paths)
    assert read and read.folds.tolist() == [0, 1] * 4 and read.labels.tolist() == [1, 0, 0, 1, 1, 0, 0, 1]
    np.savez(paths[1], **arrays, rows=np.array([1, 3, 5, 0]))
    assert read_predictions(paths) is None
    np.savez(paths[1], **arrays)
    assert read_predictions(paths) is None


def test_inits_on_other_folds_are_not_compared(tmp_path: Path):
    write_run(tmp_path, GRID)
    store = RecordStore(tmp_path)
    results = load_report_input([tmp_path])
    first, second, *_ = (fold.key for fold in results.fold_records[results.rows[0].keys[0]])
    one, two = (dict(np.load(store.predictions_of(key))) for key in (first, second))
    patient = one["groups"][0]
    for name in one:  # moves one patient, whose scores then change the AUC of both folds
        moved = one["groups"] == patient
        two[name] = np.concatenate([two[name], one[name][moved]])
    kept = one["groups"] != patient
    one = {name: values[kept] for name, values in one.items()}
    for key, arrays in ((first, one), (second, two)):
        record = store.read(key)
        truth = arrays["labels"][:, None] == np.arange(2)
        auc = macro_auc_influence(truth[:, 1:], arrays["scores"][None, :, 1:].astype(float))[0]
        store.write(msgspec.structs.replace(record, metrics=record.metrics | {"auc": float(auc[0])}), arrays)
    assert only_verdict(tmp_path).has("not-comparable")


def test_other_views_are_still_refused(tmp_path: Path):
    (cell, *_) = cells(replace(GRID, folds=0))
    site = msgspec.structs.replace(cell, view=HeldOutSite(site="a"))
    RecordStore(tmp_path).write(record_of(site, Grid()))
    with pytest.raises(UserError, match="held-out sites"):
        load_report_input([tmp_path])


def test_a_metric_that_one_fold_lacks_is_undefined(tmp_path: Path):
    records = write_run(tmp_path, GRID)
    first = msgspec.structs.replace(
        records[0], metrics=records[0].metrics | {"auc": None}, undefined={"auc": "one class only"}
    )
    RecordStore(tmp_path).path(first.key).write_bytes(msgspec.json.encode(first))
    results = load_report_input([tmp_path])
    (merged,) = [record for record in results.counted if first.key in record.key]
    assert merged.metrics["auc"] is None and merged.undefined == {"auc": "one class only"}
    assert score_evidence(results)[results.rows[0]].problem


def test_the_mean_over_folds_is_that_of_every_image_in_its_own_fold():
    rng = np.random.default_rng(0)
    truth = np.arange(12)[:, None] % 2 == np.arange(2)
    scores = rng.random((2, 12, 2))
    scores /= scores.sum(axis=2, keepdims=True)
    folds = np.array([np.arange(12) // 4, np.arange(12)[::-1] % 3])

    def compute(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return brier_influence("multiclass", truth, scores)

    values, influence = average_over_folds(compute, truth, scores, folds, None)
    losses = ((scores - truth) ** 2).sum(axis=2)
    assert values == pytest.approx(losses.mean(axis=1))
    in_fold = losses[1][folds[1] == 2]
    assert influence[1][folds[1] == 2] == pytest.approx((in_fold - in_fold.mean()) / np.sqrt(4 * 3) / 3)


def test_the_overlap_of_trainings_doubles_the_variance_of_one_repeat():
    influence = np.random.default_rng(1).standard_normal((3, 200))
    one = [paired_difference(np.zeros(3), influence[[repeat]]).test_variance for repeat in range(3)]
    assert overlap_variance(influence) == pytest.approx(2 * np.mean(one))


def test_noise_of_trainings_on_the_images_is_counted_once():
    rng = np.random.default_rng(2)
    influence = 0.01 * (rng.standard_normal(50) + rng.standard_normal((3, 50)))
    found = paired_difference(rng.random(3), influence, cross_validated=True)
    alike = replace(found, seed_variance=found.repeated_noise)
    assert alike.half_width() == pytest.approx(replace(found, seed_variance=0.0).half_width())
    one, other = moderate_differences([found, replace(found, difference=0.1)])
    assert one.test_variance == found.test_variance and one.prior_freedom > 0
    assert one.repeated_noise == found.repeated_noise and other.half_width() < found.half_width()
    many = found.with_seeds(1000)
    assert many.test_variance == pytest.approx(found.shared_variance, rel=0.05)


def test_more_repeats_do_not_lower_the_error_that_all_of_them_share():
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 0.01, 400), rng.normal(0, 0.03, (3, 400))
    found = paired_difference(rng.normal(0.02, 0.01, 3), shared + own, cross_validated=True)
    assert found.with_seeds(1000).test_variance == found.test_variance
