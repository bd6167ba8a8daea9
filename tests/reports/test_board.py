"""The leaderboard alone: the same numbers as in the report, in four formats, and only what was asked for."""

import csv
import io
from pathlib import Path

import pytest
from synthetic import Grid, write_run

from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.elements.format import GENERATED, format_number
from mednet_bench.reports.pages.board import BoardRequest, leaderboard_board
from mednet_bench.reports.pages.terminal import leaderboard_text


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, Grid(tasks=("breastmnist", "phantom_%a"), protocols=("linear", "knn")))
    return folder


def test_the_table_is_the_one_at_the_end_of_a_run(run: Path):
    assert leaderboard_board([run], BoardRequest(), "table") == leaderboard_text(load_report_input([run]))


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "latex"])
def test_only_what_is_wanted_is_shown_with_its_number(run: Path, format: str):
    shown = leaderboard_board([run], BoardRequest(("knn",), (0.5,), "accuracy"), format)
    row = next(
        row
        for row in load_report_input([run]).rows
        if (row.task, row.init, row.protocol, row.fraction) == ("breastmnist", "scratch", "knn", 0.5)
    )
    mean = row.stats["accuracy"].mean
    assert (repr(mean) if format == "csv" else format_number(mean)) in shown
    assert "linear" not in shown and "auc" not in shown.lower().split() and "10 %" not in shown


def test_the_csv_holds_one_line_per_row_and_metric(run: Path):
    lines = list(csv.DictReader(io.StringIO(leaderboard_board([run], BoardRequest(metric="auc"), "csv"))))
    assert len(lines) == len(load_report_input([run]).rows) and {line["metric"] for line in lines} == {"auc"}


def test_latex_is_escaped_and_ruled_as_booktabs_wants(run: Path):
    shown = leaderboard_board([run], BoardRequest(), "latex")
    assert shown.count(r"\toprule") == shown.count(r"\begin{table}") == 2
    assert r"phantom\_\%a" in shown and r"$\pm$" in shown and r"tf\_efficientnet\_lite0" in shown
    assert shown.isascii()


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "latex"])
def test_a_generated_task_is_never_shown_without_its_warning(run: Path, format: str):
    shown = leaderboard_board([run], BoardRequest(), format)
    assert "true" in shown if format == "csv" else "".join(GENERATED.split()[:2]) in "".join(shown.split())


@pytest.mark.parametrize(
    ("wanted", "cure"),
    [
        (BoardRequest(protocols=("linaer",)), "did you mean 'linear'"),
        (BoardRequest(fractions=(0.3,)), "there are: 0.1, 0.5, 1"),
        (BoardRequest(metric="acuracy"), "did you mean 'accuracy'"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(run: Path, wanted: BoardRequest, cure: str):
    with pytest.raises(UserError, match=cure):
        leaderboard_board([run], wanted, "table")
