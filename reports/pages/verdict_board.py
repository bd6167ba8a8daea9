"""The verdicts alone, for a terminal, a pull request, a paper or a spreadsheet."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ...core.text_tables import format_table
from ..analysis.load_report_input import load_report_input
from ..analysis.verdicts import compute_verdicts
from ..elements.format import NBSP
from ..elements.verdict_format import flagged_text
from ..sections.verdict_section import verdict_counts
from .markdown_page import escape_markdown, markdown_table
from .overview import notices
from .terminal import fill_line
from .verdict_files import VerdictFile, verdict_file, verdicts_csv
from .verdict_tex import HEADINGS, VERDICT_ALIGN, captioned_verdicts, verdicts_tex

NO_PAIR = "There is nothing to compare: a verdict needs two inits of one task with the same labels and seeds."


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
    plain, width = format == "table", shutil.get_terminal_size((100, 24)).columns
    parts = [fill_line(text, width) if plain else escape_markdown(text) for text in notices(results)]
    found = captioned_verdicts(results)
    for caption, body in found.items():
        if plain:
            table = format_table(body, HEADINGS, VERDICT_ALIGN)
            parts.append(f"{fill_line(caption, width)}\n\n{table}")
        else:
            parts.append(markdown_table(caption, HEADINGS, body, VERDICT_ALIGN))
    if found and plain:
        verdicts = compute_verdicts(results)
        ends = (*verdict_counts(results, verdicts), flagged_text(verdicts))
        parts.append("\n".join(fill_line(end, width) for end in ends if end))
    return "\n\n".join(parts if found else [*parts, NO_PAIR]).replace(NBSP, " ") + "\n"
