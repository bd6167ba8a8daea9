"""Leaderboard for a terminal: a line per task and fraction, a column per init."""

import shutil
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from ...core.errors import one_line
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..answers.headline import NOTHING
from ..elements.format import (
    DASH,
    GENERATED,
    NBSP,
    format_number,
    format_percent,
    group_by_setting,
    labels_by_init,
    primary_title,
)
from .overview import notices


def leaderboard_text(results: ReportInput, width: int | None = None) -> str:
    """Return the leaderboard for `width` columns, by default of the terminal.

    Inits that do not fit side by side get a line each.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    parts = [fill_line(notice, width) for notice in notices(results)]
    for caption, rows in captioned_rows(results).items():
        parts.append(f"{fill_line(caption, width)}\n\n{_fitting_table(results, rows, width)}")
    if results.rows:
        origins = (f"{init}: {'; '.join(of)}" for init, of in labels_by_init(results.rows).items() if any(of))
        notes = ("\n".join(fill_line(line, width) for line in of) for of in (_undefined(results), origins))
        parts += filter(None, notes)
    else:
        parts.append(NOTHING)
    return "\n\n".join(parts).replace(NBSP, " ") + "\n"


def captioned_rows(results: ReportInput) -> dict[str, list[LeaderboardRow]]:
    """Group the rows by protocol, network and image size, each group with its caption."""
    score = f"test {primary_title(results)}, mean ± sd (seeds)"
    return {f"{of}; {score}": rows for of, rows in group_by_setting(results.rows, lambda row: row).items()}


def fill_line(text: str, width: int) -> str:
    """Wrap a sentence; every name in it stays on its line."""
    return textwrap.fill(one_line(text), width, subsequent_indent="  ")


def _fitting_table(results: ReportInput, rows: Sequence[LeaderboardRow], width: int) -> str:
    wide = _simple_table(results, *board_cells(results, rows))
    if max(map(len, wide.splitlines())) <= width:
        return wide
    long = [[row.task, _labels(row), one_line(row.init), score_text(results, row)] for row in rows]
    return _simple_table(results, ["Task", "Labels", "Init", "Score"], long)


def board_cells(results: ReportInput, rows: Sequence[LeaderboardRow]) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells: a row per task and label budget, a column per init."""
    inits = list(dict.fromkeys(row.init for row in rows))
    lines: dict[tuple[str, float], list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        lines[row.task, row.fraction].append(row)
    body = []
    for (task, _), members in lines.items():
        scores = ([score_text(results, row) for row in members if row.init == init] for init in inits)
        body.append([task, _labels(members[0]), *("; ".join(of) or DASH for of in scores)])
    return ["Task", "Labels", *map(one_line, inits)], body


def _labels(row: LeaderboardRow) -> str:
    counted = f" ({row.n_train:,.0f})" if row.n_train > 0 else ""
    return format_percent(row.fraction) + counted


def score_text(results: ReportInput, row: LeaderboardRow) -> str:
    """Write the primary metric of a row, e.g. "0.870 ± 0.012 (3)"."""
    stat = row.stats.get(results.primary)
    if stat is None or not stat.n:
        return "undefined"
    sd = f" ± {format_number(stat.sd)}" if stat.n > 1 else ""
    return f"{format_number(stat.mean)}{sd} ({stat.n})" + (f" [{row.variant}]" if row.ambiguous else "")


def _simple_table(results: ReportInput, headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    import tabulate

    names = _task_names(results, [task for task, *_ in body])
    named = [[name, *cells] for name, (_, *cells) in zip(names, body, strict=True)]
    return tabulate.tabulate(named, headings, tablefmt="simple", disable_numparse=True)


def _task_names(results: ReportInput, tasks: Sequence[str]) -> list[str]:
    """Name every task once; the warning for generated images is on its next lines."""
    entries: list[str] = []
    for task, run in groupby(tasks):
        words = [one_line(task), *(textwrap.wrap(GENERATED, 24) if results.generated(task) else ())]
        lines = len(list(run))
        entries += [*[*words, *[""] * lines][: lines - 1], "\n".join(words[lines - 1 :])]
    return entries


def _undefined(results: ReportInput) -> dict[str, None]:
    """List the reasons for undefined scores per task."""
    title = primary_title(results)
    return {
        f"{record.cell.task}: {title} undefined: {record.undefined[results.primary]}": None
        for record in results.counted
        if results.primary in record.undefined
    }
