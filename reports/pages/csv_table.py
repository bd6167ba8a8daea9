"""`leaderboard.csv`: every average of the report as tidy data, one line per row and metric."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from ...benchmark.schema.plan import shots_of
from ...core.errors import one_line
from ..analysis.flags import leaks_by_row
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..statistics.stats import MetricStat

LEADERBOARD_COLUMNS = (
    "task", "arch", "init", "protocol", "size", "input_size", "fraction", "n_train", "n_seeds", "metric",
    "mean", "sd", "low", "high", "n_undefined", "variant", "setting", "init_label", "declared_overlap",
    "generated", "n_val", "leaks", "shots",
)  # fmt: skip


def leaderboard_csv(results: ReportInput) -> str:
    """Write `leaderboard_rows`: undefined values are empty, numbers have full precision."""
    return rows_csv(LEADERBOARD_COLUMNS, leaderboard_rows(results))


def leaderboard_rows(results: ReportInput) -> list[dict[str, Any]]:
    """Return the averages by `LEADERBOARD_COLUMNS`, sorted by name, so that equal records give equal rows.

    `n_seeds` counts the seeds with a defined metric, which `mean` and `sd` use; `n_undefined` the others.
    Undefined values are None; so is `fraction` where `shots` are labels per class. `leaks` lists test images
    or patients in train.
    """
    known = leaks_by_row(results)
    lines = [
        (*_line(results, row, metric, stat), "; ".join(known[row]), shots_of(row.fraction) or None)
        for row in results.rows
        for metric, stat in row.stats.items()
    ]
    rows: list[dict[str, Any]] = [dict(zip(LEADERBOARD_COLUMNS, line, strict=True)) for line in lines]
    order = (*LEADERBOARD_COLUMNS[:7], "metric", "variant")
    rows.sort(key=lambda row: [(isinstance(row[name], str), row[name]) for name in order])
    return [row | {"fraction": None} if row["shots"] else row for row in rows]


def rows_csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    """Write header and rows as `csv_text`; a column that a row lacks is empty."""
    return csv_text(columns, ([row.get(name) for name in columns] for row in rows))


def csv_text(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Write comma-separated values: true and false, nothing for None and NaN, `spreadsheet_safe` texts."""

    def as_text(value: object) -> object:
        if isinstance(value, (bool, str)):
            return spreadsheet_safe(value) if isinstance(value, str) else str(value).lower()
        return "" if value is None or value != value else value

    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([*map(as_text, line)] for line in (columns, *lines))
    return file.getvalue()


def _line(
    results: ReportInput, row: LeaderboardRow, metric: str, stat: MetricStat
) -> tuple[str | int | float | None, ...]:
    return (
        row.task, row.arch, row.init, row.protocol, row.size, row.input_size,
        row.fraction, _number(row.n_train), stat.n, metric, _number(stat.mean), _number(stat.sd),
        _number(stat.low), _number(stat.high), len(row.seeds) - stat.n, row.variant, row.setting,
        row.label, "; ".join(row.overlap), results.generated(row.task),
        _number(row.n_val),
    )  # fmt: skip


def label_fields(fraction: float) -> dict[str, float | int | str]:
    """Return the columns `fraction` and `shots` of a label budget, of which one is ""."""
    shots = shots_of(fraction)
    return {"fraction": "" if shots else fraction, "shots": shots or ""}


def spreadsheet_safe(text: str) -> str:
    """Return `text` on one line that no spreadsheet reads as a formula (OWASP, "CSV injection")."""
    text = one_line(text)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def _number(value: float) -> int | float | None:
    if math.isnan(value):
        return None
    return int(value) if value == int(value) and abs(value) >= 2 else value
