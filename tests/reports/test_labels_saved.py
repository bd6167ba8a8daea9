"""Labels saved: curves with a known answer, limits of the measured range, coverage of intervals."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from synthetic import Grid, write_run

from mednet_bench.reports.analysis.labels_saved import LabelSaving, label_savings
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE
from mednet_bench.reports.answers.labels import needed_count, saving_sentence
from mednet_bench.reports.elements.section import Table
from mednet_bench.reports.sections.learning_curves import learning_curves
from mednet_bench.reports.statistics.calibration import class_distance
from mednet_bench.reports.statistics.influence import auc_influence
from mednet_bench.reports.statistics.labels_saved import (
    SavedLabels,
    crossover,
    fewest_needed,
    labels_needed,
    labels_saved,
)

LABELS = np.array([50.0, 100.0, 200.0, 400.0])


def rising(labels: np.ndarray) -> np.ndarray:
    """Return a curve with the same gain for every doubling."""
    return 0.65 + 0.05 * np.log2(labels / 50)


def test_a_curve_shifted_by_a_factor_of_two_needs_exactly_twice_the_labels():
    # The reference has at n the score of the init at 2 n; 800 is not measured.
    needed = labels_needed(LABELS, rising(LABELS), rising(2 * LABELS))
    assert needed == pytest.approx([100, 200, 400, math.inf])


def test_between_budgets_the_curve_is_straight_over_the_logarithm_of_the_labels():
    target = (rising(LABELS)[1] + rising(LABELS)[2]) / 2
    assert labels_needed(LABELS, rising(LABELS), np.array([target])) == pytest.approx([100 * math.sqrt(2)])


def test_a_score_that_the_smallest_budget_has_needs_at_most_that_budget():
    needed = labels_needed(LABELS, rising(LABELS), np.array([0.3, rising(LABELS)[0]]))
    assert needed.tolist() == [50, 50]  # exactly: equality means "at most"


def test_a_curve_that_falls_keeps_what_it_had():
    falling = np.array([0.7, 0.8, 0.75, 0.78])
    assert labels_needed(LABELS, falling, np.array([0.8, 0.81])).tolist() == [pytest.approx(100), math.inf]


def test_a_flat_stretch_is_reached_at_its_beginning():
    flat = np.array([0.7, 0.8, 0.8, 0.9])
    assert labels_needed(LABELS, flat, np.array([0.8]))[0] == pytest.approx(100)


def test_many_draws_at_once_give_what_each_gives_alone():
    rng = np.random.default_rng(3)
    scores, targets = rng.random((20, 4)), rng.random((20, 4))
    together = labels_needed(LABELS, scores, targets)
    alone = [labels_needed(LABELS, s, t).tolist() for s, t in zip(scores, targets, strict=True)]
    assert together.tolist() == alone


def experiment(rng: np.random.Generator, factor: float, seeds: int, images: int) -> tuple[SavedLabels, ...]:
    """Draw learning curves of real AUCs, the init's at n being the reference's at ``factor * n``."""
    truth = np.array([rising(LABELS), rising(LABELS * factor)])
    apart = np.array([[class_distance(round(float(auc), 6), 0.02) for auc in curve] for curve in truth])
    luck = apart[..., 0] + apart[..., 1] * rng.standard_normal((seeds, 2, len(LABELS)))
    labels = np.arange(images) < 0.4 * images
    scores = (
        math.sqrt(0.5) * rng.standard_normal(images)
        + math.sqrt(0.2) * rng.standard_normal((1, 2, 1, images))
        + math.sqrt(0.3) * rng.standard_normal((seeds, 2, len(LABELS), images))
    )
    auc, influence = auc_influence(labels, scores + luck[..., None] * labels)
    return labels_saved(LABELS, auc, influence.mean(axis=0), rng, draws=400)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_holds_the_truth_in_nine_of_ten_experiments_at_least(seeds: int):
    rng = np.random.default_rng(11)
    truth = np.maximum(LABELS / 2, LABELS[0])  # at its smallest budget the init is there with fewer
    runs = [experiment(rng, 2.0, seeds, 600) for _ in range(100)]
    near = 1 + 1e-9
    inside = [[s.low <= t * near and t <= s.high * near for s, t in zip(r, truth, strict=True)] for r in runs]
    assert np.mean(inside, axis=0).min() >= 0.9


def power_law(labels: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """Return a learning curve that is concave over the logarithm of the labels."""
    return 0.92 - 1.5 * (labels * factor) ** -0.8


@pytest.mark.parametrize("shares", [(0.1, 0.5, 1.0), (0.1, 0.25, 0.5, 1.0)])
def test_the_interval_holds_a_truth_between_budgets_of_a_power_law(shares: tuple[float, ...]):
    # With almost no noise the straight line alone gives a narrow interval around a wrong number.
    labels, rng = 546 * np.array(shares), np.random.default_rng(2)
    truth = 546 / 3.3
    inside, width = [], []
    for _ in range(200):
        scores = np.array([power_law(labels), power_law(labels, 3.3)]) + rng.normal(
            0, 0.001, (5, 2, len(labels))
        )
        last = labels_saved(labels, scores, np.zeros((2, len(labels), 9)), rng, draws=400)[-1]
        inside.append(last.low <= truth <= last.high)
        width.append(last.high / last.low)
    assert np.mean(inside) >= 0.93
    assert np.median(width) < 4.5  # the gap of .1 and .5 is a factor of 5


def test_the_lower_bound_of_a_straight_curve_is_the_curve_itself():
    targets = rising(LABELS) - 0.02
    assert fewest_needed(LABELS, rising(LABELS), targets) == pytest.approx(
        labels_needed(LABELS, rising(LABELS), targets)
    )
    concave = fewest_needed(LABELS, power_law(LABELS), power_law(np.array([70.0, 150.0, 300.0])))
    assert (concave[1:] <= np.array([150.0, 300.0])).all() and (concave[1:] >= LABELS[1:3]).all()


def test_two_budgets_give_bounds_and_no_estimate():
    two = np.array([78.0, 546.0])
    scores = np.array([power_law(two), power_law(two, 2.0)]) + np.array([-1e-4, 0.0, 1e-4])[:, None, None]
    first, last = labels_saved(two, scores, np.zeros((2, 2, 9)), np.random.default_rng(0))
    assert (last.least, last.needed, last.low, last.high) == (78, 546, 78, 546) and last.bounded
    assert needed_count(last, 78) == "78 to 546"
    assert (first.needed, first.high) == (78, 78) and not first.bounded
    rises = np.array([[rising(LABELS[:3])] * 2] * 3)
    three = labels_saved(LABELS[:3], rises, np.zeros((2, 3, 9)), np.random.default_rng(0))
    assert not any(each.bounded for each in three)


def test_a_plateau_of_the_reference_is_no_merit_of_the_init():
    plateau = np.array([0.70, 0.85, 0.85, 0.85])
    scores = np.array([[plateau, plateau]] * 3) + np.array([-0.001, 0.0, 0.001])[:, None, None]
    saved = labels_saved(LABELS, scores, np.full((2, 4, 10), 1e-9), np.random.default_rng(1))[-1]
    assert saved.needed == saved.own == pytest.approx(100) and saved.share == 1
    rises = np.array([[rising(LABELS)] * 2] * 3)
    steep = labels_saved(LABELS, rises, np.zeros((2, 4, 9)), np.random.default_rng(1))
    assert [each.own for each in steep] == pytest.approx(LABELS)


def saving(saved: SavedLabels, verdict: str, task: str = "breastmnist") -> LabelSaving:
    init: Any = SimpleNamespace(task=task, init="mednet")
    smallest = SavedLabels(50, 50, 50, 50, 50)
    return LabelSaving(
        init, init, (0.1, 1.0), np.zeros((2, 2)), (smallest, saved), (EQUIVALENT, verdict), (0,), None, "", ()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "verdict", "claim"),
    [
        (50, 90, BETTER, "fewer"),
        (50, 90, EQUIVALENT, "fewer"),
        (50, 90, UNDECIDED, ""),
        (50, 90, WORSE, ""),
        (50, 200, BETTER, ""),  # below all the labels, but not below what the reference itself needs
        (120, math.inf, WORSE, "more"),
        (120, math.inf, UNDECIDED, ""),
        (120, math.inf, BETTER, ""),
    ],
)
def test_labels_are_saved_only_where_interval_and_verdict_say_so(
    low: float, high: float, verdict: str, claim: str
):
    assert saving(SavedLabels(400, 80, low, high, 100), verdict).claim(-1) == claim


def test_the_answer_says_first_on_how_many_tasks_labels_are_saved():
    fewer, more = SavedLabels(400, 80, 50, 90, 100), SavedLabels(400, math.inf, 120, math.inf, 100)
    sentence = saving_sentence([saving(fewer, BETTER), saving(fewer, UNDECIDED), saving(more, WORSE)])
    assert sentence.startswith(
        "mednet saves labels on 1 and needs more labels on 1 of 3 tasks (1 undecided; "
    )
    undecided = saving_sentence([saving(fewer, UNDECIDED)])
    assert undecided.startswith("the label saving of mednet is undecided on 1 of 1 task")
    assert "80\u00a0% of the labels" in saving_sentence([saving(fewer, BETTER)])


def test_two_seeds_say_less_than_ten():
    rng = np.random.default_rng(5)

    def finite(seeds: int) -> float:
        return float(np.mean([math.isfinite(experiment(rng, 2.0, seeds, 600)[2].high) for _ in range(40)]))

    assert finite(2) < finite(10)


@pytest.mark.parametrize(
    ("differs", "from_"),
    [
        ((True, True, False), 1.0),
        ((False, True, False), 1.0),
        ((True, False, False), 0.5),
        ((False, False, False), 0.1),
        ((False, False, True), None),
    ],
)
def test_the_crossover_is_where_no_difference_is_shown_any_more(
    differs: tuple[bool, ...], from_: float | None
):
    assert crossover((0.1, 0.5, 1.0), differs) == from_


def test_a_run_is_measured_pair_by_pair_and_the_same_every_time(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",)))
    found = label_savings(load_report_input([tmp_path]))
    pairs = [(each.init.init, each.reference.init) for each in found]
    assert pairs == [("mednet", "imagenet"), ("mednet", "scratch"), ("imagenet", "scratch")]
    assert all(each.why == "" and len(each.saved) == 3 and each.seeds == (0, 1, 2) for each in found)
    again = label_savings(load_report_input([tmp_path]))  # other results, the same records
    assert [each.saved for each in again] == [each.saved for each in found]


def test_what_cannot_be_measured_says_why(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), predictions=False))
    found = label_savings(load_report_input([tmp_path]))
    assert found and not any(each.saved for each in found)
    assert all("predictions" in each.why for each in found)


def test_the_table_names_ends_of_what_was_measured_and_the_curves_say_what_arrows_show(tmp_path: Path):
    from mednet_bench.reports.sections.labels import labels_section

    write_run(tmp_path, Grid(tasks=("breastmnist", "retinamnist")))
    results = load_report_input([tmp_path])
    content = labels_section(results)
    assert content and "seeds" in content.answers[0].sentence
    tables = [block for part in content.parts for block in part.blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [6, 12]
    assert [table.folded for table in tables] == [False, True]
    assert all(len(table.keys) in (0, len(table.rows)) for table in tables)
    assert {"Reference needs", "No difference from"} <= {column.title for column in tables[0].columns}
    assert "not corrected for the number of tasks" in content.parts[0].lead[0]
    assert "not corrected for the number of tasks" in content.answers[0].sentence
    assert learning_curves(results)
