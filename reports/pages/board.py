"""The leaderboard alone, for a terminal, a pull request, a paper or a spreadsheet."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.errors import UserError, one_line, unknown_name_error
from ..analysis.load_report_input import load_report_input
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..elements.format import DASH, GENERATED, NBSP, format_percent, place_label, primary_title
from ..statistics.stats import MetricStat
from .csv_table import leaderboard_csv, leaderboard_rows
from .markdown_page import escape_markdown
from .overview import notices
from .terminal import by_line, leaderboard_text, score_text
from .verdict_tex import escape_latex


@dataclass(frozen=True)
class BoardRequest:
    """Part of a leaderboard to show.

    Attributes:
        protocols: names, with or without options; empty means all.
        fractions: shares of the labels; empty means all.
        metric: "" is the primary metric.
    """

    protocols: tuple[str, ...] = ()
    fractions: tuple[float, ...] = ()
    metric: str = ""


def leaderboard_board(folders: Sequence[Path], wanted: BoardRequest, format: str) -> str:
    """Return the leaderboard of one or several run directories.

    Args:
        folders: run directories.
        wanted: part to show.
        format: table, markdown, csv, or latex for the package booktabs.

    Raises:
        UserError: a folder has no readable record, or no result that matches `wanted`.
    """
    results = choose_rows_shown(load_report_input(folders), wanted)
    if format == "csv":
        return leaderboard_csv(results)
    if format == "table":
        return leaderboard_text(results)
    tables: dict[tuple[str, str, int, int], list[LeaderboardRow]] = defaultdict(list)
    for row in results.rows:
        tables[row.protocol, row.arch, row.size, row.input_size].append(row)
    parts = [escape_markdown(notice) for notice in notices(results)] if format == "markdown" else []
    for (protocol, arch, size, input_size), rows in tables.items():
        score = f"test {primary_title(results)}, mean ± sd over seeds (number of seeds)"
        caption = f"{protocol}: {place_label(arch, size, input_size)}; {score}"
        parts.append((_latex if format == "latex" else _markdown)(results, rows, caption))
    return "\n\n".join(parts).replace(NBSP, " ") + "\n"


def leaderboard_facts(folders: Sequence[Path], wanted: BoardRequest) -> dict[str, Any]:
    """Return the leaderboard as plain data: primary metric, notices, and `leaderboard_rows`."""
    results = choose_rows_shown(load_report_input(folders), wanted)
    return {
        "primary_metric": results.primary,
        "notices": [notice.replace(NBSP, " ") for notice in notices(results)],
        "rows": leaderboard_rows(results),
    }


def choose_rows_shown(results: ReportInput, wanted: BoardRequest) -> ReportInput:
    """Keep the wanted rows and metric."""
    for protocol in wanted.protocols:
        if protocol not in (known := {name for row in results.rows for name in _protocol_names(row)}):
            raise unknown_name_error("result of protocol", protocol, known)
    for fraction in wanted.fractions:
        if fraction not in (known := sorted({row.fraction for row in results.rows})):
            there = ", ".join(f"{value:g}" for value in known) or "none"
            raise UserError(f"There is no result with --fraction {fraction:g}; there are: {there}.")
    if wanted.metric and wanted.metric not in results.metrics:
        raise unknown_name_error("metric", wanted.metric, results.metrics)
    rows = tuple(
        row if not wanted.metric else replace(row, stats=_only(row, wanted.metric))
        for row in results.rows
        if _protocol_names(row) & {*(wanted.protocols or (row.protocol,))}
        and row.fraction in (wanted.fractions or (row.fraction,))
    )
    return replace(results, rows=rows, metrics=(wanted.metric,) if wanted.metric else results.metrics)


def _protocol_names(row: LeaderboardRow) -> set[str]:
    """Return the names by which a row's protocol is chosen: with its options, and without."""
    return {row.protocol, row.protocol_name}


def _only(row: LeaderboardRow, name: str) -> dict[str, MetricStat]:
    return {name: row.stats[name]} if name in row.stats else {}


def _body(results: ReportInput, rows: Sequence[LeaderboardRow]) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells: a row per task and fraction, a column per init."""
    inits = list(dict.fromkeys(row.init for row in rows))
    body = []
    for (task, fraction), members in by_line(rows).items():
        warned = f"{task} ({GENERATED})" if results.generated(task) else task
        scores = (
            "; ".join(score_text(results, row) for row in members if row.init == init) or DASH
            for init in inits
        )
        body.append([one_line(warned), format_percent(fraction), *scores])
    return ["Task", "Labels", *map(one_line, inits)], body


def _markdown(results: ReportInput, rows: Sequence[LeaderboardRow], caption: str) -> str:
    import tabulate

    headers, body = _body(results, rows)
    escaped = [[escape_markdown(cell) for cell in line] for line in body]
    headers = [*map(escape_markdown, headers)]
    table = tabulate.tabulate(escaped, headers, tablefmt="pipe", disable_numparse=True)
    return f"**{escape_markdown(caption)}**\n\n{table}"


def _latex(results: ReportInput, rows: Sequence[LeaderboardRow], caption: str) -> str:
    """Write a `table` environment, with the notices in its caption.

    A table goes into a paper alone. `tabulate` escapes names; signs of numbers become mathematics.
    """
    import tabulate

    caption = ". ".join((caption, " ".join(notices(replace(results, rows=tuple(rows)))))).removesuffix(". ")
    headers, body = _body(results, rows)
    table = tabulate.tabulate(body, headers, tablefmt="latex_booktabs", disable_numparse=True)
    whole = f"\\begin{{table}}\n\\centering\n\\caption{{{escape_latex(caption)}}}\n{table}\n\\end{{table}}"
    for sign, command in (("±", r"$\pm$"), ("\u2212", "$-$"), (DASH, "--")):
        whole = whole.replace(sign, command)
    return whole
