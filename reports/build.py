"""From a run directory to the files of its report."""

from dataclasses import dataclass
from pathlib import Path

from ..benchmark.files import write_bytes
from .csv_table import leaderboard_csv
from .html_page import html
from .markdown_page import markdown
from .overview import page
from .reading import read
from .results import Results


@dataclass(frozen=True)
class Built:
    """A report on disk.

    Attributes:
        html: the page.
        markdown: the same for a pull request or an appendix.
        csv: the averages.
        figures: the drawings that the Markdown shows.
        results: what it was made of, so that nobody has to read the records again.
    """

    html: Path
    markdown: Path
    csv: Path
    figures: tuple[Path, ...]
    results: Results


def build(folder: Path, out: Path | None = None) -> Built:
    """Write `report.html`, `report.md`, `leaderboard.csv` and `figures/*.svg`.

    Args:
        folder: a run directory.
        out: where the files go; `report/` in the run directory where not given.

    Raises:
        UserError: there is no readable record, or `out` cannot be written to.
        DiskFullError: there is no room left; every file is then whole or as it was.
    """
    results = read(folder)
    out = out or folder / "report"
    whole = page(results)
    text, drawings = markdown(whole)
    figures = {out / "figures" / name: drawing for name, drawing in drawings.items()}
    built = Built(out / "report.html", out / "report.md", out / "leaderboard.csv", tuple(figures), results)
    for path, drawing in figures.items():
        write_bytes(path, drawing)
    write_bytes(built.csv, leaderboard_csv(results).encode())
    write_bytes(built.markdown, text.encode())
    write_bytes(built.html, html(whole).encode())
    return built
