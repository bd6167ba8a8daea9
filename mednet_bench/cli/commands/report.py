"""`report`, `leaderboard`, `compare`, `regress` and `calibrate`: the commands that the reports answer."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ...core.errors import UserError, one_line
from ..options import margin, option
from .command import BenchCommand, ParsedValues, echo


def report_command(values: ParsedValues) -> int:
    """Write the HTML and Markdown report of a run directory anew, or of several as one."""
    write_report(values["runs"], values["to"], values["margin"])
    return 0


def write_report(folders: Sequence[Path], to: Path | None, margin: float) -> None:
    """Write the report of run directories and print its leaderboard and verdicts."""
    from ...reports.pages.build import build_report
    from ...reports.pages.terminal import leaderboard_text, verdict_text

    built = build_report(folders, to, margin)
    echo(leaderboard_text(built.results))
    echo(verdict_text(built.results))
    echo(one_line(f"report: {built.html.resolve()}"))


def leaderboard_command(values: ParsedValues) -> int:
    """Print the leaderboard of one or several run directories."""
    from ...benchmark.schema.request import parse_fractions, parse_names
    from ...reports.pages.board import BoardRequest, leaderboard_board

    protocols = tuple(parse_names(values["protocol"], "protocol")) if values["protocol"] else ()
    shares = tuple(parse_fractions(values["fraction"])) if values["fraction"] else ()
    wanted = BoardRequest(protocols, shares, values["metric"])
    echo(leaderboard_board(values["runs"], wanted, values["format"]), nl=False)
    return 0


def compare_command(values: ParsedValues) -> int:
    """Print what changed from RUN_A to RUN_B, paired by seed where their cells agree."""
    from ...reports.regression.compare import comparison_markdown

    echo(comparison_markdown(values["run_a"], values["run_b"], values["metric"]), nl=False)
    return 0


def regress_command(values: ParsedValues) -> int:
    """Judge RUN against a baseline, for continuous integration: exit code 3 where a score fell."""
    from ...benchmark.schema.request import parse_names
    from ...reports.regression.regress import append_summary, regression_outcome, update_baseline

    inits = parse_names(values["inits"], "inits") if values["inits"] else []
    if values["update"]:
        if inits:
            raise UserError("--update writes every row of the run: leave out --inits.")
        told = update_baseline(values["run"], values["against"], parse_names(values["metrics"], "metrics"))
        echo(one_line(told))
        return 0
    summary, red = regression_outcome(values["run"], values["against"], inits)
    echo(summary, nl=False)
    if values["summary"]:
        append_summary(values["summary"], summary)
    return 3 if red else 0


def calibrate_command(values: ParsedValues) -> int:
    """Simulate experiments with a known truth and show how often a verdict would be wrong."""
    from ...core.files import writable_folder, write_bytes
    from ...reports.pages.calibration_page import calibration_csv, calibration_markdown
    from ...reports.statistics.calibration import calibrate_verdicts as simulate

    folder = writable_folder(values["out"]) if values["out"] else None
    with click.progressbar(length=1000, label="experiments", file=sys.stderr) as bar:
        found = simulate(
            values["experiments"], values["jobs"], lambda done, of: bar.update(done * 1000 // of - bar.pos)
        )
    text = calibration_markdown(found)
    echo(text)
    if folder:
        write_bytes(folder / "calibration.md", text.encode())
        write_bytes(folder / "calibration.csv", calibration_csv(found).encode())
    return 0 if all(rate.holds for rate in found) else 3


def _runs() -> click.Argument:
    return click.Argument(["runs"], nargs=-1, required=True, type=click.Path(path_type=Path))


def _leaderboard() -> list[click.Parameter]:
    return [
        _runs(),
        option("--protocol", "Only these, comma-separated.", default="", show_default=False),
        option(
            "--fraction", "Only these shares of the labels, comma-separated.", default="", show_default=False
        ),
        option("--metric", "Instead of the one that leads.", default="", show_default=False),
        option(
            "--format",
            "latex is for the package booktabs.",
            default="table",
            type=click.Choice(["table", "markdown", "csv", "latex"]),
        ),
    ]


def _compare() -> list[click.Parameter]:
    folder = click.Path(path_type=Path)
    return [
        click.Argument(["run_a"], type=folder),
        click.Argument(["run_b"], type=folder),
        option("--metric", "Instead of the one that leads.", default="", show_default=False),
    ]


def _regress() -> list[click.Parameter]:
    file = click.Path(dir_okay=False, path_type=Path)
    return [
        click.Argument(["run"], type=click.Path(path_type=Path)),
        click.Option(["--against"], type=file, required=True, help="Baseline file."),
        option(
            "--update", "Write the baseline from this run.", is_flag=True, default=False, show_default=False
        ),
        option("--inits", "Judge only these, comma-separated.", default="", show_default=False),
        option("--metrics", "With --update: what the baseline holds, comma-separated.", default="auc"),
        click.Option(["--summary"], type=file, help="Append the summary to this file too."),
    ]


def _calibrate() -> list[click.Parameter]:
    return [
        option("--experiments", "Experiments per truth.", default=1000, type=click.IntRange(1)),
        option("--jobs", "Processes.", default=1, type=click.IntRange(1)),
        click.Option(
            ["--out"], type=click.Path(path_type=Path), help="Also write calibration.md and .csv here."
        ),
    ]


_TO = click.Option(
    ["--to"],
    type=click.Path(path_type=Path),
    help="Where to write; RUN/report by default, needed for several runs.",
)
REPORT_COMMANDS = (
    BenchCommand(report_command, [_runs(), _TO, margin()], "mednet-bench report runs/latest"),
    BenchCommand(leaderboard_command, _leaderboard(), "mednet-bench leaderboard runs/latest --format latex"),
    BenchCommand(compare_command, _compare(), "mednet-bench compare runs/before runs/after"),
    BenchCommand(regress_command, _regress(), "mednet-bench regress runs/latest --against baseline.json"),
    BenchCommand(calibrate_command, _calibrate(), "mednet-bench calibrate --jobs 2 --out calibration"),
)
