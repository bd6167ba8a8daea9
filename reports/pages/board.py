"""The leaderboard alone, for a terminal, a pull request, a paper or a spreadsheet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.errors import UserError, unknown_name_error
from ..analysis.load_report_input import load_report_input
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..elements.format import NBSP, named_task
from ..statistics.stats import MetricStat
from .csv_table import leaderboard_csv, leaderboard_rows
from .markdown_page import escape_markdown, markdown_table
from .overview import notices
from .terminal import board_cells, captioned_rows, leaderboard_text
from .verdict_tex import latex_table


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
    parts = [escape_markdown(notice) for notice in notices(results)] if format == "markdown" else []
    for caption, rows in captioned_rows(results).items():
        headings, body = board_cells(results, rows)
        named = [[named_task(results, task), *cells] for task, *cells in body]
        if format == "latex":  # a table goes into a paper alone: the notices are in its caption
            notes = " ".join(notices(replace(results, rows=tuple(rows))))
            caption = f"{caption}. {notes}".removesuffix(". ")
            parts.append(latex_table(caption, headings, named, "l" * len(headings)))
        else:
            parts.append(markdown_table(caption, headings, named))
    return "\n\n".join(parts).replace(NBSP, " ").rstrip() + "\n"


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
