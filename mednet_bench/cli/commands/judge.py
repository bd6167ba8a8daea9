"""`judge`: a verdict on predictions made elsewhere."""

import click

from ...reports import judge
from .. import show
from ..options import FILE, field_option, flag_option, judged_metric_option, option
from .command import BenchCommand, ParsedValues, echo, echo_json, format_option


def judge_command(values: ParsedValues) -> int:
    """Compare the scores of two models in CSV files.

    The verdict says whether A is better than B on the same test images.

    Columns: id, label, score (or score_CLASS per class); optionally seed, task, group.
    """
    files = values["a"], values["b"]
    options = judge.score_files.ScoreFileOptions(
        values["groups"], values["metric"], values["margin"], values["show_ids"]
    )
    verdicts = judge.score_verdict.judge_pairs(judge.score_files.read_score_files(*files, options))
    if values["format"] == "json":
        echo_json(show.judge.judge_facts(verdicts))
    else:
        echo(show.judge.judge_text(verdicts, *files))
    return 0


_PARAMS = [
    click.Argument(["a"], type=FILE),
    click.Argument(["b"], type=FILE),
    option("--groups", "Column of groups, such as patients.", default="", show_default="group, if present"),
    judged_metric_option(),
    field_option("margin", help="Smaller differences count as equivalent, in units of the metric."),
    format_option("json"),
    flag_option("--show-ids", "Name the ids that only one of the files has."),
]
JUDGE_COMMANDS = (BenchCommand(judge_command, _PARAMS, "mednet-bench judge a.csv b.csv --groups patient"),)
