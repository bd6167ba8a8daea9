"""The verdicts alone, for a terminal, a pull request, a paper or a spreadsheet."""

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ...core.errors import one_line
from ...core.text_tables import tabulate
from ..analysis.load_report_input import load_report_input
from ..elements.format import NBSP
from .markdown_page import escape_markdown
from .overview import notices
from .terminal import verdict_text
from .verdict_files import VerdictFile, verdict_file, verdicts_csv
from .verdict_tex import HEADINGS, captioned_verdicts, verdict_cells, verdicts_tex

NO_PAIR = "There is nothing to compare: a verdict needs two inits of one task with the same labels and seeds."
ALIGNMENT = ["right" if heading in ("Seeds", "Images") else "left" for heading in HEADINGS]


def verdict_facts(folders: Sequence[Path], margin: float, metric: str = "auc") -> VerdictFile:
    """Return every comparison of run directories as plain data; `UserError` as `verdict_board`."""
    return verdict_file(load_report_input(folders, margin).choose_verdict_metric(metric))


def verdict_board(folders: Sequence[Path], margin: float, format: str, metric: str = "auc") -> str:
    """Return every comparison of run directories with its interval and flags.

    Args:
        folders: run directories.
        margin: smaller differences of the metric count as equivalent.
        format: table, markdown, csv, or latex for the package booktabs.
        metric: a name of `JUDGED_METRICS`.

    Raises:
        UserError: a folder has no readable record, or no metric of this name has a known error.
    """
    results = load_report_input(folders, margin).choose_verdict_metric(metric)
    if format == "csv":
        return verdicts_csv(results)
    if format == "latex":
        return verdicts_tex(results)
    show = _show_markdown if format == "markdown" else _show_text
    found = captioned_verdicts(results)
    parts = [show(notice) for notice in notices(results)]
    parts += [show(caption, [verdict_cells(results, each) for each in members]) for caption, members in found]
    parts += [] if found else [NO_PAIR]
    parts += [verdict_text(results).rstrip()] if found and format == "table" else []
    return "\n\n".join(parts).replace(NBSP, " ") + "\n"


def _show_text(caption: str, body: Sequence[Sequence[str]] = ()) -> str:
    caption = textwrap.fill(one_line(caption), shutil.get_terminal_size((100, 24)).columns)
    return f"{caption}\n\n{tabulate(body, HEADINGS, colalign=ALIGNMENT)}" if body else caption


def _show_markdown(caption: str, body: Sequence[Sequence[str]] = ()) -> str:
    escaped = [[*map(escape_markdown, cells)] for cells in body]
    table = tabulate(escaped, HEADINGS, "pipe", ALIGNMENT)
    return f"**{escape_markdown(caption)}**\n\n{table}" if body else escape_markdown(caption)
