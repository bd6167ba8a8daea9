"""`regress` on synthetic scores: tolerances against values computed by hand, and every way to go red."""

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import Record, RecordStore, ValidationPoint
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.regression.baseline import BaselineFile, baseline_of, read_baseline
from mednet_bench.reports.regression.compare import comparison_markdown
from mednet_bench.reports.regression.judgment import (
    REGRESSION_ALPHA,
    REGRESSION_FLOOR,
    REMADE,
    PooledSpread,
    RowJudgment,
    check_regression,
    pool_spreads,
    seed_tolerance,
)
from mednet_bench.reports.regression.regress import append_summary, regression_outcome, update_baseline

replace = msgspec.structs.replace
GRID = Grid(tasks=("breastmnist",), inits=("mednet", "scratch"), protocols=("linear",), fractions=(0.5, 1.0))
SEEDS = tuple(range(10))


def scored(folder: Path, aucs: dict[str, list[float]], first: int = 0, edit=lambda record: record) -> Path:
    """Write a run whose inits have the given AUC, a value per seed from `first` on."""
    seeds = tuple(range(first, first + max(map(len, aucs.values()))))
    grid = Grid(**{**vars(GRID), "inits": tuple(aucs), "fractions": (1.0,), "seeds": seeds})
    for record in write_run(folder, grid):
        if record.cell.step == "score":
            auc = aucs[record.cell.init][record.cell.seed - first]
            RecordStore(folder).write(edit(replace(record, metrics={**record.metrics, "auc": auc})))
    return folder


def baseline(folder: Path) -> BaselineFile:
    return baseline_of(load_report_input([folder]), ["auc"])


def judged(tmp_path: Path, before: Path, after: Path) -> list[RowJudgment]:
    path = tmp_path / "baseline.json"
    baseline(before).write(path)
    return check_regression(read_baseline(path), load_report_input([after]))


def test_the_tolerance_is_the_one_computed_by_hand():
    # t(3 df, 1 - .001/1) = 10.2145; sqrt(1/4 + 1/2) = .866025; sd of .70 .72 .74 .76 is .0258199
    assert REGRESSION_ALPHA == 0.001
    values = [0.70, 0.72, 0.74, 0.76]
    own_is_larger = seed_tolerance(values, PooledSpread(0.01, 3), 2, 1)
    assert own_is_larger == pytest.approx(0.22840, abs=2e-5)
    pool_is_larger = seed_tolerance(values, PooledSpread(0.05, 3), 2, 1)
    assert pool_is_larger == pytest.approx(0.44230, abs=2e-5)
    assert seed_tolerance([0.7, 0.7, 0.7], PooledSpread(0.05, 3), 5, 10) == 0, "no seed changes anything"
    assert seed_tolerance([0.7], None, 5, 10) == np.inf


def test_spreads_are_pooled_over_the_inits_of_a_task_and_those_without_spread_left_out(tmp_path: Path):
    run = scored(tmp_path, {"a": [0.80, 0.82], "b": [0.70, 0.74], "c": [0.9, 0.9]})
    (pool,) = pool_spreads(baseline(run).lines).values()
    # .01^2 + .01^2 = .0002, .02^2 + .02^2 = .0008: together .0010 over 2 degrees of freedom
    assert pool.freedom == 2 and pool.sd == pytest.approx(0.0005**0.5)


def test_reruns_with_new_seeds_go_red_as_rarely_as_promised():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.8, 0.03, (10000, 13))
    spreads = [PooledSpread(float(np.std(row[:10], ddof=1)), 9) for row in draws]
    alarms = sum(
        row[10:].mean() < row[:10].mean() - seed_tolerance(row[:10].tolist(), pool, 3, 1)
        for row, pool in zip(draws, spreads, strict=True)
    )
    assert alarms <= 22, "10 expected, sd 3.2"


def test_the_same_seeds_must_repeat_their_scores(tmp_path: Path):
    before = scored(tmp_path / "a", {"scratch": [0.6, 0.7, 0.8, 0.9]})
    fell = judged(tmp_path, before, scored(tmp_path / "b", {"scratch": [0.594, 0.694]}))
    held = judged(tmp_path, before, scored(tmp_path / "c", {"scratch": [0.597, 0.697]}))
    rose = judged(tmp_path, before, scored(tmp_path / "d", {"scratch": [0.606, 0.706]}))
    assert [j.verdict for j in (*fell, *held, *rose)] == ["fell", "held", "rose"]
    assert fell[0].red and not rose[0].red
    assert (fell[0].allowed, fell[0].seeds) == (REGRESSION_FLOOR, (2, 2))
    assert fell[0].before == pytest.approx(0.65)


def test_other_seeds_may_differ_as_seeds_do(tmp_path: Path):
    values = [0.80, 0.81, 0.82, 0.83, 0.84, 0.80, 0.81, 0.82, 0.83, 0.84]  # mean .82, sd .014907
    before = scored(tmp_path / "a", {"scratch": values})
    (held,) = judged(tmp_path, before, scored(tmp_path / "b", {"scratch": [0.80, 0.81, 0.82]}, first=100))
    # t(9 df, .999) = 4.2968 for the only row, sqrt(1/10 + 1/3) = .658281: tolerance .042165
    assert held.verdict == "held" and held.allowed == pytest.approx(0.042165, abs=1e-5)
    (fell,) = judged(tmp_path, before, scored(tmp_path / "c", {"scratch": [0.76, 0.77, 0.78]}, first=100))
    assert fell.verdict == "fell" and fell.change == pytest.approx(-0.05)


def test_a_network_that_was_trained_repeats_nothing_exactly(tmp_path: Path):
    point = ValidationPoint(step=1, seconds=1.0, train_loss=1.0, val_loss=1.0, val_score=0.5)
    values = [0.80, 0.81, 0.82, 0.83, 0.84]
    before = scored(tmp_path / "a", {"scratch": values}, edit=lambda r: replace(r, curve=(point,)))
    after = scored(tmp_path / "b", {"scratch": [v - 0.01 for v in values]})
    (row,) = judged(tmp_path, before, after)
    assert row.verdict == "held" and row.allowed > REGRESSION_FLOOR


def test_weights_that_were_pretrained_anew_get_a_wider_tolerance(tmp_path: Path):
    before = scored(tmp_path / "a", {"mednet": [0.8] * 3})

    def anew(record: Record) -> Record:
        return replace(record, hashes=replace(record.hashes, weights="sha256:other"))

    (held,) = judged(tmp_path, before, scored(tmp_path / "b", {"mednet": [0.8 - REMADE / 2] * 3}, edit=anew))
    (fell,) = judged(tmp_path, before, scored(tmp_path / "c", {"mednet": [0.79 - REMADE] * 3}, edit=anew))
    assert held.verdict == "held" and held.allowed == pytest.approx(REMADE) and fell.verdict == "fell"


def test_weights_of_a_fixed_file_get_none(tmp_path: Path):
    def file(name: str):
        def edit(record: Record) -> Record:
            init = replace(record.init, identity="sha256:file")
            return replace(record, init=init, hashes=replace(record.hashes, weights=name))

        return edit

    before = scored(tmp_path / "a", {"imagenet": [0.8] * 3}, edit=file("sha256:file"))
    (row,) = judged(tmp_path, before, scored(tmp_path / "b", {"imagenet": [0.79] * 3}, edit=file("x")))
    assert row.verdict == "fell" and row.allowed == REGRESSION_FLOOR


def test_a_missing_row_is_red_and_says_why(tmp_path: Path):
    before = scored(tmp_path / "a", {"scratch": [0.8, 0.8], "imagenet": [0.8, 0.8]})
    after = scored(tmp_path / "b", {"scratch": [0.8, 0.8]})
    assert [j.verdict for j in judged(tmp_path, before, after)] == ["held", "missing"]
    text, red = regression_outcome(after, tmp_path / "baseline.json")
    assert red and "imagenet, linear, 100" in text and "is missing" in text
    assert regression_outcome(after, tmp_path / "baseline.json", ["scratch"])[1] is False


def test_a_failed_row_is_red_with_its_error(tmp_path: Path):
    before = scored(tmp_path / "a", {"scratch": [0.8, 0.8], "imagenet": [0.8, 0.8]})
    after = scored(
        tmp_path / "b",
        {"scratch": [0.8, 0.8], "imagenet": [0.8, 0.8]},
        edit=lambda r: replace(r, status="failed", error="no memory") if r.cell.init == "imagenet" else r,
    )
    assert [j.why for j in judged(tmp_path, before, after) if j.red] == ["failed: no memory"]


def test_a_seed_whose_record_was_altered_is_missing_and_named_as_damaged(tmp_path: Path):
    before = scored(tmp_path / "a", {"scratch": [0.8, 0.8]})
    after = scored(tmp_path / "b", {"scratch": [0.8, 0.8]})
    store = RecordStore(after)
    (path,) = (store.path(r.key) for r in store.read_all() if r.cell.seed == 1 and r.metrics)
    path.write_bytes(path.read_bytes().replace(b'"auc":0.8', b'"auc":0.1', 1))
    (row,) = judged(tmp_path, before, after)
    assert (row.verdict, row.why) == ("missing", "seed 1: its record is damaged")
    summary, red = regression_outcome(after, tmp_path / "baseline.json")
    assert red and "1 record or its predictions are damaged: run the same command again" in summary
    assert "B: 1 record or its predictions are damaged" in comparison_markdown(before, after)
    assert "A: " not in comparison_markdown(before, after).replace("- A: ", "")


def test_a_damaged_record_that_no_plan_names_leaves_no_row_green_and_is_to_be_deleted(tmp_path: Path):
    run = scored(tmp_path / "a", {"scratch": [0.8, 0.8]})
    update_baseline(run, tmp_path / "baseline.json")
    os.mkfifo(run / "records" / "ffffffffffffffff.json")
    summary, red = regression_outcome(run, tmp_path / "baseline.json")
    assert red and summary.startswith("## Regression. Red: 1 row, none fell, but records are damaged")
    assert "delete records/ffffffffffffffff.json" in summary and "run the same command" not in summary


def test_a_metric_that_is_better_when_lower_is_red_when_it_rises(tmp_path: Path):
    def brier(value: float):
        return lambda record: replace(record, metrics={**record.metrics, "brier": value})

    before = scored(tmp_path / "a", {"scratch": [0.8]}, edit=brier(0.1))
    update_baseline(before, tmp_path / "baseline.json", ["brier"])
    worse = scored(tmp_path / "b", {"scratch": [0.8]}, edit=brier(0.12))
    better = scored(tmp_path / "c", {"scratch": [0.8]}, edit=brier(0.08))
    assert (
        regression_outcome(worse, tmp_path / "baseline.json")[1]
        and not regression_outcome(better, tmp_path / "baseline.json")[1]
    )


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (lambda r: replace(r, hashes=replace(r.hashes, data="md5:new")), "other data"),
        (lambda r: replace(r, hashes=replace(r.hashes, card="new")), "another task card"),
        (lambda r: replace(r, recipe_hash="new"), "another recipe"),
        (lambda r: replace(r, protocol_version=9), "another protocol version"),
        (lambda r: replace(r, init=replace(r.init, identity="new")), "weights of another origin"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_cure(tmp_path: Path, edit, what: str):
    before = scored(tmp_path / "a", {"scratch": [0.8]})
    with pytest.raises(UserError, match=rf"{what} .*--update"):
        judged(tmp_path, before, scored(tmp_path / "b", {"scratch": [0.8]}, edit=edit))


def test_another_input_contract_is_judged_since_that_is_what_must_be_noticed(tmp_path: Path):
    before = scored(tmp_path / "a", {"scratch": [0.8]})

    def swapped(record: Record) -> Record:
        return replace(record, init=replace(record.init, contract={"channels": "bgr"}))

    (row,) = judged(tmp_path, before, scored(tmp_path / "b", {"scratch": [0.7]}, edit=swapped))
    assert row.verdict == "fell" and row.allowed == REGRESSION_FLOOR


def test_a_baseline_of_one_seed_does_not_judge_others(tmp_path: Path):
    before = scored(tmp_path / "a", {"scratch": [0.8]})
    (row,) = judged(tmp_path, before, scored(tmp_path / "b", {"scratch": [0.2]}, first=5))
    assert row.verdict == "unsure" and not row.red
    assert "Not judged" in regression_outcome(tmp_path / "b", tmp_path / "baseline.json")[0]


def test_the_summary_names_what_fell_by_how_much_and_against_which_interval(tmp_path: Path):
    before = scored(tmp_path / "a", {"scratch": [0.8, 0.8], "imagenet": [0.9, 0.9]})
    after = scored(tmp_path / "b", {"scratch": [0.77, 0.77], "imagenet": [0.95, 0.95]})
    update_baseline(before, tmp_path / "baseline.json")
    text, red = regression_outcome(after, tmp_path / "baseline.json")
    assert red and text.startswith("## Regression. Red: 1 of 2 rows")
    line = next(line for line in text.splitlines() if line.startswith("- breastmnist, scratch"))
    assert "0.8000 (2 seeds) to 0.7700 (2 seeds)" in line and "\u22120.0300" in line
    assert "0.7950 to 0.8050" in line
    parts = ("- breastmnist, scratch", "Rose: consider --update", "<details>")
    assert [*map(text.index, parts)] == sorted(map(text.index, parts))


def test_update_then_regress_is_green_and_the_file_is_read_back_as_written(tmp_path: Path):
    run = write_run_of(tmp_path / "run")
    assert "at least 10 seeds each." in update_baseline(run, tmp_path / "b.json", ["auc", "accuracy"])
    first = (tmp_path / "b.json").read_bytes()
    assert regression_outcome(run, tmp_path / "b.json")[1] is False
    update_baseline(run, tmp_path / "b.json", ["auc", "accuracy"])
    assert (tmp_path / "b.json").read_bytes() == first
    kept = read_baseline(tmp_path / "b.json")
    assert len(kept.lines) == len(first.splitlines()) - 1 == 8, "a row of the file per row"
    assert kept.lines[0].n_seeds == 10 and kept.commit and kept.versions["torch"] == "2.9.0"


def write_run_of(folder: Path) -> Path:
    write_run(folder, Grid(**{**vars(GRID), "seeds": SEEDS}))
    return folder


def test_an_unfinished_run_does_not_become_a_baseline(tmp_path: Path):
    write_run(tmp_path, Grid(**{**vars(GRID), "skip": lambda cell: cell.seed == 1}))
    with pytest.raises(UserError, match="finish the run"):
        update_baseline(tmp_path, tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("content", [None, "{", "{}", '{"format": 9}'])
def test_a_baseline_that_cannot_be_read_is_one_sentence_with_its_cure(tmp_path: Path, content: str | None):
    run = scored(tmp_path / "a", {"scratch": [0.8]})
    path = tmp_path / "b.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"b\.json.*--update"):
        regression_outcome(run, path)


def test_an_unknown_init_is_refused_by_name(tmp_path: Path):
    run = scored(tmp_path / "a", {"scratch": [0.8]})
    update_baseline(run, tmp_path / "b.json")
    with pytest.raises(UserError, match="did you mean 'scratch'"):
        regression_outcome(run, tmp_path / "b.json", ["scrach"])


def test_the_summary_is_appended(tmp_path: Path):
    append_summary(tmp_path / "s.md", "one\n")
    append_summary(tmp_path / "s.md", "two\n")
    assert (tmp_path / "s.md").read_text() == "one\ntwo\n"
    with pytest.raises(UserError, match="--summary"):
        append_summary(tmp_path, "x")
