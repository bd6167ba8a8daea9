"""Markdown of `regress`: rows that fell against a baseline, with change and interval."""

import math
from collections.abc import Sequence
from pathlib import Path

import tabulate

from ...benchmark.schema.records import PRIMARY_METRIC
from ...core.errors import UserError, unknown_name_error
from ..analysis.load_report_input import load_report_input
from ..elements.format import DASH, count_noun, format_number, format_percent
from ..pages.markdown_page import escape_markdown
from ..pages.overview import damage_notice
from .baseline import BaselineFile, baseline_of, read_baseline
from .judgment import PROMISED_RATE, RowJudgment, check_regression, row_name

MARKS = {"fell": "fell", "missing": "missing", "unsure": "not judged", "rose": "rose", "held": "as before"}


def regression_outcome(run: Path, against: Path, inits: Sequence[str] = ()) -> tuple[str, bool]:
    """Judge a run against a baseline file; return the Markdown summary and whether it is red.

    `inits` selects inits of the baseline; none means all.

    Raises:
        UserError: run or baseline cannot be read, or do not fit each other.
    """
    baseline = read_baseline(against)
    results = load_report_input([run])
    judgments = check_regression(baseline, results, inits)
    # a damaged record that is in no plan may belong to any row
    hidden = not set(results.unreadable).isdisjoint(results.strays)
    summary = regression_summary(judgments, baseline, against, damage_notice(results), hidden)
    return summary, hidden or any(judgment.red for judgment in judgments)


def update_baseline(run: Path, against: Path, metrics: Sequence[str] = ()) -> str:
    """Write the baseline file of a finished run, return a line to print; see `baseline_of`."""
    results = load_report_input([run])
    for name in metrics:
        if name not in results.metrics:
            raise unknown_name_error("metric", name, results.metrics)
    baseline = baseline_of(results, metrics or (PRIMARY_METRIC,))
    baseline.write(against)
    seeds = min(line.n_seeds for line in baseline.lines)
    few = "; with so few, a run with other seeds is judged loosely" if seeds < 5 else ""
    rows = count_noun(len(baseline.lines), "row")
    return f"{against}: baseline of {rows}, at least {count_noun(seeds, 'seed')} each{few}."


def append_summary(summary: Path, words: str) -> None:
    """Append to the summary file of a continuous integration; `UserError` if it is not writable."""
    try:
        with summary.open("a", encoding="utf-8") as file:
            file.write(words)
    except OSError as error:
        raise UserError(f"Cannot write {summary} ({error.strerror}): choose another --summary.") from error


def regression_summary(
    judgments: Sequence[RowJudgment],
    baseline: BaselineFile,
    path: Path,
    damage: str = "",
    hidden: bool = False,
) -> str:
    """Return the Markdown summary for a terminal or the page of a continuous integration.

    Args:
        judgments: one per row.
        baseline: what they are judged against.
        path: file of the baseline.
        damage: notice of damaged records, without a full stop; "" if none.
        hidden: a damaged record may belong to any row, so that none is green.
    """
    red = [judgment for judgment in judgments if judgment.red]
    rose = [judgment for judgment in judgments if judgment.verdict == "rose"]
    unsure = [judgment for judgment in judgments if judgment.verdict == "unsure"]
    rows = count_noun(len(judgments), "row")
    title = f"Red: {len(red)} of {rows} fell or are missing" if red else f"Green: {rows}, none fell"
    if hidden and not red:
        title = f"Red: {rows}, none fell, but records are damaged"
    parts = [f"## Regression. {title}", escape_markdown(_origin(baseline, path))]
    parts += [escape_markdown(f"{damage}.")] if damage else []
    parts += [_list("", red), _list("Rose: consider --update.", rose), _list("Not judged:", unsure)]
    parts += [f"<details><summary>All rows</summary>\n\n{_table(judgments)}\n\n</details>"]
    return "\n\n".join(filter(None, parts)) + "\n"


def _origin(baseline: BaselineFile, path: Path) -> str:
    commit = f", commit {baseline.commit[:12]}" if baseline.commit else ""
    return (
        f"Against {path} of {baseline.made[:10]}{commit}. Without any change, fewer than "
        f"{format_percent(PROMISED_RATE)} of reruns with other seeds go red."
    )


def _list(heading: str, judgments: Sequence[RowJudgment]) -> str:
    lines = [f"- {escape_markdown(_sentence(judgment))}" for judgment in judgments]
    return "\n".join([*([heading, ""] if heading else []), *lines]) if lines else ""


def _sentence(judgment: RowJudgment) -> str:
    line, title = judgment.line, judgment.metric.title_with_direction
    if judgment.verdict == "missing":
        return f"{row_name(line)}: {title} is missing; {judgment.why}."
    old, new = judgment.seeds
    before, now = format_number(judgment.before, ".4f"), format_number(judgment.now, ".4f")
    moved = (
        f"{row_name(line)}: {title} went from {before} ({count_noun(old, 'seed')}) to {now} "
        f"({count_noun(new, 'seed')}), a change of {format_number(judgment.change, '+.4f')}"
    )
    if judgment.verdict == "unsure":
        return f"{moved}; a baseline of a single seed cannot judge it."
    return f"{moved}; allowed is {_interval(judgment)} ({judgment.why})."


def _interval(judgment: RowJudgment) -> str:
    if not math.isfinite(judgment.allowed):
        return DASH
    low, high = judgment.before - judgment.allowed, judgment.before + judgment.allowed
    return f"{format_number(low, '.4f')} to {format_number(high, '.4f')}"


def _table(judgments: Sequence[RowJudgment]) -> str:
    headers = [
        "", "Task", "Init", "Protocol", "Labels", "Metric", "Baseline", "Now", "Change", "Allowed", "Why",
    ]  # fmt: skip
    body = [[escape_markdown(cell) for cell in _cells(judgment)] for judgment in judgments]
    align = ("left",) * 6 + ("right",) * 4 + ("left",)
    return tabulate.tabulate(body, headers, tablefmt="pipe", disable_numparse=True, colalign=align)


def _cells(judgment: RowJudgment) -> list[str]:
    line, (old, new) = judgment.line, judgment.seeds
    return [
        MARKS[judgment.verdict], line.task, line.init, line.protocol, format_percent(line.fraction),
        judgment.metric.title_with_direction,
        f"{format_number(judgment.before, '.4f')} ({old})",
        f"{format_number(judgment.now, '.4f')} ({new})",
        format_number(judgment.change, "+.4f"), _interval(judgment), judgment.why,
    ]  # fmt: skip
