"""Format of names and numbers, the same on every page."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from ...benchmark.schema.plan import budget_text, shots_of
from ...benchmark.training.metrics import BUILT_IN_METRICS
from ...core.errors import clean
from ..analysis.report_input import LeaderboardRow, ReportInput, look_up_metric
from ..statistics.stats import MetricStat
from .section import Datum, Table, TableColumn, TableEntry

GENERATED = "generated: not evidence about real images"
NO_VERDICT = "A higher mean is not a verdict: the section Verdicts says how certain an order is."
_T = TypeVar("_T")
NBSP, DASH, TIMES = "\u00a0", "\u2013", "\u00d7"


def primary_title(results: ReportInput) -> str:
    """Return the title of the primary metric, with the better direction unless higher is better."""
    return look_up_metric(results.primary, results.metric_facts).title_with_direction


def order_metrics(names: Iterable[str]) -> list[str]:
    """Order built-in metrics as `BUILT_IN_METRICS` does, then the others by name."""
    known = {name: place for place, name in enumerate(BUILT_IN_METRICS)}
    return sorted(names, key=lambda name: (known.get(name, len(known)), name))


def format_labels(fraction: float) -> str:
    """Write a label budget in full, e.g. "10 % of the labels", or "5 labels per class"."""
    shots = shots_of(fraction)
    return f"{shots}{NBSP}labels per class" if shots else f"{format_percent(fraction)} of the labels"


def format_percent(fraction: float) -> str:
    """Write a share of the labels as percent, e.g. "10 %"; labels per class as "5 per class"."""
    return budget_text(fraction) if shots_of(fraction) else f"{fraction * 100:.4g}{NBSP}%"


def count_noun(number: float, noun: str) -> str:
    """Write a number with its noun, e.g. "1 task" and "3 tasks"."""
    return f"{number:,.0f} {noun if number == 1 else noun + 's'}"


def join_words(parts: Sequence[str]) -> str:
    """Join parts as a sentence does, e.g. "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def format_number(value: float | None, spec: str = ".3f") -> str:
    """Write a number; a dash if absent or undefined."""
    if value is None or math.isnan(value):
        return DASH
    if spec.endswith("d") and not float(value).is_integer():
        spec = spec[:-1] + ".1f"
    return format(int(value) if spec.endswith("d") else value, spec).replace("-", "\u2212")


def format_interval(low: float, high: float) -> str:
    """Write an interval, e.g. "+0.010 to +0.052"; "" if unknown."""
    return "" if math.isnan(low) else f"{format_number(low, '+.3f')} to {format_number(high, '+.3f')}"


def p_value(p: float) -> str:
    """Write a p-value; below 0.001 as "< 0.001"."""
    return f"<{NBSP}0.001" if p < 0.001 else format_number(p)


def format_duration(seconds: float) -> str:
    """Write a duration, e.g. "4.2 s", "3 min 20 s" or "2 h 05 min"."""
    if math.isnan(seconds):
        return DASH
    if seconds < 100:
        return f"{seconds:.3g}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min {rest:02d}{NBSP}s"
    return f"{minutes // 60}{NBSP}h {minutes % 60:02d}{NBSP}min"


def mean_and_sd(stat: MetricStat | None, seeds: int | None = None, strong: bool = False) -> Datum:
    """Write mean and sd, and n if it differs from the row's number of seeds."""
    if stat is None:
        return Datum(None)
    if stat.n == 0:
        return Datum(None, "undefined", note="see Warnings")
    sd = format_number(stat.sd) if stat.n > 1 else ""
    return Datum(stat.mean, format_number(stat.mean), sd, "" if stat.n == seeds else f"n = {stat.n}", strong)


def task_entry(results: ReportInput, task: str) -> Datum:
    """Name a task, with the warning for generated images."""
    return Datum(task, task, note=GENERATED if results.generated(task) else "")


def named_task(results: ReportInput, task: str) -> str:
    """Name a task in a text, with the warning for generated images."""
    return f"{task} ({GENERATED})" if results.generated(task) else task


def shorten_label(label: str) -> str:
    """Drop the bracket at the end of a long label; Provenance shows it whole."""
    return label.partition(" (")[0] if len(label) > 60 and label.endswith(")") else label


def labels_by_init(rows: Iterable[LeaderboardRow]) -> dict[str, list[str]]:
    """Return init -> distinct origins of its weights, shortened."""
    labels: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        labels[row.init][shorten_label(row.label)] = None
    return {init: list(found) for init, found in labels.items()}


def init_entry(row: LeaderboardRow) -> Datum:
    """Name an init, with the origin of its weights and their overlap with the task."""
    seen = f"declared overlap with this task: {', '.join(row.overlap)}" if row.overlap else ""
    found = row.audit.sentence if row.audit and row.audit.contaminated else ""
    return Datum(row.init, row.init, note="; ".join(filter(None, (shorten_label(row.label), seen, found))))


def place_label(arch: str, size: int, input_size: int) -> str:
    """Name the network and the images, e.g. "resnet18, 28 px images seen at 64 px"."""
    seen = "" if size == input_size else f" seen at {input_size}{NBSP}px"
    return f"{arch}, {size}{NBSP}px images{seen}"


def group_by_setting(found: Iterable[_T], row_of: Callable[[_T], LeaderboardRow]) -> dict[str, list[_T]]:
    """Group by protocol, network and image size: "linear: resnet18, 28 px images" -> members."""
    groups: dict[str, list[_T]] = defaultdict(list)
    for each in found:
        row = row_of(each)
        groups[f"{row.protocol}: {place_label(row.arch, row.size, row.input_size)}"].append(each)
    return groups


def varying_columns(rows: Iterable[LeaderboardRow]) -> list[tuple[TableColumn, str]]:
    """Return the columns in which `rows` differ, each with its field of `LeaderboardRow`."""
    rows = list(rows)
    columns = [
        (TableColumn("Architecture", facet="arch"), "arch"),
        (TableColumn("Images, px", "d", "image size as stored"), "size"),
        (TableColumn("Input, px", "d", "image size as the network sees it"), "input_size"),
    ]
    found = [(column, field) for column, field in columns if len({getattr(row, field) for row in rows}) > 1]
    if any(row.ambiguous for row in rows):
        help = "hash of data, protocol version and recipe, then of the weights; only equal ones are averaged"
        found.append((TableColumn("Variant", "", help), "variant"))
    return found


def compact_column(table: Table, title: str) -> Table:
    """Move the column `title` into the caption if it has one value in all rows."""
    place = [column.title for column in table.columns].index(title)
    values = {row[place] for row in table.rows}
    if len(values) != 1:
        return table

    def rest(entries: tuple[_T, ...]) -> tuple[_T, ...]:
        return entries[:place] + entries[place + 1 :]

    rows = tuple(rest(row) for row in table.rows)
    return replace(table, caption=f"{table.caption}; {values.pop()}", columns=rest(table.columns), rows=rows)


def as_datum(entry: TableEntry, column: TableColumn) -> Datum:
    """Return any entry as a `Datum` with text, not yet escaped."""
    datum = entry if isinstance(entry, Datum) else Datum(entry)
    value = datum.value
    if isinstance(value, float) and math.isnan(value):
        value = None
    if datum.text:
        text = datum.text
    elif value is None:
        text = DASH
    elif isinstance(value, str):
        text = value
    else:
        text = format_number(value, column.format or "g")
    return replace(datum, value=value, text=clean(text), note=clean(datum.note))
