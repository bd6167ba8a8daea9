"""Labels per class: exact, nested, of many patients, and through to the report."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mednet_bench.benchmark.schema.plan import LabelsPerClass, budget_text, shots_of
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.benchmark.training.subsets import choose_subset
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.task import Split, no_pixels


def split(labels: np.ndarray, groups: np.ndarray | None = None) -> Split:
    return Split(no_pixels(len(labels)), labels, groups)


@pytest.mark.parametrize("grouped", [False, True])
def test_each_class_has_so_many_images_of_as_many_patients_and_subsets_nest(grouped: bool):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [300, 40, 3]))
    groups = np.unique(labels * 1000 + rng.integers(0, 12, len(labels)), return_inverse=True)[1]
    train = split(labels, groups if grouped else None)
    before = np.zeros(0, int)
    for shots in (1, 3, 7):
        chosen = choose_subset(train, train, LabelsPerClass(count=shots), seed=5).train
        assert np.bincount(labels[chosen]).tolist() == [shots, shots, min(shots, 3)]
        assert set(before) <= set(chosen)
        if grouped:
            assert len(np.unique(groups[chosen][labels[chosen] == 0])) == shots
        before = chosen
    other = choose_subset(train, train, LabelsPerClass(count=7), seed=6).train
    assert not np.array_equal(other, before)


def test_of_several_labels_each_finding_has_so_many_images_with_and_without():
    labels = (np.random.default_rng(1).random((200, 3)) < [0.5, 0.1, 0.02]).astype(np.int64)
    chosen = choose_subset(split(labels), split(labels), LabelsPerClass(count=4), seed=0).train
    found = labels[chosen]
    assert (found.sum(axis=0) >= np.minimum(4, labels.sum(axis=0))).all()
    assert ((1 - found).sum(axis=0) >= 4).all() and len(chosen) <= 24


def test_shots_replace_the_fractions_of_the_budget_or_stand_beside_given_ones():
    assert RunConfig(shots=(5, 1)).label_budgets == (LabelsPerClass(count=1), LabelsPerClass(count=5))
    both = RunConfig(shots=(2,), fractions=(1.0,))
    assert both.label_budgets == (LabelsPerClass(count=2), 1.0)
    assert both.with_options({"seeds": "0"}).label_budgets == both.label_budgets
    assert RunConfig(shots=(3,)).with_options({"budget": "quick"}).fractions == ()
    assert [budget_text(-1 / n) for n in (1, 3, 50)] == ["1 per class", "3 per class", "50 per class"]
    assert shots_of(0.3) == 0
    for wrong, said in ({"shots": "0"}, "--shots 0"), ({"shots": 1, "resample": True}, "leave out --shots"):
        with pytest.raises(UserError, match=said):
            RunConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_run_of_shots_is_planned_and_reported(tmp_path: Path):
    words = "--tasks phantom-nodule --inits scratch,imagenet --protocols knn,linear --shots 1,4 --seeds 0..1"
    words += f" --fractions 1.0 --size 28 --input-size 32 --device cpu --no-download --out {tmp_path}"
    told = CliRunner().invoke(cli, ["plan", *words.split()], standalone_mode=False, catch_exceptions=False)
    assert told.return_value == 0
    CliRunner().invoke(cli, ["run", *words.split()], standalone_mode=False, catch_exceptions=False)
    with (tmp_path / "report" / "leaderboard.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "auc"]
    found = {(row["shots"], row["fraction"], row["n_train"]) for row in rows}
    assert {("1", "", "2"), ("4", "", "8")} < found and len(rows) == 12
    text = (tmp_path / "report" / "report.md").read_text()
    assert "4 per class of the labels" in text
    with (tmp_path / "report" / "verdicts.csv").open(newline="") as file:
        assert {row["shots"] for row in csv.DictReader(file)} == {"1", "4", ""}
