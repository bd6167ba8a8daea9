"""Results and plans that `run`, `plan` and `load_results` return; notebooks show them as HTML."""

import io
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .benchmark.schema.records import Record
from .experiment import PlannedRun
from .reports.analysis.load_report_input import load_report_input
from .reports.analysis.report_input import ReportInput
from .reports.answers.headline import headline
from .reports.elements.format import count_noun
from .reports.pages.build import write_report
from .reports.pages.csv_table import leaderboard_csv
from .reports.pages.overview import describe_scope
from .reports.pages.verdict_files import verdicts_csv

if TYPE_CHECKING:
    import pandas as pd

MOST_SHOWN = 500
"""Most characters of a plain representation."""
SHOWN_COLUMNS = ["task", "arch", "init", "protocol", "fraction", "n_train", "n_seeds", "mean", "low", "high"]
"""Columns of the leaderboard in a notebook."""


class Results:
    """Results of one or several run directories.

    Args:
        folders: the run directories.
        margin: differences of AUC below it count as equivalent in verdicts.
        failed: records of the failed cells of the run that was just made; by default all in the folders.

    Raises:
        UserError: a folder holds no readable record.
    """

    def __init__(
        self, folders: Sequence[Path], margin: float, failed: Sequence[Record] | None = None
    ) -> None:
        self.folders = tuple(folders)
        """Run directories."""
        self.margin = margin
        """Margin of equivalence, in AUC."""
        self._failed = failed

    @cached_property
    def input(self) -> ReportInput:
        """Averaged rows and records, from which reports are made."""
        return load_report_input(self.folders, self.margin)

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records of the cells that failed."""
        return tuple(self.input.failed if self._failed is None else self._failed)

    def leaderboard(self) -> "pd.DataFrame":
        """Return `leaderboard.csv` as a frame: a row per task, arch, init, protocol, fraction and metric."""
        return _frame(leaderboard_csv(self.input))

    def verdicts(self, metric: str = "auc") -> "pd.DataFrame":
        """Return `verdicts.csv` as a frame: a row per compared pair of inits; `verdict` says which is better.

        The verdict is better, worse or equivalent (a against b), or undecided.

        Args:
            metric: auc, balanced_accuracy, average_precision or brier (lower is better); the margin is in its
                units.

        Raises:
            UserError: the metric is none of these.
        """
        return _frame(verdicts_csv(self.input.choose_verdict_metric(metric)))

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report and return its HTML page.

        Args:
            path: folder for the files; `report` in the run directory by default.

        Raises:
            UserError: there are several run directories and no path, or the path is not writable.
        """
        return write_report(self.input, None if path is None else Path(path)).html

    @property
    def _scope(self) -> str:
        failed = f" Failed: {count_noun(len(self.failed), 'cell')}, see `failed`." if self.failed else ""
        return describe_scope(self.input) + failed

    def __repr__(self) -> str:
        """Return what was compared and the main answer, in at most `MOST_SHOWN` characters."""
        folders = ", ".join(map(str, self.folders))
        return _shorten(f"Results of {folders}: {headline(self.input).text} {self._scope}")

    def _repr_html_(self) -> str:
        """Return the headline and the leaderboard of the primary metric as HTML."""
        board = self.leaderboard().query(f"metric == {self.input.primary!r}")
        table = board.to_html(columns=SHOWN_COLUMNS, index=False, float_format="{:.3f}".format)
        return f"<p><b>{escape(headline(self.input).text)}</b></p><p>{escape(self._scope)}</p>{table}"


class RunPlan:
    """Cells of a run, before any is computed.

    Args:
        planned: the resolved plan and the cells without a record.
    """

    def __init__(self, planned: PlannedRun) -> None:
        self.planned = planned
        """Plan with the tasks and weights that it needs."""

    @property
    def cells(self) -> "pd.DataFrame":
        """A row per cell: its key, its fields, and its state, "done" or "to do"."""
        import pandas as pd

        return pd.DataFrame(self.planned.cell_facts())

    def seconds(self) -> tuple[float, float]:
        """Return the least and most seconds that the open cells may take, after timing every network."""
        estimate = self.planned.estimate()
        return (estimate.seconds.low, estimate.seconds.high) if estimate else (0.0, 0.0)

    def __repr__(self) -> str:
        """Return the numbers of cells and what they compare, in at most `MOST_SHOWN` characters."""
        config = self.planned.resolved.request
        names = [count_noun(len(self.planned.resolved.tasks), "task")]
        names += [", ".join(part) for part in (config.inits, config.archs, config.protocols)]
        cells = f"{len(self.planned.waiting)} of {len(self.planned.cells)} cells to compute"
        return _shorten(f"Plan of {config.folder}: {cells}; {'; '.join(names)}")


def _frame(csv: str) -> "pd.DataFrame":
    import pandas as pd  # takes half a second

    return pd.read_csv(io.StringIO(csv))


def _shorten(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."
