"""`report`, `leaderboard`, `verdicts`, `predictions`, `compare`, ...: commands that read records."""

import io
import sys
import webbrowser
from pathlib import Path

import click

from ...benchmark.schema.request import RunConfig
from ...core.config_fields import config_fields
from ...core.errors import UserError, one_line
from ...core.files import writable_folder, write_bytes
from ...reports import pages, published, regression, statistics
from ..options import (
    FILE,
    PATH,
    POSITIVE,
    announce_code,
    field_option,
    flag_option,
    jobs_option,
    judged_metric_option,
    option,
    read_config_file,
)
from .command import BenchCommand, ParsedValues, echo, echo_json, format_option, say


def report_command(values: ParsedValues) -> int:
    """Write the HTML and Markdown report of one or several runs."""
    prevalence = values["prevalence"] or 0.0
    report = pages.build.build_report(values["runs"], values["to"], values["margin"], prevalence)
    print_results(report.results, report.html)
    if values["open"]:
        webbrowser.open(report.html.resolve().as_uri())
    return 0


def print_results(results: "pages.build.ReportInput", page: Path) -> None:
    """Print the headline and its comparisons, and where the report is."""
    echo(pages.terminal_summary.summary_text(results))
    echo(one_line(f"report: {page.resolve()}"))


def leaderboard_command(values: ParsedValues) -> int:
    """Print the leaderboard of runs, or write a site.

    A site is made of published runs.
    """
    if values["html"]:
        if values["protocol"] or values["fraction"] or values["metric"] or values["format"] != "table":
            raise UserError("--html writes all results, with filters: leave out the options of the table.")
        site = pages.site.build_site(values["runs"], values["html"])
        echo(one_line(f"site: {site.resolve()}"))
        return 0
    request = pages.board.BoardRequest(values["protocol"] or (), values["fraction"] or (), values["metric"])
    if values["format"] == "json":
        echo_json(pages.board.leaderboard_facts(values["runs"], request))
    else:
        echo(pages.board.leaderboard_board(values["runs"], request, values["format"]), nl=False)
    return 0


def publish_command(values: ParsedValues) -> int:
    """Write the records of runs for other people.

    Without images, paths and identifiers. The folder is a run directory with the licenses of all inputs and
    the hash of every file.
    """
    manifest = published.publish.publish_runs(values["runs"], values["to"])
    licenses = {each.task: each.license for each in manifest.tasks}
    licenses |= {each.init: each.license for each in manifest.inits}
    unknown = [name for name, license in licenses.items() if published.manifest.UNKNOWN in license]
    echo(one_line(f"published: {values['to'].resolve()} ({len(manifest.files)} files)"))
    if unknown:
        say(f"warning: license unknown, ask before you share: {', '.join(unknown)}")
    return 0


def verdicts_command(values: ParsedValues) -> int:
    """Print every verdict of one or several runs."""
    runs, margin, metric = values["runs"], values["margin"], values["metric"]
    if values["format"] == "json":
        echo_json(pages.verdict_board.verdict_facts(runs, margin, metric))
    else:
        echo(pages.verdict_board.verdict_board(runs, margin, values["format"], metric), nl=False)
    return 0


def predictions_command(values: ParsedValues) -> int:
    """Write the scores of every test image to a CSV file.

    Files, labels and pseudonyms of patients stay on this machine: no other command reads the file, and it
    belongs into no publication.
    """
    path = values["to"]
    if path.exists() and not values["force"]:
        raise UserError(f"{path} exists: name another file, or pass --force to replace it.")
    wanted = pages.board.BoardRequest(values["protocol"] or (), values["fraction"] or ())
    write_bytes(path, pages.predictions_csv.predictions_csv(values["run"], wanted).encode())
    echo(one_line(f"{path}: it names files and patients' pseudonyms, so keep it on this machine"))
    if values["sheets"]:
        written, without = pages.error_sheet.write_error_sheets(values["run"], wanted, values["sheets"])
        for name in without:
            say(f"no sheet of {name}: its images are not your own, gone, or changed since the run")
        if written:
            echo(one_line(f"{values['sheets']}: worst errors ({len(written)}), for this machine only"))
    return 0


def compare_command(values: ParsedValues) -> int:
    """Print what changed from RUN_A to RUN_B, paired by seed."""
    text = regression.compare.comparison_markdown(values["run_a"], values["run_b"], values["metric"])
    echo(text, nl=False)
    return 0


def regress_command(values: ParsedValues) -> int:
    """Compare RUN with a baseline; exit 3 where a score fell.

    Instead of a RUN, --config computes the run that a file describes, or the part of it with --inits.
    """
    inits = values["inits"] or ()
    if (values["run"] is None) == (values["config"] is None):
        raise UserError("Name either a run directory or, with --config, the file of a run to compute.")
    if values["config"]:
        given = read_config_file(values["config"], config_fields(RunConfig))
        config = RunConfig(**{**given, **({"inits": inits} if inits else {})})
        announce_code(values["config"], config.init_file)
        from ... import api  # late: `--help` needs none of it

        api.run(config)
        values = {**values, "run": config.folder}
    if values["update"]:
        if inits:
            raise UserError("--update writes every row of the run: leave out --inits.")
        line = regression.regress.update_baseline(values["run"], values["against"], values["metrics"])
        echo(one_line(line))
        return 0
    summary, red = regression.regress.regression_outcome(values["run"], values["against"], inits)
    echo(summary, nl=False)
    if values["summary"]:
        regression.regress.append_summary(values["summary"], summary)
    return 3 if red else 0


def calibrate_command(values: ParsedValues) -> int:
    """Simulate experiments to measure how often verdicts err."""
    folder = writable_folder(values["out"]) if values["out"] else None
    shown = io.StringIO() if values["quiet"] else sys.stderr
    with click.progressbar(length=1000, label="experiments", file=shown) as bar:
        rates = statistics.calibration.calibrate_verdicts(
            values["experiments"], values["jobs"], lambda done, of: bar.update(done * 700 // of - bar.pos)
        )
        scenarios = statistics.scenarios.run_scenarios(
            values["experiments"],
            values["jobs"],
            lambda done, of: bar.update(700 + done * 300 // of - bar.pos),
        )
    text = pages.calibration_page.calibration_markdown(rates)
    text += "\n" + pages.calibration_page.scenario_markdown(scenarios)
    echo(text)
    if folder:
        write_bytes(folder / "calibration.md", text.encode())
        write_bytes(folder / "calibration.csv", pages.calibration_page.calibration_csv(rates).encode())
        write_bytes(folder / "scenarios.csv", pages.calibration_page.scenario_csv(scenarios).encode())
    broken = [rate for rate in scenarios if rate.promised and not rate.holds]
    return 0 if all(rate.holds for rate in rates) and not broken else 3


def _text_option(flag: str, text: str) -> click.Option:
    return option(flag, text, default="", show_default=False)


_RUNS = click.Argument(["runs"], nargs=-1, required=True, type=PATH)
_METRIC = _text_option("--metric", "Metric to show instead of the primary one.")
_REPORT = [
    _RUNS,
    click.Option(
        ["--to"], type=PATH, help="Folder to write; RUN/report by default, needed for several runs."
    ),
    field_option("margin"),
    click.Option(
        ["--prevalence"],
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Share of positives for PPV and NPV of binary tasks; by default that of the test set.",
    ),
    field_option("open"),
]
_FORMAT = format_option(
    "markdown", "csv", "json", "latex", text="Format of the table; latex needs the package booktabs."
)
_SHOWN = [
    field_option("protocols", "protocol", default=None, help="Show only these protocols, comma-separated."),
    field_option(
        "fractions",
        "fraction",
        default=None,
        help="Show only these fractions of the labels, comma-separated.",
    ),
]
_HTML = click.Option(
    ["--html"], type=PATH, help="Folder for a web site of all results, of published runs only."
)
_LEADERBOARD = [_RUNS, *_SHOWN, _METRIC, _FORMAT, _HTML]
_PUBLISH = [
    _RUNS,
    click.Option(["--to"], type=PATH, required=True, help="Folder to write, new or published before."),
]
_PREDICTIONS = [
    click.Argument(["run"], type=PATH),
    click.Option(["--to"], type=FILE, required=True, help="CSV file to write; it stays on this machine."),
    *_SHOWN,
    click.Option(
        ["--sheets"],
        type=PATH,
        help="Folder for sheets of the images with the largest loss, of your own data.",
    ),
    flag_option("--force", "Replace an existing file."),
]
_COMPARE = [click.Argument(["run_a"], type=PATH), click.Argument(["run_b"], type=PATH), _METRIC]
_REGRESS = [
    click.Argument(["run"], type=PATH, required=False),
    click.Option(["--config"], type=FILE, help="TOML file of a run to compute now, as for `run --config`."),
    click.Option(["--against"], type=FILE, required=True, help="Baseline file."),
    flag_option("--update", "Write the baseline from this run."),
    field_option("inits", default=None, help="Compare only these inits, comma-separated."),
    field_option(  # a list of names, too
        "inits",
        "metrics",
        default="auc",
        help="Metrics that --update writes into the baseline, comma-separated.",
    ),
    click.Option(["--summary"], type=FILE, help="File to append the summary to."),
]
_CALIBRATE = [
    option("--experiments", "Simulated experiments per truth.", default=1000, type=POSITIVE),
    jobs_option(),
    click.Option(["--out"], type=PATH, help="Folder for calibration.md, calibration.csv and scenarios.csv."),
]
REPORT_COMMANDS = (
    BenchCommand(report_command, _REPORT, "mednet-bench report runs/latest"),
    BenchCommand(leaderboard_command, _LEADERBOARD, "mednet-bench leaderboard runs/latest --format latex"),
    BenchCommand(
        verdicts_command,
        [_RUNS, field_option("margin"), judged_metric_option(), _FORMAT],
        "mednet-bench verdicts runs/latest --format json",
    ),
    BenchCommand(
        predictions_command, _PREDICTIONS, "mednet-bench predictions runs/latest --to predictions.csv"
    ),
    BenchCommand(publish_command, _PUBLISH, "mednet-bench publish runs/latest --to published"),
    BenchCommand(compare_command, _COMPARE, "mednet-bench compare runs/before runs/after"),
    BenchCommand(regress_command, _REGRESS, "mednet-bench regress runs/latest --against baseline.json"),
    BenchCommand(calibrate_command, _CALIBRATE, "mednet-bench calibrate --jobs 2 --out calibration"),
)
