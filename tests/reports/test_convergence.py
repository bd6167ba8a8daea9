"""Convergence speed, reliability bins, and sections that show other analyses."""

import math
from pathlib import Path

import numpy as np
import pytest
from synthetic import Grid, write_run

from mednet_bench.reports.analysis.convergence import convergence_paces
from mednet_bench.reports.analysis.load_results import load_results
from mednet_bench.reports.elements.format import GENERATED
from mednet_bench.reports.elements.section import Figure, Table
from mednet_bench.reports.sections.modality_map import modality_map
from mednet_bench.reports.sections.pace import convergence_section
from mednet_bench.reports.sections.per_class import per_class
from mednet_bench.reports.sections.reliability import bin_decisions, decisions, reliability_section
from mednet_bench.reports.sections.seed_questions import better_answer, needed_answer, seed_questions
from mednet_bench.reports.statistics.convergence import first_within, speed_ratios


def test_the_first_validation_within_five_percent_counts_even_if_later_ones_fall():
    assert first_within([0.5, 0.77, 0.7, 0.8], 0.8) == 1
    assert first_within([0.76], 0.8) == 0  # exactly 95 %
    assert first_within([math.nan, 0.9], 0.9) == 1
    assert first_within([0.1, 0.2], 0.8) is None


def test_from_chance_the_gain_counts_and_not_the_score():
    scores = [0.505, 0.52, 0.529, 0.53]
    assert first_within(scores, 0.53) == 0  # near chance level, yet 95 % of the score
    assert first_within(scores, 0.53, chance=0.5) == 2
    assert first_within([0.4, 0.5], 0.5, chance=0.5) is None  # the final score is chance level


def test_ratios_pair_the_seeds_that_both_have():
    assert speed_ratios({0: 40, 1: 60, 3: 20}, {1: 120, 3: 10, 5: 7}).tolist() == [0.5, 2.0]


def test_steps_are_those_of_the_curve_against_scratch_of_the_same_seed(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist",), fractions=(1.0,)))
    results = load_results([tmp_path])
    records = {(r.cell.init, r.cell.seed): r for r in results.counted}
    for pace in convergence_paces(results):
        assert pace.steps.keys() == pace.gained.keys() and pace.steps != pace.gained
        for seed, steps in pace.steps.items():
            record = records[pace.row.init, seed]
            final = record.val_metrics["auc"] or 0
            near = [p for p in record.curve if (p.val_score or 0) >= 0.95 * final]
            gained = [p for p in record.curve if (p.val_score or 0) >= 0.5 + 0.95 * (final - 0.5)]
            assert steps == near[0].step
            assert (pace.gained[seed], pace.seconds[seed]) == (gained[0].step, gained[0].seconds)
        assert len(pace.ratio) == (0 if pace.row.init == "scratch" else len(pace.gained))
    content = convergence_section(results)
    assert content and "1 task" in content.answers[0].sentence
    assert "of the way from chance level" in content.answers[0].sentence
    (table,) = [block for block in content.parts[0].blocks if isinstance(block, Table)]
    assert {"Steps", "From chance"} <= {column.title for column in table.columns}


def test_protocols_without_training_do_not_converge(tmp_path: Path):
    write_run(tmp_path, Grid(protocols=("linear",), fractions=(1.0,)))
    assert convergence_section(load_results([tmp_path])) is None


def test_without_scratch_no_init_is_called_faster(tmp_path: Path):
    write_run(tmp_path, Grid(inits=("mednet", "imagenet"), fractions=(1.0,)))
    content = convergence_section(load_results([tmp_path]))
    assert content and content.answers[0].sentence.startswith("Undecided: ")


@pytest.mark.parametrize("n", [1, 9, 10, 23])
def test_bins_hold_equally_many_decisions_and_their_mean_is_the_mean(n: int):
    rng = np.random.default_rng(n)
    confidence, correct = rng.random(n), rng.random(n) < 0.5
    x, y = bin_decisions(confidence, correct)
    assert len(x) == min(10, n) and (np.diff(x) >= 0).all()
    sizes = [len(part) for part in np.array_split(np.arange(n), len(x))]
    assert np.average(x, weights=sizes) == pytest.approx(confidence.mean())
    assert np.average(y, weights=sizes) == pytest.approx(correct.mean())


def test_every_label_of_a_multilabel_image_is_a_decision():
    confidence, correct = decisions(np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.4], [0.7, 0.5]]))
    assert confidence.tolist() == pytest.approx([0.9, 0.6, 0.7, 0.5])
    assert correct.tolist() == [True, True, False, True]


def test_the_other_sections_show_n_and_keep_their_facets(tmp_path: Path):
    write_run(tmp_path, Grid(fractions=(0.1, 1.0)))
    results = load_results([tmp_path])
    maps, classes, curves = modality_map(results), per_class(results), reliability_section(results)
    assert maps and classes and curves
    (heat,) = [block for block in maps.parts[0].blocks if isinstance(block, Figure)]
    assert heat.panels[0].svg.count("n = 1") == 6  # three modalities, two inits
    (table,) = [block for block in classes.parts[0].blocks if isinstance(block, Table)]
    assert table.folded and len(table.rows) == 3 * 2 * 3 and table.facts["fraction"] == 1.0
    (panels,) = [block for block in curves.parts[0].blocks if isinstance(block, Figure)]
    assert len(panels.panels) == 3 and "300 decisions, 3 seeds" in panels.panels[0].alt


def test_without_predictions_there_is_no_reliability(tmp_path: Path):
    write_run(tmp_path, Grid(predictions=False))
    assert reliability_section(load_results([tmp_path])) is None


def test_the_essays_four_questions_are_answered_with_numbers_or_not_at_all(tmp_path: Path):
    write_run(tmp_path / "with", Grid())
    write_run(tmp_path / "without", Grid(inits=("imagenet", "scratch")))
    content = seed_questions(load_results([tmp_path / "with"]))
    assert content and seed_questions(load_results([tmp_path / "without"])) is None
    source, feasible, better, needed, limits, unsaid = content.parts
    assert "2110.06512" not in source.lead[0]  # this is the MedNet paper, which is not the essay
    assert "MedNet was proposed (arXiv 2110.06512) with 3,000,000 images" in feasible.lead[0]
    assert "2 MedNets" in feasible.lead[0]
    assert "3 independent tasks" in better.lead[0] and "95 % interval" in better.lead[0]
    assert "No pretraining was shown to be better than scratch" in limits.lead[0]
    assert "of 3 tasks" in needed.lead[0] and "of 3 tasks" in limits.lead[0]
    assert any("clinical resolution" in point for point in unsaid.points)


def test_the_essay_mixes_neither_generated_with_real_tasks_nor_networks(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist", "phantom-thorax"), archs=("resnet18", "resnet50")))
    results = load_results([tmp_path])
    for answer in (better_answer(results), needed_answer(results)):
        assert "Generated tasks are left out." in answer and GENERATED not in answer
        assert "of 6." in answer  # one task, three fractions, two networks: the phantom is not among them
        assert answer.count("resnet18") == answer.count("resnet50") > 0
    assert "on 1 of 1 task (" in needed_answer(results) and "2 tasks" not in needed_answer(results)
