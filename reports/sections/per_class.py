"""Scores of every class, mean over seeds, at the largest fraction."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ...benchmark.schema.records import Record
from ...benchmark.training.metrics import BUILT_IN_METRICS
from ..analysis.report_input import LeaderboardRow, ReportInput, look_up_metric
from ..elements.format import (
    count_noun,
    format_labels,
    mean_and_sd,
    order_metrics,
    task_entry,
    varying_columns,
)
from ..elements.section import SECTIONS, SectionContent, SectionPart, Table, TableColumn, TableRow
from ..statistics.stats import MetricStat, describe_values

PER_CLASS_ROWS = 300
"""More rows make a page slow; the records have every class."""

PerClassLine = tuple[LeaderboardRow, str, dict[str, MetricStat]]
"""(row, class, metric -> statistics over the seeds)"""


@SECTIONS.register("per-class")
def per_class(results: ReportInput) -> SectionContent | None:
    """Show one folded table per protocol; None if no record has scores of classes."""
    largest = max((row.fraction for row in results.rows), default=0.0)
    protocols: dict[str, list[PerClassLine]] = defaultdict(list)
    for line in _lines(results, largest):
        protocols[line[0].protocol].append(line)
    if not protocols:
        return None
    tables, left = [], PER_CLASS_ROWS
    for lines in protocols.values():
        if left > 0:
            tables.append(_table(results, lines[:left]))
        left -= len(lines)
    lead = (
        f"Test scores of each class against the rest with {format_labels(largest)}, mean ± "
        "standard deviation over seeds. A class with few test images has a noisy score, and among many "
        "classes some differ by chance.",
        *((f"{count_noun(-left, 'more row')} in the records only.",) * (left < 0)),
    )
    return SectionContent("Classes", (SectionPart(lead=lead, blocks=tuple(tables)),))


def _lines(results: ReportInput, fraction: float) -> list[PerClassLine]:
    """List the statistics of every init, by task and class."""
    records = {record.key: record for record in results.counted}
    tasks: dict[tuple[str, str], dict[str, list[PerClassLine]]] = defaultdict(lambda: defaultdict(list))
    for row in results.rows:
        if row.fraction == fraction:
            for label, stats in _stats([records[key] for key in row.keys]).items():
                tasks[row.protocol, row.task][label].append((row, label, stats))
    return [line for labels in tasks.values() for lines in labels.values() for line in lines]


def _stats(records: Sequence[Record]) -> dict[str, dict[str, MetricStat]]:
    """Return class -> metric -> statistics over the seeds, without undefined values."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for name, classes in record.per_class.items():
            for label, value in classes.items():
                values[label][name].append(np.nan if value is None else value)
    return {
        label: {name: describe_values(np.array(found)) for name, found in metrics.items()}
        for label, metrics in values.items()
    }


def _table(results: ReportInput, lines: Sequence[PerClassLine]) -> Table:
    extra = varying_columns(row for row, _, _ in lines)
    titles = {of.per_class.name: of.per_class.title for of in BUILT_IN_METRICS.values() if of.per_class}
    names = order_metrics({name for _, _, stats in lines for name in stats})
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Class"),
        TableColumn("Init", facet="init"),
        *(column for column, _ in extra),
        *(TableColumn(titles.get(name, name), ".3f", look_up_metric(name).help) for name in names),
        TableColumn("Seeds", "d"),
    )
    body: list[TableRow] = [
        (
            task_entry(results, row.task),
            label,
            row.init,
            *(getattr(row, field) for _, field in extra),
            *(mean_and_sd(stats.get(name), len(row.seeds)) for name in names),
            len(row.seeds),
        )
        for row, label, stats in lines
    ]
    first = lines[0][0]
    facts = {"protocol": first.protocol, "fraction": first.fraction}
    caption = f"{first.protocol}, {format_labels(first.fraction)}, by class"
    return Table(caption, columns, tuple(body), True, facts, tuple(row.keys for row, _, _ in lines))
