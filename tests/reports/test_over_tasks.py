"""Statistics over tasks against a published example, scipy, scikit-posthocs and values by hand."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from matplotlib.figure import Figure as MatplotlibFigure
from scipy import stats
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.plan import Cell, TrainingConfig
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.reports.analysis.aggregate import (
    OverallDifference,
    gather_scores,
    overall_differences,
    rank_inits,
)
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.analysis.verdicts import compute_verdicts
from mednet_bench.reports.answers.by_modality import by_modality_answer
from mednet_bench.reports.answers.cost_benefit import cost_benefit_answer
from mednet_bench.reports.answers.main_answer import main_answer
from mednet_bench.reports.elements.critical_difference import equal_runs, stack_bars
from mednet_bench.reports.elements.format import format_duration, format_number
from mednet_bench.reports.elements.section import Figure
from mednet_bench.reports.elements.verdict_format import count_verdicts, tally_text
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.pages.overview import notices
from mednet_bench.reports.sections.ranking import over_tasks
from mednet_bench.reports.statistics.over_tasks import (
    critical_difference,
    mean_over,
    rank_scores,
    wilcoxon_p,
)

# Demšar 2006, JMLR 7:1, Table 6: AUC of C4.5, with m tuned, with cf tuned, with both, on 14 data sets.
# Two ties of the printed values are none in the printed ranks: voting has one more digit here.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_demsars_example_gives_the_published_ranks_statistics_and_critical_difference():
    ranks = rank_scores(DEMSAR)
    assert ranks.mean == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    n, k = DEMSAR.shape
    uncorrected = 12 * n / (k * (k + 1)) * ((ranks.mean**2).sum() - k * (k + 1) ** 2 / 4)
    assert uncorrected == pytest.approx(9.28, abs=0.005)
    assert (n - 1) * uncorrected / (n * (k - 1) - uncorrected) == pytest.approx(3.69, abs=0.005)
    assert ranks.critical == pytest.approx(1.25, abs=0.005)
    # Ours is corrected for ties (Conover 1999).
    ties = sum((c**3 - c) for row in DEMSAR for c in np.unique(row, return_counts=True)[1])
    assert ranks.chi2 == pytest.approx(uncorrected / (1 - ties / (n * (k**3 - k))))
    assert ranks.p == pytest.approx(stats.chi2.sf(ranks.chi2, k - 1))


def test_nemenyis_p_value_is_a_twentieth_at_the_critical_difference():
    ranks = rank_scores(DEMSAR)
    apart = np.abs(ranks.mean[:, None] - ranks.mean)
    assert ((ranks.nemenyi < 0.05) == (apart > ranks.critical)).all()
    again = stats.studentized_range.sf(apart * math.sqrt(2) / math.sqrt(4 * 5 / (6 * 14)), 4, np.inf)
    off = ~np.eye(4, dtype=bool)
    assert ranks.nemenyi[off] == pytest.approx(again[off], abs=1e-6)


@pytest.mark.parametrize(("k", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_values_are_those_of_demsars_table_5(k: int, q: float):
    assert critical_difference(k, 12) == pytest.approx(q * math.sqrt(k * (k + 1) / 72), abs=1e-3)


def test_borda_counts_the_beaten_and_half_of_the_ties():
    scores = np.array([[0.9, 0.8, 0.7], [0.5, 0.5, 0.4], [0.6, 0.7, 0.7]])
    pairs = list(itertools.permutations(range(3), 2))
    wins = [(i, (row[i] > row[j]) + 0.5 * (row[i] == row[j])) for row in scores for i, j in pairs]
    by_hand = [sum(win for place, win in wins if place == i) for i in range(3)]
    assert rank_scores(scores).borda.tolist() == by_hand == [3.5, 4.0, 1.5]


def test_ranks_need_five_tasks_and_three_inits():
    assert math.isnan(rank_scores(DEMSAR[:4]).p) and math.isnan(rank_scores(DEMSAR[:, :2]).critical)
    assert not math.isnan(rank_scores(DEMSAR[:5, :3]).p)


def test_inits_that_tie_everywhere_do_not_differ():
    ranks = rank_scores(np.full((6, 3), 0.8))
    assert (ranks.chi2, ranks.p) == (0, 1) and ranks.nemenyi == pytest.approx(np.ones((3, 3)))


@pytest.mark.parametrize("n", [3, 4, 7, 12])
def test_the_interval_is_students(n: int):
    values = np.random.default_rng(n).normal(0.02, 0.05, n)
    mean = mean_over(values)
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert (mean.low, mean.high, mean.difference) == pytest.approx((low, high, values.mean()))


@pytest.mark.slow
def test_the_next_task_is_as_often_above_the_margin_as_said():
    rng = np.random.default_rng(0)
    said, seen = [], []
    for _ in range(4000):
        *tasks, following = rng.normal(0.02, 0.03, 7)
        said.append(mean_over(np.array(tasks)).next_task(0.01))
        seen.append((following > 0.01, abs(following) <= 0.01, following < -0.01))
    assert np.sum(said, axis=1) == pytest.approx(np.ones(4000))
    assert np.mean(said, axis=0) == pytest.approx(np.mean(seen, axis=0), abs=0.05)


def test_the_next_task_has_students_prediction_distribution():
    values = np.random.default_rng(0).normal(0.02, 0.03, 6)
    truth = stats.t(5, values.mean(), values.std(ddof=1) * math.sqrt(1 + 1 / 6))
    expected = truth.sf(0.01), truth.cdf(0.01) - truth.cdf(-0.01), truth.cdf(-0.01)
    assert mean_over(values).next_task(0.01) == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_tasks_have_a_mean_and_no_interval(n: int):
    mean = mean_over(np.full(n, 0.1))
    assert mean.difference == pytest.approx(0.1) and math.isnan(mean.low) and math.isnan(mean.p)
    assert np.isnan(mean.next_task(0.01)).all()


@pytest.mark.parametrize("n", [6, 7, 9])
def test_wilcoxon_counts_every_assignment_of_signs(n: int):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    sums = [np.dot(signs, stats.rankdata(abs(values))) for signs in itertools.product((0, 1), repeat=n)]
    seen, middle = stats.rankdata(abs(values))[values > 0].sum(), n * (n + 1) / 4
    exact = np.mean([abs(s - middle) >= abs(seen - middle) - 1e-9 for s in sums])
    assert wilcoxon_p(values) == pytest.approx(exact)


def test_wilcoxon_knows_ties_zeros_and_too_few():
    assert wilcoxon_p(np.zeros(8)) == 1
    assert math.isnan(wilcoxon_p(np.ones(5)))
    assert 0 < wilcoxon_p(np.array([0.1, 0.1, 0.1, -0.1, 0.0, 0.2, 0.2])) < 1


def draw_scores(seed: int) -> np.ndarray:
    """Scores [units, inits] of inits that are apart by chance: some by much, some not at all."""
    rng = np.random.default_rng(seed)
    units, inits = rng.integers(5, 40), rng.integers(3, 11)
    return rng.normal(size=(units, inits)) + rng.choice([0.0, 0.5, 1.0, 3.0], inits)


@pytest.mark.parametrize("seed", range(8))
def test_nemenyis_p_values_are_those_of_scikit_posthocs(seed: int):
    scores = draw_scores(seed)
    theirs = scikit_posthocs.posthoc_nemenyi_friedman(scores).to_numpy(dtype=float)
    assert rank_scores(scores).nemenyi == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_the_bars_of_the_diagram_are_those_of_scikit_posthocs(seed: int):
    ranks = rank_scores(draw_scores(seed))
    axes = MatplotlibFigure().add_subplot()
    drawn = scikit_posthocs.critical_difference_diagram(
        dict(enumerate(ranks.mean)), pd.DataFrame(ranks.nemenyi), ax=axes
    )["crossbars"]
    lines = [line for (line,) in drawn]
    theirs = sorted((line.get_ydata()[0], min(line.get_xdata()), max(line.get_xdata())) for line in lines)
    order = ranks.mean.argsort()
    ours = stack_bars(equal_runs(ranks.mean[order], ranks.nemenyi[np.ix_(order, order)]))
    assert sorted(ours) == theirs


def _with_group(folder: Path, tasks: tuple[str, ...], group: str) -> None:
    store = RecordStore(folder)
    for record in list(store.read_all()):
        if record.task and record.cell.task in tasks:
            facts = msgspec.structs.replace(record.task, source_group=group)
            changed = msgspec.structs.replace(record, task=facts)
            store.path(record.key).write_bytes(msgspec.json.encode(changed))


ORGANS = ("organamnist", "organcmnist", "organsmnist")


def mednet_over_scratch(results: ReportInput) -> OverallDifference:
    return next(e for e in overall_differences(results) if (e.a, e.b) == ("mednet", "scratch"))


def test_tasks_of_one_origin_count_once(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist", *ORGANS), fractions=(1.0,)))
    before = mednet_over_scratch(load_report_input([tmp_path]))
    _with_group(tmp_path, ORGANS, "lits")
    results = load_report_input([tmp_path])
    after = mednet_over_scratch(results)
    assert (before.mean.units, after.mean.units) == (4, 2) and len(after.tasks) == 4
    answer = cost_benefit_answer(results)
    assert answer and "n = 2 image origins, each counted once" in answer.sentence
    alone = gather_scores(results)[0].differences("mednet", "scratch")
    assert after.mean.difference == pytest.approx((alone["breastmnist"] + alone["lits"]) / 2)


def test_generated_images_never_mix_with_real_ones(tmp_path: Path):
    write_run(tmp_path, Grid(tasks=("breastmnist", "retinamnist", "phantom-thorax"), fractions=(1.0,)))
    found = overall_differences(load_report_input([tmp_path]))
    real, generated = (False, ("breastmnist", "retinamnist")), (True, ("phantom-thorax",))
    assert {(e.setting.generated, e.tasks) for e in found} == {real, generated}


def test_seeds_that_one_init_lacks_are_left_out_and_tasks_that_it_lacks_do_not_rank(tmp_path: Path):
    def skip(cell: Cell) -> bool:
        return cell.init == "mednet" and (cell.task == "retinamnist" or cell.seed == 2)

    write_run(tmp_path, Grid(tasks=("breastmnist", "retinamnist"), fractions=(1.0,), skip=skip))
    results = load_report_input([tmp_path])
    assert [each.tasks for each in rank_inits(results)] == [("breastmnist",)]
    records = [r for r in results.counted if r.cell.task == "breastmnist"]
    scores = {(r.cell.init, r.cell.seed): r.metrics["auc"] for r in records}
    by_hand = np.mean([scores["mednet", s] - scores["scratch", s] for s in (0, 1)])  # type: ignore[operator]
    assert mednet_over_scratch(results).mean.difference == pytest.approx(by_hand)


def test_weights_that_may_have_seen_a_task_do_not_count_on_it(tmp_path: Path):
    write_run(tmp_path, Grid(inits=("radimagenet", "scratch"), fractions=(1.0,)))
    assert overall_differences(load_report_input([tmp_path])) == ()


def test_a_gain_is_of_the_tasks_that_the_means_beside_it_are_of(tmp_path: Path):
    def skip(cell: Cell) -> bool:
        return (cell.init, cell.task, cell.seed) == ("scratch", "breastmnist", 2)

    tasks, inits = ("breastmnist", "retinamnist"), ("imagenet", "scratch")
    write_run(tmp_path, Grid(tasks=tasks, inits=inits, fractions=(1.0,), skip=skip))
    results = load_report_input([tmp_path])
    of = {(row.task, row.init): row.stats["auc"].mean for row in results.rows}
    gain = format_number(of["retinamnist", "imagenet"] - of["retinamnist", "scratch"], "+.3f")
    answer = cost_benefit_answer(results)
    assert answer and "over 1 task" in answer.sentence
    assert (
        f"imagenet differs from scratch by {gain} (too few tasks for an interval, n = 1)" in answer.sentence
    )


def test_no_gain_is_stated_beside_means_over_tasks_that_the_weights_have_seen(tmp_path: Path):
    tasks, inits = ("breastmnist", "retinamnist"), ("imagenet", "scratch")
    write_run(tmp_path, Grid(tasks=tasks, inits=inits, fractions=(1.0,)))
    store = RecordStore(tmp_path)
    for record in list(store.read_all()):
        if record.init and (record.cell.task, record.cell.init) == ("retinamnist", "imagenet"):
            init = msgspec.structs.replace(record.init, overlap=("imagenet-1k",))
            changed = msgspec.structs.replace(record, init=init)
            store.path(record.key).write_bytes(msgspec.json.encode(changed))
    results = load_report_input([tmp_path])
    assert [each.tasks for each in overall_differences(results)] == [("breastmnist",)]
    answer = cost_benefit_answer(results)
    assert answer and "over 2 tasks" in answer.sentence and "imagenet* " in answer.sentence
    assert "Some weights have seen, or are declared to have seen, data" in " ".join(notices(results))
    assert "differs from" not in answer.sentence and "means, not verdicts" in answer.sentence


def test_seconds_per_cell_are_of_one_fold_as_in_the_table_of_costs(tmp_path: Path):
    inits = ("imagenet", "scratch")
    write_run(tmp_path, Grid(tasks=("breastmnist",), inits=inits, fractions=(1.0,), folds=3))
    results = load_report_input([tmp_path])
    folds = [cell.seconds for cell in results.counted_cells if cell.cell.init == "scratch"]
    answer = cost_benefit_answer(results)
    assert answer and "n = 9 cells each" in answer.sentence
    assert f"at {format_duration(sum(folds) / len(folds))} per cell" in answer.sentence


def alone(task: str, **of: object) -> Grid:
    return Grid(tasks=(task,), inits=("imagenet", "scratch"), protocols=("linear",), **of)  # type: ignore[arg-type]


ANEW = TrainingConfig(l2_grid=(0.5, 5.0))
MIXED = {
    "one fraction of two": [alone("retinamnist"), alone("retinamnist", fractions=(0.5,), recipe=ANEW)],
    "every fraction": [alone("bloodmnist"), alone("bloodmnist", recipe=ANEW)],
    "one init of two": [
        alone("octmnist", fractions=(0.1, 1.0)),
        replace(alone("octmnist", fractions=(1.0,), recipe=ANEW), inits=("imagenet",)),
    ],
    "other data beside a whole task": [
        alone("pathmnist"),
        alone("dermamnist", fractions=(0.1,)),
        alone("dermamnist", fractions=(0.1,), data="replaced"),
    ],
    "weights that have seen a task, beside two recipes": [
        Grid(tasks=("breastmnist",), inits=("radimagenet",), fractions=(0.1,)),
        *(alone("tissuemnist", fractions=(1.0,), recipe=recipe) for recipe in (TrainingConfig(), ANEW)),
    ],
}


@pytest.mark.parametrize("grids", MIXED.values(), ids=MIXED)
def test_what_was_run_with_two_recipes_is_reported_apart(tmp_path: Path, grids: list[Grid]):
    for grid in grids:
        write_run(tmp_path, grid)
    built = build_report([tmp_path])
    apart = [row for row in built.results.rows if row.ambiguous]
    assert apart and all(row.variant in built.markdown.read_text() for row in apart)
    assert "must not be averaged or compared with each other" in built.markdown.read_text()
    compared = [verdict for verdict in compute_verdicts(built.results) if not verdict.has("not-comparable")]
    assert compared and all(verdict.a.setting == verdict.b.setting for verdict in compared)


def test_two_recipes_of_one_task_are_two_comparisons_and_none_of_them_refused(tmp_path: Path):
    for recipe in (TrainingConfig(), ANEW):
        write_run(tmp_path, alone("retinamnist", fractions=(1.0,), recipe=recipe))
    found = compute_verdicts(load_report_input([tmp_path]))
    assert len({verdict.a.setting for verdict in found}) == len(found) == 2
    assert not any(verdict.has("not-comparable") for verdict in found)


def test_more_recipes_of_one_init_alone_change_no_count_of_verdicts(tmp_path: Path):
    write_run(tmp_path, alone("retinamnist", fractions=(1.0,)))
    before = main_answer(results := load_report_input([tmp_path]), compute_verdicts(results))
    for steps in (77, 78, 79):
        grid = alone("retinamnist", fractions=(1.0,), recipe=TrainingConfig(steps=(steps, steps)))
        write_run(tmp_path, replace(grid, inits=("imagenet",)))
    after = main_answer(results := load_report_input([tmp_path]), compute_verdicts(results))
    assert len(results.rows) == 2 + 3 and len(compute_verdicts(results)) == 1
    assert after.sentence == before.sentence


def test_refused_pairs_are_counted_as_refused_and_not_as_undecided(tmp_path: Path):
    write_run(tmp_path, alone("breastmnist", fractions=(1.0,)))
    for init, recipe in (("imagenet", TrainingConfig()), ("scratch", ANEW)):
        grid = alone("retinamnist", fractions=(1.0,), recipe=recipe)
        write_run(tmp_path, replace(grid, inits=(init,)))
    results = load_report_input([tmp_path])
    compared, refused = sorted(compute_verdicts(results), key=lambda v: v.has("not-comparable"))
    assert refused.has("not-comparable") and sum(count_verdicts([compared, refused]).values()) == 1
    assert tally_text([compared, refused]).endswith(" of 1; 1 refused")
    answer, none = main_answer(results, [compared, refused]), main_answer(results, [refused])
    assert " of 1 comparison (" in answer.sentence and "; 1 refused: not-comparable)" in answer.sentence
    assert "undecided" not in answer.sentence.lower()
    assert "none of 1 comparison can have a verdict (not-comparable)" in none.sentence and not none.figure
    reached = by_modality_answer(results, [compared, refused])
    assert reached and "fundus" not in reached.sentence, "nothing was compared there"


def test_too_few_tasks_are_named_and_many_get_a_diagram(tmp_path: Path):
    few, many = tmp_path / "few", tmp_path / "many"
    write_run(few, Grid(tasks=("breastmnist", "retinamnist"), fractions=(1.0,)))
    tasks = ("breastmnist", "retinamnist", "bloodmnist", "dermamnist", "octmnist", "pathmnist")
    write_run(many, Grid(tasks=tasks, fractions=(1.0,)))
    lacking, whole = over_tasks(load_report_input([few])), over_tasks(load_report_input([many]))
    assert lacking and whole
    (point, *_) = lacking.parts[0].points
    assert "interval needs 3" in point and "Nemenyi's need 5" in point
    assert not whole.parts[0].points
    (diagram,) = [block for block in whole.parts[0].blocks if isinstance(block, Figure)]
    assert "6 independent tasks" in diagram.panels[0].alt and "CD" in diagram.panels[0].svg
