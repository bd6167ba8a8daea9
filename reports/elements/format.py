"""How things are called and numbers are written, the same on every page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

from ...benchmark.schema.records import MetricFacts
from ...core.errors import clean
from ..analysis.results import ERRORS, LeaderboardRow, Results
from ..statistics.stats import MetricStat
from .section import Datum, Table, TableColumn, TableEntry

GENERATED = "generated: not evidence about real images"
NO_VERDICT = "A higher mean is not a verdict: how sure an order is stands in the section Verdicts."
NO_FACTS: Mapping[str, MetricFacts] = MappingProxyType({})
_T = TypeVar("_T")
NBSP, DASH, TIMES = "\u00a0", "\u2013", "\u00d7"


@dataclass(frozen=True)
class MetricLabel:
    """How a metric is shown.

    Attributes:
        title: heading.
        help: what it is, in one phrase.
        lower_is_better: true for errors; None where neither end is better.
        span: from the smallest to the largest possible value; 1 where nobody says.
    """

    title: str
    help: str
    lower_is_better: bool | None = False
    span: float = 1.0

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where neither is."""
        return 0 if self.lower_is_better is None else -1 if self.lower_is_better else 1

    @property
    def named(self) -> str:
        """The title, and where it is not the usual one the direction that is better."""
        way = {1: "", 0: " (neither end is better)", -1: " (lower is better)"}
        return self.title + way[self.sign]


METRIC_LABELS = {
    name: MetricLabel(title, help, name in ERRORS)
    for name, title, help in (
        ("auc", "AUC", "area under the ROC curve, macro one-vs-rest"),
        ("accuracy", "Accuracy", "share of right decisions"),
        ("balanced_accuracy", "Balanced acc.", "mean recall over classes"),
        ("macro_f1", "Macro F1", "mean F1 over classes"),
        ("average_precision", "Avg. precision", "area under the precision-recall curve, macro"),
        ("kappa", "Kappa", "quadratic weighted kappa, ordinal tasks only"),
        ("ece", "ECE", "expected calibration error, lower is better"),
        ("brier", "Brier", "Brier score, lower is better"),
    )
}


def metric_label(name: str, facts: Mapping[str, MetricFacts] = NO_FACTS) -> MetricLabel:
    """Return how `name` is shown and read.

    Args:
        name: of the metric.
        facts: what records say of the metrics of plug-ins. One that nobody describes is called by its own
            name, and higher is better.
    """
    if name in METRIC_LABELS or name not in facts:
        return METRIC_LABELS.get(name) or MetricLabel(name, "")
    found = facts[name]
    low, high = found.low, found.high
    span = high - low if low is not None and high is not None and low < high else 1.0
    shown = MetricLabel(found.title or name, found.help, found.lower_is_better, span)
    way = shown.named.removeprefix(shown.title).strip(" ()")
    return replace(shown, help=", ".join(filter(None, (found.help, way))))


def primary_title(results: Results) -> str:
    """Return the title of the metric that leads, with its better end where that is not the upper one."""
    return metric_label(results.primary, results.metric_facts).named


def order_metrics(names: Iterable[str]) -> list[str]:
    """Order metrics as `METRIC_LABELS` does, then the unknown ones by name."""
    known = {name: place for place, name in enumerate(METRIC_LABELS)}
    return sorted(names, key=lambda name: (known.get(name, len(known)), name))


def format_percent(fraction: float) -> str:
    """Write a share as percent, e.g. "10 %"."""
    return f"{fraction * 100:.4g}{NBSP}%"


def count_noun(number: float, noun: str) -> str:
    """Write a number with its noun, e.g. "1 task" and "3 tasks"."""
    return f"{number:,.0f} {noun if number == 1 else noun + 's'}"


def join_words(parts: Sequence[str]) -> str:
    """Join parts as a sentence does, e.g. "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def format_number(value: float | None, spec: str = ".3f") -> str:
    """Write a number; what is absent or undefined is a dash."""
    if value is None or math.isnan(value):
        return DASH
    if spec.endswith("d") and not float(value).is_integer():
        spec = spec[:-1] + ".1f"
    return format(int(value) if spec.endswith("d") else value, spec).replace("-", "\u2212")


def format_interval(low: float, high: float) -> str:
    """Write an interval, e.g. "+0.010 to +0.052"; "" where it is not known."""
    return "" if math.isnan(low) else f"{format_number(low, '+.3f')} to {format_number(high, '+.3f')}"


def p_value(p: float) -> str:
    """Write a p-value; one that rounds to nothing as what it is."""
    return f"<{NBSP}0.001" if p < 0.001 else format_number(p)


def format_duration(seconds: float) -> str:
    """Write a duration as a person would, e.g. "4.2 s", "3 min 20 s" or "2 h 05 min"."""
    if math.isnan(seconds):
        return DASH
    if seconds < 100:
        return f"{seconds:.3g}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min {rest:02d}{NBSP}s"
    return f"{minutes // 60}{NBSP}h {minutes % 60:02d}{NBSP}min"


def mean_and_sd(stat: MetricStat | None, seeds: int | None = None, strong: bool = False) -> Datum:
    """Write mean and sd, and n where it is not the number of seeds that the row states."""
    if stat is None:
        return Datum(None)
    if stat.n == 0:
        return Datum(None, "undefined", note="see What to doubt")
    sd = format_number(stat.sd) if stat.n > 1 else ""
    return Datum(stat.mean, format_number(stat.mean), sd, "" if stat.n == seeds else f"n = {stat.n}", strong)


def task_entry(results: Results, task: str) -> Datum:
    """Name a task, with the warning that must stand beside a generated one."""
    return Datum(task, task, note=GENERATED if results.generated(task) else "")


def shorten_label(label: str) -> str:
    """Leave out what stands in brackets at the end of a long label; Provenance holds it whole."""
    return label.partition(" (")[0] if len(label) > 60 and label.endswith(")") else label


def init_entry(row: LeaderboardRow) -> Datum:
    """Name an init, with where its weights came from and what they may have seen of the task."""
    seen = f"declared overlap with this task: {', '.join(row.overlap)}" if row.overlap else ""
    found = row.audit.sentence if row.audit and row.audit.contaminated else ""
    return Datum(row.init, row.init, note="; ".join(filter(None, (shorten_label(row.label), seen, found))))


def place_label(arch: str, size: int, input_size: int) -> str:
    """Name the network and the images, e.g. "resnet18, 28 px images seen at 64 px"."""
    seen = "" if size == input_size else f" seen at {input_size}{NBSP}px"
    return f"{arch}, {size}{NBSP}px images{seen}"


def varying_columns(rows: Iterable[LeaderboardRow]) -> list[tuple[TableColumn, str]]:
    """Return the columns, with the field of `LeaderboardRow` that they show, in which `rows` differ."""
    rows = list(rows)
    columns = [
        (TableColumn("Architecture"), "arch"),
        (TableColumn("Images, px", "d", "side of the images as stored"), "size"),
        (TableColumn("Input, px", "d", "side of what the network sees"), "input_size"),
    ]
    found = [(column, field) for column, field in columns if len({getattr(row, field) for row in rows}) > 1]
    if any(row.ambiguous for row in rows):
        help = (
            "hashes of data, protocol version and recipe, then of the weights; only equal ones are averaged"
        )
        found.append((TableColumn("Variant", "", help), "variant"))
    return found


def compact_column(table: Table, title: str) -> Table:
    """Move the column `title` into the caption where all rows say the same there."""
    place = [column.title for column in table.columns].index(title)
    said = {row[place] for row in table.rows}
    if len(said) != 1:
        return table

    def rest(entries: tuple[_T, ...]) -> tuple[_T, ...]:
        return entries[:place] + entries[place + 1 :]

    rows = tuple(rest(row) for row in table.rows)
    return replace(table, caption=f"{table.caption}; {said.pop()}", columns=rest(table.columns), rows=rows)


def as_datum(entry: TableEntry, column: TableColumn) -> Datum:
    """Return any entry as a `Datum` whose text is ready to be escaped."""
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
    return Datum(value, clean(text), datum.spread, clean(datum.note), datum.strong, datum.stands_for)
