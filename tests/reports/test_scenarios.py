"""Error rates of families of tasks, of luck, tuning and labels, in reduced versions of the scenarios."""

import csv
import io
import math

import numpy as np
import pytest

from mednet_bench.reports.pages.calibration_page import scenario_csv, scenario_markdown
from mednet_bench.reports.statistics.paired import PairedDifference
from mednet_bench.reports.statistics.scenarios import (
    ScenarioRate,
    ceiling_rates,
    fold_rates,
    hillis_p,
    luck_rates,
    page_rates,
    pool_rates,
    saving_rates,
    scenario_cells,
    structure_rates,
    tuning_rates,
)


def measure(simulate, draws: int, *setting: object) -> dict[str, ScenarioRate]:
    found = simulate(draws, np.random.default_rng(1), setting)
    return {f"{rate.family}: {rate.name}": rate for rate in found}


@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_a_page_without_differences_rarely_has_a_call(spread: float):
    found = measure(page_rates, 150, 3, spread, "none")
    assert found["pages: pages with a call where none differs"].holds
    hillis = found["pages, Obuchowski-Rockette-Hillis: pages with a call where none differs"]
    assert hillis.value > 0.1 and hillis.status == ""


@pytest.mark.parametrize(("seeds", "least"), [(3, 0.25), (5, 0.45)])
def test_differences_on_all_tasks_are_found_as_often_as_promised(seeds: int, least: float):
    found = measure(page_rates, 60, seeds, 0.3, "all")
    name = f"true differences called, {seeds} seeds"
    ours, alone = found[f"pages: {name}"], found[f"pages, not moderated: {name}"]
    assert ours.value >= least and ours.limit == least
    assert ours.value > alone.value + 0.1
    assert found["pages: false calls among calls"].holds


def test_skewed_luck_is_broken_and_mostly_flagged():
    found = measure(luck_rates, 300, 10, True)
    assert found["skewed luck: false better/worse"].status in ("holds", "broken, not promised")
    assert found["skewed luck: uneven-seeds raised where a training failed"].value > 0.8
    normal = measure(luck_rates, 300, 5, False)
    assert all(rate.holds for rate in normal.values())


@pytest.mark.parametrize("kind", ["groups", "several classes", "several labels"])
def test_groups_and_several_classes_keep_the_promise(kind: str):
    assert all(rate.holds for rate in measure(structure_rates, 100, kind, 3).values())


def test_near_the_ceiling_equivalence_is_found_and_rarely_wrong():
    found = measure(ceiling_rates, 150, 10, 0.998, (2000, 0.5), 0.002)
    assert found["ceiling: equivalent found"].value > 0.3
    assert found["ceiling: false equivalent at the margin"].holds


def test_tuning_by_one_seed_breaks_what_tuning_by_every_seed_keeps():
    one = measure(tuning_rates, 150, "seed 0", 10, 78)["tuning: false better/worse, tuned by seed 0"]
    each = measure(tuning_rates, 150, "every seed", 10, 78)["tuning: false better/worse, tuned by every seed"]
    assert one.status == "broken, not promised" and one.value > 0.2
    assert each.holds and each.promised


def test_training_sets_that_are_not_redrawn_are_said_to_be_broken():
    (whole,) = measure(pool_rates, 150, "whole", 5, 200).values()
    assert whole.status == "broken, not promised"


@pytest.mark.parametrize("kind", ["images", "patients"])
def test_overlapping_trainings_are_corrected_in_cross_validation(kind: str):
    found = measure(fold_rates, 100, kind, 100, 5)
    ours, plain = (found[f"cross-validation{how}: false better/worse"] for how in ("", ", uncorrected"))
    assert ours.holds and ours.limit == 0.05 and ours.value < plain.value
    assert found[f"cross-validation: true differences called, {kind}"].value > 0.01


def test_labels_saved_hold_the_truth_between_budgets():
    (rate,) = measure(saving_rates, 60, (0.1, 0.5, 1.0), 1.5, 0.8).values()
    assert rate.holds and rate.at_least


def test_hillis_has_the_degrees_of_freedom_of_seeds_alone_without_images():
    from scipy import stats

    found = hillis_p(PairedDifference(0.03, 4, 0.0, 100.0, 1e-4, 0.0))
    assert found == pytest.approx(2 * stats.t.sf(3.0, 3))


def test_a_rate_holds_within_two_standard_errors_and_says_what_is_broken():
    def rate(value: float, count: int = 400, **more: bool) -> ScenarioRate:
        return ScenarioRate("a", "b", "c", count, count, value, 0.05, **more)

    assert rate(0.07).status == "holds" and rate(0.08).status == "broken"
    assert rate(0.08, promised=False).status == "broken, not promised"
    assert rate(0.03, at_least=True).status == "holds" and rate(0.01, at_least=True).status == "broken"
    assert ScenarioRate("a", "b", "c", 9, 9, 0.5).status == ""


def test_the_page_has_the_worst_setting_and_the_file_has_every_rate():
    found = [ScenarioRate("luck", str(value), "false", 400, 400, value, 0.05) for value in (0.01, 0.2)]
    found.append(ScenarioRate("luck", "3", "printed", 400, 0, math.nan))
    text = scenario_markdown(found)
    assert "| luck     | false  |          2 |   0.200 | 0.2     | 0.05    | broken    |" in text
    assert "broken by more than two standard errors: 1." in text
    lines = list(csv.DictReader(io.StringIO(scenario_csv(found))))
    assert [line["status"] for line in lines] == ["holds", "broken", ""]
    assert lines[2]["value"] == lines[2]["limit"] == ""


def test_every_family_that_is_asked_for_is_simulated():
    kinds = {simulate for simulate, _ in scenario_cells()}
    assert kinds == {
        page_rates, luck_rates, structure_rates, ceiling_rates, tuning_rates, pool_rates, fold_rates,
        saving_rates,
    }  # fmt: skip
