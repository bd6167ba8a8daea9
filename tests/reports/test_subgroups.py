"""Subgroups: planted gaps and gains are found, absent ones are not, and whatever has no AUC says why."""

import csv
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic import Grid, cells, write_run

from mednet_bench.benchmark.schema.records import RecordStore, SplitOverlap
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.subgroups import (
    LESS,
    MORE,
    SHOWN,
    _stratum,
    _Whole,
    split_subgroups,
    subgroup_gains,
    subgroup_gaps,
)
from mednet_bench.reports.analysis.verdicts import BETTER, UNDECIDED
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.sections.subgroups import subgroups_section
from mednet_bench.reports.statistics.influence import auc_influence
from mednet_bench.reports.statistics.multiplicity import adjust_by_holm

GRID = Grid(tasks=("breastmnist",), inits=("mednet", "scratch"), fractions=(1.0,))
IMAGES = 300


def halves(n: int = IMAGES) -> np.ndarray:
    return np.where(np.arange(n) % 2 == 0, "female", "male")


def write(folder: Path, columns: dict[str, np.ndarray], shift=lambda init, labels: 0.0, groups=None) -> Path:
    """Write a run with columns; `shift` moves the logits of an init, image by image, apart or together."""
    records = {r.cell: r for r in write_run(folder, GRID)}
    store = RecordStore(folder)
    for cell in cells(GRID):
        record = records[cell]
        labels, noise, rng = drawn(10 * cell.seed + len(cell.init))
        logits = 1.5 * (labels - 0.5) + noise + 0.3 * rng.standard_normal(IMAGES) + shift(cell.init, labels)
        positive = (1 / (1 + np.exp(-logits))).astype(np.float32)
        auc = auc_influence(labels == 1, positive.astype(float)[None])[0][0]
        arrays = {"labels": labels, "scores": np.stack([1 - positive, positive], axis=1)}
        arrays |= {f"column {name}": values for name, values in columns.items()}
        arrays |= {} if groups is None else {"groups": groups}
        store.write(type(record)(**{**fields(record), "metrics": {"auc": float(auc)}}), arrays)
    return folder


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """All inits see the same images; each seed has a little noise of its own."""
    images = np.random.default_rng(7)
    labels, noise = images.integers(0, 2, IMAGES), images.standard_normal(IMAGES)
    return labels, noise, np.random.default_rng(seed)


def fields(record) -> dict:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def apart(where: np.ndarray, by: float):
    """MedNet tells the classes of the chosen images better."""
    return lambda init, labels: np.where(where, by, 0.0) * (labels - 0.5) * (init == "mednet")


def test_a_planted_gap_and_a_planted_unequal_gain_are_found(tmp_path):
    women = halves() == "female"
    results = load_report_input([write(tmp_path, {"sex": halves()}, apart(women, 2.0))])
    mednet, scratch = subgroup_gaps(results)
    assert mednet.shown == SHOWN and mednet.worst and mednet.worst.value == "male"
    assert mednet.gap and 0 < mednet.gap.low < mednet.gap.size < mednet.gap.high
    assert scratch.gap and scratch.shown == UNDECIDED and scratch.gap.low == 0 < scratch.gap.by_chance
    women, men = subgroup_gains(results)
    assert (women.stratum.value, women.verdict, women.alike) == ("female", BETTER, MORE)
    assert (men.verdict, men.alike) == (UNDECIDED, LESS)
    assert women.extra and men.extra
    assert women.extra.difference == pytest.approx(-men.extra.difference)
    assert women.extra and men.extra
    assert women.extra.difference == pytest.approx(women.difference.difference - men.difference.difference)


def test_on_a_test_set_that_training_knew_no_gap_is_shown(tmp_path):
    folder = write(tmp_path, {"sex": halves()}, apart(halves() == "female", 2.0))
    copies = SplitOverlap(test=300, in_train=300, in_val=0, either=300, conflicts=0, val=40, val_in_train=0)
    for record in load_report_input([folder]).counted:
        changed = type(record)(**{**fields(record), "copies": copies, "content": ""})
        RecordStore(folder).path(record.key).write_bytes(msgspec.json.encode(changed))
    for each in subgroup_gaps(load_report_input([folder])):
        assert each.shown == UNDECIDED and each.gap and each.gap.size > 0
        assert math.isnan(each.gap.low) and math.isnan(each.gap.high)


def test_where_nothing_is_planted_one_cannot_tell(tmp_path):
    results = load_report_input([write(tmp_path, {"sex": halves()})])
    assert {each.shown for each in subgroup_gaps(results)} == {UNDECIDED}
    assert not {MORE, LESS} & {each.alike for each in subgroup_gains(results)}


def test_a_gain_that_is_the_same_for_all_is_no_unequal_gain(tmp_path):
    results = load_report_input([write(tmp_path, {"sex": halves()}, apart(np.ones(IMAGES, bool), 4.0))])
    assert {each.verdict for each in subgroup_gains(results)} == {BETTER}
    assert not {MORE, LESS} & {each.alike for each in subgroup_gains(results)}


def test_the_auc_of_a_subgroup_is_that_of_its_images_alone(tmp_path):
    folder = write(tmp_path, {"sex": halves()})
    results = load_report_input([folder])
    (row, _), (women, _) = next(iter(split_subgroups(results).items()))
    kept = [RecordStore(folder).read_predictions(key) for key in row.keys]
    chosen = halves() == "female"
    by_hand = [
        auc_influence(one["labels"][chosen] == 1, one["scores"][chosen, 1][None].astype(float))[0][0]
        for one in kept
    ]
    assert women.auc == pytest.approx(np.mean(by_hand), abs=1e-9)
    assert women.images == chosen.sum() and women.positives == ((kept[0]["labels"][chosen] == 1).sum(),)
    low, high = women.interval
    assert 0 <= low < women.auc < high <= 1


def test_one_class_few_images_and_no_value_have_a_reason_and_no_auc(tmp_path):
    labels, _, _ = drawn(0)
    band = np.where(labels == 1, "young", "old").astype("<U8")
    band[:60] = "middle"
    band[60:75] = "few"
    band[75:90] = ""
    results = load_report_input([write(tmp_path, {"age band": band})])
    found = {one.value: one for one in next(iter(split_subgroups(results).values()))}
    assert "one class" in found["young"].problem and math.isnan(found["young"].auc)
    assert "fewer than 10" in found["few"].problem and "says nothing" in found[""].problem
    assert found["middle"].problem == "" and {each.gap for each in subgroup_gaps(results)} == {None}
    assert all(each.extra is None and each.alike == UNDECIDED for each in subgroup_gains(results))
    text = build_report([tmp_path]).markdown.read_text()
    assert "(not stated)" in text and "fewer than two subgroups have an AUC" in text and " nan" not in text


def test_images_of_one_patient_in_two_subgroups_count_as_one_draw(tmp_path):
    groups = np.arange(IMAGES) // 2  # each patient has one image of either subgroup
    alone = load_report_input([write(tmp_path / "alone", {"view": halves()})])
    together = load_report_input([write(tmp_path / "together", {"view": halves()}, groups=groups)])
    for results, units in ((alone, IMAGES), (together, IMAGES // 2)):
        for found in split_subgroups(results).values():
            assert {one.part.influence.shape[1] for one in found if one.part} == {units}
    women, men = next(iter(split_subgroups(together).values()))
    assert women.part and men.part
    assert (women.part.influence.any(axis=0) & men.part.influence.any(axis=0)).all()


def test_few_patients_are_no_subgroup(tmp_path):
    results = load_report_input([write(tmp_path, {"sex": halves()}, groups=np.arange(IMAGES) % 12)])
    assert all(
        "groups: fewer than 10" in one.problem for found in split_subgroups(results).values() for one in found
    )


def test_holm_runs_over_the_subgroups_of_a_column(tmp_path):
    site = np.array(["a", "b", "c"])[np.arange(IMAGES) % 3]
    found = subgroup_gains(load_report_input([write(tmp_path, {"site": site}, apart(site == "a", 2.0))]))
    assert [each.p for each in found] == adjust_by_holm([each.difference.p_value() for each in found])
    assert [each.p_extra for each in found] == adjust_by_holm(
        [each.extra.p_value() for each in found if each.extra]
    )


def test_the_report_answers_on_top_and_exports(tmp_path):
    built = build_report(
        [write(tmp_path, {"sex": halves(), "site": halves()[::-1]}, apart(halves() == "male", 4))]
    )
    page, text = built.html.read_text(), built.markdown.read_text()
    assert "over scratch is larger than in the others in 2 of 4 subgroups and smaller in 2" in text
    assert "mednet is better in 2 of them and worse in 0." in text
    assert "Does pretraining help everyone alike?" in page and "Does pretraining help everyone alike?" in text
    lines = list(csv.DictReader((built.csv.parent / "subgroups.csv").open(newline="")))
    counted = [line["quantity"] for line in lines]
    assert {name: counted.count(name) for name in set(counted)} == {
        "auc": 8, "gap": 4, "gain": 4, "against the others": 4,
    }  # fmt: skip
    assert all(line["n_images"] == "150" for line in lines if line["quantity"] != "gap")
    assert {line["column"] for line in lines} == {"sex", "site"}


def test_without_columns_nothing_is_said(tmp_path):
    write_run(tmp_path, GRID)
    assert subgroups_section(load_report_input([tmp_path])) is None
    built = build_report([tmp_path])
    assert not (built.csv.parent / "subgroups.csv").exists()
    assert "everyone alike" not in built.html.read_text()


def test_one_seed_gives_scores_and_no_claim(tmp_path):
    write(tmp_path, {"sex": halves()})
    store = RecordStore(tmp_path)
    for record in list(store.read_all()):
        if record.cell.seed > 0:
            store.path(record.key).unlink()
    results = load_report_input([tmp_path])
    assert {each.shown for each in subgroup_gaps(results)} == {UNDECIDED} and subgroup_gains(results) == ()
    content = subgroups_section(results)
    answer = content.answers[0].sentence if content else ""
    assert "Undecided: " in answer and " nan" not in answer
    assert math.isnan(next(iter(split_subgroups(results).values()))[0].interval[0])


def test_of_several_classes_each_must_occur_in_a_subgroup(tmp_path):
    """Three classes, and a subgroup with too few of the third."""
    labels = np.random.default_rng(1).integers(0, 3, IMAGES)
    site = np.where((labels == 2) & (np.arange(IMAGES) % 10 > 0), "a", halves())
    truth = labels[:, None] == np.arange(3)
    whole = _Whole(
        None, "site", truth, truth + np.random.default_rng(0).random((2, IMAGES, 3)), None, None, ""
    )  # type: ignore[arg-type]
    big, small = (_stratum(whole, value, site == value) for value in ("a", "female"))
    assert small.part is None and "of the rarer side of a class" in small.problem
    assert small.positives[2] < 10 and len(big.positives) == 3


def test_a_damaged_file_of_predictions_takes_only_its_row_away(tmp_path):
    folder = write(tmp_path, {"sex": halves()})
    rows = load_report_input([folder]).rows
    RecordStore(folder).predictions_of(rows[0].keys[1]).write_bytes(b"no archive")
    assert {row.init for row, _ in split_subgroups(load_report_input([folder]))} == {rows[1].init}


def test_seeds_that_hold_other_columns_are_not_averaged(tmp_path):
    folder = write(tmp_path, {"sex": halves()})
    store, row = RecordStore(folder), load_report_input([folder]).rows[0]
    kept = store.read_predictions(row.keys[1])
    np.savez(store.predictions_of(row.keys[1]), **{**kept, "column sex": halves()[::-1]})
    assert row.init not in {found.init for found, _ in split_subgroups(load_report_input([folder]))}
