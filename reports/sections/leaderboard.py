"""The leaderboard: mean, standard deviation and seeds of every metric, per protocol and fraction."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ...benchmark.schema.records import MetricFacts
from ..analysis.results import Results, Row
from ..elements.format import (
    NO_FACTS,
    NO_VERDICT,
    count,
    init_entry,
    metric,
    ordered,
    percent,
    place,
    spread,
    task_entry,
    varying,
)
from ..elements.section import SECTIONS, Column, Content, Entry, Part, Table


@SECTIONS.register("leaderboard")
def leaderboard(results: Results) -> Content | None:
    """Show one table per protocol and fraction, the largest fraction first and open."""
    if not results.rows:
        return None
    protocols: dict[str, dict[float, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in results.rows:
        protocols[row.protocol][row.fraction].append(row)
    parts = []
    for protocol, fractions in protocols.items():
        largest = max(fractions)
        tables = (
            _table(results, protocol, fractions[fraction], folded=fraction != largest)
            for fraction in sorted(fractions, reverse=True)
        )
        parts.append(Part(title=protocol, blocks=tuple(tables)))
    shown = metric(results.primary, results.metric_facts)
    end = "lowest" if shown.lower_is_better else "highest"
    among = "among the inits of one task, architecture and image size"
    bold = f"Bold marks the {end} mean {shown.title} {among}. "
    bold = bold if shown.sign else f"Nothing is bold, since neither end of {shown.title} is better. "
    lead = (f"Test scores as mean ± standard deviation over seeds. {bold}{NO_VERDICT}",)
    return Content("Leaderboard", 20, (Part(lead=lead), *parts))


def highest(rows: Iterable[Row], name: str, facts: Mapping[str, MetricFacts] = NO_FACTS) -> set[Row]:
    """Return the rows with the best mean of metric `name` among those that may be compared.

    Best is lowest where the metric's `facts` say so; where neither end is better, all tie.
    A row that has nothing to be compared with is not marked, and neither are rows that all tie. Rows of a
    block in which the inits have different seeds are not marked at all, since a diverged seed would flatter
    its init; nor is an init that has seen the task's images.
    """
    blocks: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if name in row.stats and row.stats[name].n:
            blocks[row.block].append(row)
    sign = metric(name, facts).sign
    found: set[Row] = set()
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


def _table(results: Results, protocol: str, rows: Sequence[Row], folded: bool) -> Table:
    extra = varying(rows)
    first, others = results.primary, ordered({name for row in rows for name in row.stats} - {results.primary})
    best, facts = highest(rows, first, results.metric_facts), results.metric_facts
    columns = (
        Column("Task", facet="task"),
        Column("Init", facet="init"),
        *(column for column, _ in extra),
        Column(metric(first, facts).title, ".3f", metric(first, facts).help),
        Column("Seeds", "d"),
        Column("Train labels", ",d", "labelled training images, mean over seeds"),
        Column("Val labels", ",d", "labelled validation images, mean over seeds"),
        *(Column(metric(name, facts).title, ".3f", metric(name, facts).help) for name in others),
    )
    body: list[tuple[Entry, ...]] = [
        (
            task_entry(results, row.task),
            init_entry(row),
            *(getattr(row, field) for _, field in extra),
            spread(row.stats.get(first), len(row.seeds), strong=row in best),
            len(row.seeds),
            row.n_train,
            row.n_val,
            *(spread(row.stats.get(name), len(row.seeds)) for name in others),
        )
        for row in rows
    ]
    tasks = len({row.task for row in rows})
    where = {place(row.arch, row.size, row.input_size) for row in rows}
    network = f"; {where.pop()}" if len(where) == 1 else ""
    caption = f"{protocol}, {percent(rows[0].fraction)} of the labels: {count(tasks, 'task')}{network}"
    filters = {"protocol": protocol, "fraction": rows[0].fraction}
    return Table(caption, columns, tuple(body), folded, filters, tuple(row.keys for row in rows))
