"""`judge`: two CSV files on the command line, and one sentence for everything that can be wrong in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mednet_bench as mb
from mednet_bench.core.errors import UserError

SECRET = "MRN-4711"
"""Begins every id: no output may contain it."""


def frame(draw: int, n: int = 60, **columns: Any) -> pd.DataFrame:
    """Scores of one invented training; the labels are the same for every seed."""
    rng, label = np.random.default_rng(draw), np.arange(n) % 2
    score = np.clip(0.5 + 0.2 * (label - 0.5) + rng.normal(0, 0.2, n), 0, 1).round(4)
    ids = [f"{SECRET}-{i:03}" for i in range(n)]
    return pd.DataFrame({"id": ids, "label": label, "score": score, **columns})


def classes(draw: int, labels: list[str], n: int = 60) -> pd.DataFrame:
    """Scores of three classes."""
    rng = np.random.default_rng(draw)
    scores = {f"score_{name}": rng.random(n).round(3) for name in ("cyst", "solid", "none_seen")}
    repeated = (labels * n)[:n]
    return pd.DataFrame({"id": [f"{SECRET}{i}" for i in range(n)], "label": repeated, **scores})


def write(a: pd.DataFrame, b: pd.DataFrame) -> tuple[str, str]:
    a.to_csv("a.csv", index=False)
    b.to_csv("b.csv", index=False)
    return "a.csv", "b.csv"


def test_the_terminal_shows_the_verdict_of_python(command: Callable) -> None:
    a, b = frame(1), frame(2)
    result = command("judge", *write(a, b.sample(frac=1, random_state=0)), "--margin", "0.02")
    found = mb.judge(a["label"], a["score"], b["score"], margin=0.02)
    lines = result.stdout.splitlines()
    low, high = found.interval
    assert result.return_value == 0 and lines[0] == f"verdict: {found.verdict}"
    assert lines[1] == f"difference A - B: {found.difference:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
    assert f"P(better) {found.p_better:.2f}, P(within 0.02) " in lines[2]
    assert f"AUC: A {found.value_a:.4f}, B {found.value_b:.4f}" in lines
    assert {"n: 60 test images", "seeds: 1", f"estimand: {found.estimand}", "A: a.csv", "B: b.csv"} <= {
        *lines
    }
    assert any(line.startswith("flag: fixed-models: one training of each") for line in lines)
    assert "for these two trained models" in result.stdout and SECRET not in result.output


def test_json_has_every_attribute(command: Callable) -> None:
    a, b = frame(1, patient=np.arange(60) // 2), frame(2, patient=np.arange(60) // 2)
    result = command("judge", *write(a, b), "--groups", "patient", "--metric", "brier", "--format", "json")
    whole = json.loads(result.stdout)
    found = mb.judge(a["label"], a["score"], b["score"], groups=a["patient"], metric="brier")
    (line,) = whole["verdicts"]
    assert (whole["format"], whole["alpha"], line["task"], line["groups"]) == (1, 0.05, "", 30)
    for name in ("verdict", "difference", "p_better", "p", "value_a", "seeds", "estimand", "n"):
        assert line[name] == getattr(found, name), name
    assert tuple(line["interval"]) == found.interval
    assert SECRET not in result.output


def test_seeds_are_paired_and_those_of_one_file_named(command: Callable) -> None:
    a = pd.concat([frame(seed, seed=seed) for seed in (3, 0, 1, 10)])
    b = pd.concat([frame(100 + seed, seed=seed) for seed in (0, 1, 2, 10)])
    result = command("judge", *write(a, b))
    assert "seeds: 3\n" in result.stdout and "for other trainings like these 3" in result.stdout
    left_out = "left out, since only one of the two has them: seeds 2, 3; used: seeds 0, 1, 10"
    assert f"flag: unpaired: {left_out}\n" in result.stdout
    scores = [[frame(start + seed)["score"] for seed in (0, 1, 10)] for start in (0, 100)]
    expected = mb.judge(frame(0)["label"], *map(np.array, scores))
    assert f"{expected.difference:+.4f} (95 % interval {expected.interval[0]:+.4f}" in result.stdout


def test_several_tasks_are_a_table_and_corrected(command: Callable) -> None:
    a = pd.concat([frame(i, task=f"task{i}", n=50 + 10 * i) for i in range(3)])
    b = pd.concat([frame(10 + i, task=f"task{i}", n=50 + 10 * i) for i in range(3)])
    files = write(a, b)
    text = command("judge", *files).stdout
    rows = [line.split() for line in text.splitlines() if line.startswith("task")][1:]
    assert [row[0] for row in rows] == ["task0", "task1", "task2"]
    assert "verdicts are corrected over 3 tasks" in text and "flag: task1, fixed-models: " in text
    tasks = {
        f"task{i}": {"labels": frame(i, n=50 + 10 * i)["label"],
                     "scores_a": frame(i, n=50 + 10 * i)["score"],
                     "scores_b": frame(10 + i, n=50 + 10 * i)["score"]}
        for i in range(3)
    }  # fmt: skip
    expected = mb.judge_many(tasks)
    found = json.loads(command("judge", *files, "--format", "json").stdout)["verdicts"]
    assert {each["task"]: each["p_adjusted"] for each in found} == {
        k: v.p_adjusted for k, v in expected.items()
    }


def test_classes_are_matched_by_name(command: Callable) -> None:
    a, b = classes(1, ["cyst", "solid", "none_seen"]), classes(2, ["cyst", "solid", "none_seen"])
    files = write(a, b[["score_solid", "label", "id", "score_none_seen", "score_cyst"]])
    (found,) = json.loads(command("judge", *files, "--format", "json").stdout)["verdicts"]
    columns = ["score_cyst", "score_solid", "score_none_seen"]
    expected = mb.judge(np.arange(60) % 3, a[columns], b[columns], kind="multiclass")
    assert [found["difference"], *found["interval"]] == pytest.approx(
        [expected.difference, *expected.interval]
    )
    two = [
        each.drop(columns="score").assign(score_no=1 - each["score"], score_yes=each["score"])
        for each in (frame(1), frame(2))
    ]
    named = [each.assign(label=np.where(each["label"] == 1, "yes", "no")) for each in two]
    (binary,) = json.loads(command("judge", *write(*named), "--format", "json").stdout)["verdicts"]
    assert (
        binary["difference"] == mb.judge(frame(1)["label"], frame(1)["score"], frame(2)["score"]).difference
    )


def test_several_labels_of_an_image_are_separated(command: Callable) -> None:
    labels = ["cyst|solid", "solid", "", "none_seen", "cyst | none_seen"]
    a, b = classes(1, labels), classes(2, labels)
    truth = [[name in label for name in ("cyst", "solid", "none_seen")] for label in a["label"]]
    (found,) = json.loads(command("judge", *write(a, b), "--format", "json").stdout)["verdicts"]
    columns = ["score_cyst", "score_solid", "score_none_seen"]
    assert found["p"] == pytest.approx(mb.judge(truth, a[columns], b[columns], kind="multilabel").p)


def test_unmatched_ids_are_counted_and_named_only_on_request(command: Callable) -> None:
    files = write(frame(1).drop(index=[3]), frame(2).drop(index=[7, 9]))
    error = command("judge", *files).exception
    assert isinstance(error, UserError) and not error.example
    assert str(error) == (
        "2 ids of a.csv (lines 8, 10) have no row in b.csv, and 1 id of b.csv (line 5) has no row in a.csv: "
        "score the same images with the same seeds in both; --show-ids names them."
    )
    shown = command("judge", *files, "--show-ids").exception
    assert shown.example.splitlines() == [
        f"a.csv: {SECRET}-007",
        f"a.csv: {SECRET}-009",
        f"b.csv: {SECRET}-003",
    ]
    assert SECRET not in str(shown)


def test_many_unmatched_rows_are_not_all_listed(command: Callable) -> None:
    error = command("judge", *write(frame(1, n=200), frame(2, n=100))).exception
    assert "100 ids of a.csv (lines 102, 103" in str(error) and "and 80 more)" in str(error)


def cell(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a function that sets one cell."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        return table.astype({column: object}).assign(
            **{column: lambda t: t[column].where(t.index != row, value)}
        )

    return change


def same(table: pd.DataFrame) -> pd.DataFrame:
    return table


def with_columns(**columns: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(**columns)


WRONG = [
    (same, cell("label", 4, 1), "Labels differ in 1 row between a.csv (line 6) and b.csv (line 6)"),
    (same, cell("label", 4, 2), "b.csv, line 6: the label is not 0 or 1 (1 of 60 rows): write 1"),
    (same, cell("label", 4, ""), "b.csv, line 6: the label is empty; 'NaN' and 'none' count as nothing"),
    (cell("id", 5, f"{SECRET}-004"), same, "a.csv, lines 6, 7: the same id more than once (2 of 60 rows)"),
    (cell("id", 5, ""), same, "a.csv, line 7: the id is empty"),
    (cell("score", 5, "nan"), same, "a.csv, line 7: a score is empty, NaN, infinite or no number"),
    (cell("score", 5, "inf"), same, "a.csv, line 7: a score is empty, NaN, infinite or no number"),
    (cell("score", 5, "high"), same, "a.csv, line 7: a score is empty, NaN, infinite or no number"),
    (with_columns(age=50, sex="f"), same, "a.csv has unknown columns (age, sex): delete them"),
    (lambda t: t.drop(columns="id"), same, "a.csv has no column 'id' among its 2: its first line must"),
    (lambda t: t.drop(columns="score"), same, "a.csv has no column of scores: name it score"),
    (with_columns(score_x=1), same, "a.csv has the column score and 1 score_CLASS: delete one kind"),
    (lambda t: t.rename(columns={"score": "score_x"}), same, "a.csv has scores of one class: name"),
    (with_columns(label=1), with_columns(label=1), "a.csv: class 0 has no positive test image"),
    (with_columns(seed=0), same, "a.csv has the column seed and b.csv not: add or delete it"),
    (with_columns(seed=0), with_columns(seed=1), "a.csv has the seeds 0 and b.csv 1: compare"),
    (with_columns(seed="x"), with_columns(seed=1), "the seed is no whole number (60 of 60 rows)"),
    (with_columns(task="t"), same, "a.csv has the column task and b.csv not: add or delete it"),
    (with_columns(task="t"), with_columns(task="u"), "b.csv lacks the task t of the other file"),
    (with_columns(task=""), with_columns(task="u"), "the task is empty (60 of 60 rows)"),
    (with_columns(group=1), with_columns(group=2), "Groups differ in 60 rows between a.csv (lines 2, 3"),
    (with_columns(group=""), same, "the group is empty; 'NaN' and 'none' count as nothing (60 of"),
    (lambda t: t.head(0), same, "a.csv holds no rows: add one per image"),
]  # fmt: skip


@pytest.mark.parametrize(("of_a", "of_b", "sentence"), WRONG, ids=[each[2][:60] for each in WRONG])
def test_a_wrong_file_is_one_sentence_with_its_cure(
    command: Callable, of_a: Callable, of_b: Callable, sentence: str
) -> None:
    result = command("judge", *write(of_a(frame(1)), of_b(frame(2))))
    assert isinstance(result.exception, UserError), result.output
    text = str(result.exception)
    assert sentence in text and text.endswith(".") and "\n" not in text and SECRET not in text
    assert result.stdout == ""


def test_probabilities_are_needed_by_some_metrics(command: Callable) -> None:
    files = write(frame(1), cell("score", 2, 1.5)(frame(2)))
    for metric in ("brier", "balanced_accuracy"):
        error = str(command("judge", *files, "--metric", metric).exception)
        assert error.startswith("b.csv, line 4: a score is outside of [0, 1], and ") and "sigmoid" in error
    for metric in ("auc", "average_precision"):
        assert command("judge", *files, "--metric", metric).return_value == 0
    wrong = command("judge", *files, "--metric", "brier_score").exception
    assert str(wrong) == "There is no metric with a known error 'brier_score'; did you mean 'brier'?"


def test_files_and_columns_that_do_not_exist(command: Callable, tmp_path: Path) -> None:
    files = write(frame(1), frame(2))
    assert "Neither file has the column 'patient' of --groups" in str(
        command("judge", *files, "--groups", "patient").exception
    )
    assert "Cannot read c.csv" in str(command("judge", "c.csv", "b.csv").exception)
    Path("empty.csv").touch()
    assert "empty.csv is no CSV: it is empty: add a header" in str(
        command("judge", "empty.csv", "b.csv").exception
    )
    other = write(classes(1, ["cyst", "solid"]), frame(2))
    text = str(command("judge", *other).exception)
    assert "other columns of scores (score_cyst, score_solid, score_none_seen; score)" in text
    foreign = write(classes(1, ["cyst", "tumor"]), classes(2, ["cyst", "tumor"]))
    text = str(command("judge", *foreign).exception)
    assert text.startswith("a.csv, lines 3, 5, ") and "none of the classes cyst, solid, none_seen" in text


def test_groups_of_one_file_are_enough_and_must_not_change(command: Callable) -> None:
    groups = np.arange(60) // 3
    for tables in ((frame(1, group=groups), frame(2)), (frame(1), frame(2, group=groups))):
        assert "n: 60 test images in 20 groups" in command("judge", *write(*tables)).stdout
    a = pd.concat([frame(i, seed=i, group=groups + (i == 1) * (np.arange(60) == 7)) for i in range(2)])
    b = pd.concat([frame(i + 5, seed=i) for i in range(2)])
    text = str(command("judge", *write(a, b)).exception)
    assert text.startswith("a.csv, line 9: the label or group of the id differs between seeds")


def test_every_seed_needs_every_image(command: Callable) -> None:
    tables = [pd.concat([frame(start), frame(start + 1).head(59)]) for start in (0, 10)]
    seeds = np.repeat([0, 1], [60, 59])
    text = str(command("judge", *write(*(each.assign(seed=seeds) for each in tables))).exception)
    assert text.startswith(
        "a.csv, line 61: the id lacks one of the 2 seeds (1 of 119 rows): score every image"
    )
