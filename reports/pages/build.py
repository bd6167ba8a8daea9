"""From run directories to the files of one report."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.errors import UserError
from ...core.files import write_bytes
from ...core.progress import show_phase
from ..analysis.load_report_input import load_report_input
from ..analysis.patients import patient_results
from ..analysis.report_input import ReportInput
from ..statistics.paired import MARGIN
from .csv_table import leaderboard_csv
from .effects_csv import effects_csv
from .html_page import render_html
from .markdown_page import render_markdown
from .overview import build_page
from .subgroups_csv import subgroups_csv
from .verdict_files import verdicts_csv, verdicts_json
from .verdict_tex import verdicts_tex

COLLECT_AFTER = 100_000
"""New objects between two searches for cyclic garbage; Python's own number is 700 to 2,000."""


@dataclass(frozen=True)
class BuiltReport:
    """Files of a report.

    Attributes:
        csv: averages.
        figures: SVG files of the Markdown.
        verdicts: `verdicts.csv`, `verdicts.json` and `verdicts.tex`.
        results: results of the run, so that the records need not be read again.
    """

    html: Path
    markdown: Path
    csv: Path
    figures: tuple[Path, ...]
    verdicts: tuple[Path, ...]
    results: ReportInput


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Look for cyclic garbage rarely: each search looks at every record and verdict."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_collecting_rarely()
def build_report(
    folders: Sequence[Path], out: Path | None = None, margin: float = MARGIN, prevalence: float = 0.0
) -> BuiltReport:
    """Write `report.html`, `report.md`, `leaderboard.csv`, `verdicts.*` and `figures/*.svg`.

    Also `subgroups.csv` if a task has subgroups, `effects.csv` if two inits differ in one fact, and
    `verdicts_by_patient.csv` if patients have several test images.

    Args:
        folders: one run directory, or several for one report.
        out: folder for the files; for a single run `report/` in its directory by default.
        margin: equivalence margin; smaller differences of the primary metric do not matter.
        prevalence: share of positives for PPV and NPV of binary tasks; 0 is that of each test set.

    Raises:
        UserError: a folder has no readable record, several folders have no `out`, or `out` is not writable.
        DiskFullError: the disk is full; every file is then whole or unchanged.
    """
    return write_report(replace(load_report_input(folders, margin), prevalence=prevalence), out)


@show_phase("writing the report")
@_collecting_rarely()
def write_report(results: ReportInput, out: Path | None = None) -> BuiltReport:
    """Write the files of a report of loaded results; arguments and errors as for `build_report`."""
    if out is None and len(results.folders) > 1:
        raise UserError(
            "A report of several runs belongs to none of them: name a folder for it (--to, or in Python "
            "report(path))."
        )
    out = out or next(iter(results.folders)) / "report"
    whole = build_page(results)
    text, drawings = render_markdown(whole)
    figures = {out / "figures" / name: drawing for name, drawing in drawings.items()}
    verdicts = {
        out / "verdicts.csv": verdicts_csv(results).encode(),
        out / "verdicts.json": verdicts_json(results),
        out / "verdicts.tex": verdicts_tex(results).encode(),
    }
    built = BuiltReport(
        html=out / "report.html",
        markdown=out / "report.md",
        csv=out / "leaderboard.csv",
        figures=tuple(figures),
        verdicts=tuple(verdicts),
        results=results,
    )
    by_patient = patient_results(results)
    texts = {
        "subgroups.csv": subgroups_csv(results),
        "effects.csv": effects_csv(results),
        "verdicts_by_patient.csv": verdicts_csv(by_patient.results) if by_patient else "",
    }
    tables = {out / name: text.encode() for name, text in texts.items() if text}
    for path, content in (figures | verdicts | tables).items():
        write_bytes(path, content)
    write_bytes(built.csv, leaderboard_csv(results).encode())
    write_bytes(built.markdown, text.encode())
    write_bytes(built.html, render_html(whole).encode())
    return built
