"""Reports treat one protocol with different options as different protocols."""

import csv
from pathlib import Path

import pytest
from synthetic import Grid, write_run

from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.verdicts import compute_verdicts
from mednet_bench.reports.pages.board import BoardRequest, choose_rows_shown
from mednet_bench.reports.pages.build import BuiltReport, build_report
from mednet_bench.reports.regression.compare import comparison_markdown
from mednet_bench.reports.regression.regress import regression_outcome, update_baseline

ONE, TWO = "partial (stages=1)", "partial (stages=2)"


def run_with(folder: Path, stages: int) -> Path:
    inits = ("imagenet", "scratch")
    grid = Grid(
        tasks=("breastmnist", "retinamnist"),
        inits=inits,
        protocols=("partial",),
        fractions=(0.1, 1.0),
        protocol_options={"stages": stages},
        fail=lambda cell: cell.seed == 2 and cell.task == "retinamnist",
        skip=lambda cell: cell.seed == 1 and cell.task == "retinamnist",
    )
    write_run(folder, grid)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [run_with(folder / str(stages), stages) for stages in (1, 2)]


@pytest.fixture(scope="module")
def built(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> BuiltReport:
    return build_report(runs, tmp_path_factory.mktemp("report"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_of_different_options_are_neither_averaged_nor_mistaken_for_repetitions(built: BuiltReport):
    results = built.results
    assert len(results.rows) == 2 * 2 * 2 * 2 and not results.repeated
    assert {row.protocol for row in results.rows} == {ONE, TWO}
    assert not any(row.ambiguous for row in results.rows)
    assert {len(row.seeds) for row in results.rows if row.task == "breastmnist"} == {3}
    table = rows(built.csv)
    assert {(row["protocol"], row["n_seeds"]) for row in table if row["task"] == "breastmnist"} == {
        (ONE, "3"), (TWO, "3"),
    }  # fmt: skip


def test_a_verdict_is_between_rows_of_the_same_options(built: BuiltReport):
    found = compute_verdicts(built.results)
    assert found and all(verdict.a.protocol == verdict.b.protocol for verdict in found)
    assert {verdict.a.protocol for verdict in found} == {ONE, TWO}
    written = rows(next(path for path in built.verdicts if path.suffix == ".csv"))
    assert {row["protocol"] for row in written} == {ONE, TWO}


def test_pages_show_the_options_of_rows_and_of_cells_without_a_row(built: BuiltReport):
    for page in (built.html.read_text(), built.markdown.read_text()):
        for name in (ONE, TWO):
            assert name in page or name.replace("(", r"\(").replace(")", r"\)") in page
    assert {item.cell.protocol for item in built.results.missing} == {ONE, TWO}
    assert {record.cell.protocol for record in built.results.failed} == {ONE, TWO}


def test_the_leaderboard_is_chosen_by_name_with_or_without_options(built: BuiltReport):
    def chosen(*names: str) -> set[str]:
        return {row.protocol for row in choose_rows_shown(built.results, BoardRequest(names)).rows}

    assert chosen("partial") == chosen() == {ONE, TWO} and chosen(TWO) == {TWO}
    with pytest.raises(UserError, match="did you mean 'partial'"):
        chosen("partal")


def test_regress_and_compare_pair_only_the_same_options(runs: list[Path], tmp_path: Path):
    whole = tmp_path / "whole"
    write_run(whole, Grid(tasks=("breastmnist",), protocols=("partial",), protocol_options={"stages": 1}))
    update_baseline(whole, tmp_path / "baseline.json", ["auc"])
    assert ONE in (tmp_path / "baseline.json").read_text()
    assert regression_outcome(whole, tmp_path / "baseline.json")[1] is False
    summary, red = regression_outcome(runs[1], tmp_path / "baseline.json")
    assert red and "partial" in summary
    text = comparison_markdown(*runs)
    assert ONE in text and TWO in text


def test_a_record_keeps_its_options(runs: list[Path]):
    from mednet_bench.benchmark.schema.records import RecordStore

    options = [record.cell.protocol_options for record in RecordStore(runs[1]).read_all()]
    assert options and all(each == {"stages": 2} for each in options)
    assert load_report_input(runs[1:]).plan is not None
