"""Leaderboard: mean, sd and seeds of every metric, per protocol and fraction."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from ...benchmark.schema.records import MetricFacts
from ..analysis.report_input import LeaderboardRow, ReportInput, look_up_metric
from ..elements.format import (
    NO_VERDICT,
    TIMES,
    count_noun,
    format_labels,
    init_entry,
    mean_and_sd,
    order_metrics,
    place_label,
    task_entry,
    varying_columns,
)
from ..elements.section import (
    SECTIONS,
    Datum,
    SectionContent,
    SectionPart,
    Table,
    TableColumn,
    TableEntry,
    TableRow,
)
from ..elements.verdict_format import range_with_noun


@SECTIONS.register("leaderboard")
def leaderboard_section(results: ReportInput) -> SectionContent | None:
    """Show one table per protocol and fraction, the largest fraction first and open."""
    if not results.rows:
        return None
    protocols: dict[str, dict[float, list[LeaderboardRow]]] = defaultdict(lambda: defaultdict(list))
    for row in results.rows:
        protocols[row.protocol][row.fraction].append(row)
    parts = []
    for protocol, fractions in protocols.items():
        largest = max(fractions)
        tables = (
            _table(results, protocol, fractions[fraction], folded=fraction != largest)
            for fraction in sorted(fractions, reverse=True)
        )
        parts.append(SectionPart(title=protocol, blocks=tuple(tables)))
    shown = look_up_metric(results.primary, results.metric_facts)
    end = "lowest" if shown.lower_is_better else "highest"
    among = "among the inits of one task, architecture and image size"
    bold = f"Bold marks the {end} mean {shown.title} {among}. "
    bold = bold if shown.sign else f"Nothing is bold, since neither end of {shown.title} is better. "
    lead = (
        f"Test scores as mean ± standard deviation over seeds. {bold}{NO_VERDICT}",
        *_cross_validation(results.rows),
    )
    return SectionContent("Leaderboard", (SectionPart(lead=lead), *parts))


def _cross_validation(rows: Iterable[LeaderboardRow]) -> list[str]:
    """Say of which folds and repeats the scores of cross-validated rows are means."""
    repeats: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        if row.folds:
            repeats[row.folds].append(len(row.seeds))
    return [
        f"Cross-validated protocols (folds={folds}): the score is the mean over {folds} folds {TIMES} "
        f"{range_with_noun(counts, 'repeat')}. In a repeat every image is tested once, by the network that "
        "did not train on its fold; each seed is one repeat with a partition and trainings of its own, and "
        "its score is the mean of the scores of its folds."
        for folds, counts in sorted(repeats.items())
    ]


def best_rows(
    rows: Iterable[LeaderboardRow], name: str, facts: Mapping[str, MetricFacts] = MappingProxyType({})
) -> set[LeaderboardRow]:
    """Return the rows with the best mean of metric `name` among comparable rows.

    Best is lowest if the metric's `facts` say so; if neither end is better, all tie. Excluded: rows without a
    comparable row, rows that all tie, inits that have seen the task's images, and blocks whose inits have
    different seeds, since a diverged seed would flatter its init.
    """
    blocks: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        if name in row.stats and row.stats[name].n:
            blocks[row.block].append(row)
    sign = look_up_metric(name, facts).sign
    found: set[LeaderboardRow] = set()
    for block in blocks.values():
        if len({frozenset(row.seeds) for row in block}) > 1:
            continue
        clean = [row for row in block if not row.inconclusive]
        block = clean if len(clean) > 1 else []
        if not block:
            continue
        best = max(sign * row.stats[name].mean for row in block)
        ties = [row for row in block if sign * row.stats[name].mean == best]
        if len(ties) < len(block):
            found.update(ties)
    return found


def _train_labels(row: LeaderboardRow) -> TableEntry:
    """Return the number of training labels, with the passes where a training did not see all of them."""
    return Datum(row.n_train, note=f"{row.passes:.2g} passes") if 0 < row.passes < 1 else row.n_train


def _table(results: ReportInput, protocol: str, rows: Sequence[LeaderboardRow], folded: bool) -> Table:
    extra = varying_columns(rows)
    first = results.primary
    others = order_metrics({name for row in rows for name in row.stats} - {first})
    best = best_rows(rows, first, results.metric_facts)

    def metric_column(name: str) -> TableColumn:
        label = look_up_metric(name, results.metric_facts)
        return TableColumn(label.title, ".3f", label.help_with_direction)

    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Init", facet="init"),
        *(column for column, _ in extra),
        metric_column(first),
        TableColumn("Seeds", "d"),
        TableColumn("Train labels", ",d", "labeled training images, mean over seeds"),
        TableColumn("Val labels", ",d", "labeled validation images, mean over seeds"),
        *map(metric_column, others),
    )
    body: list[TableRow] = [
        (
            task_entry(results, row.task),
            init_entry(row),
            *(getattr(row, field) for _, field in extra),
            mean_and_sd(row.stats.get(first), len(row.seeds), strong=row in best),
            len(row.seeds),
            _train_labels(row),
            row.n_val,
            *(mean_and_sd(row.stats.get(name), len(row.seeds)) for name in others),
        )
        for row in rows
    ]
    tasks, archs = (len({getattr(row, name) for row in rows}) for name in ("task", "arch"))
    where = {place_label(row.arch, row.size, row.input_size) for row in rows}
    network = f"; {where.pop()}" if len(where) == 1 else ""
    fraction = rows[0].fraction
    caption = f"{protocol}, {format_labels(fraction)}: {count_noun(tasks, 'task')}{network}"
    filters = {"protocol": protocol, "fraction": fraction}
    if archs == 1:  # no column has it
        filters["arch"] = rows[0].arch
    return Table(caption, columns, tuple(body), folded, filters, tuple(row.keys for row in rows))
