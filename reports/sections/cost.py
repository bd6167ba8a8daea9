"""Cost of the results: seconds, memory and images, of the cells and of pretraining."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...benchmark.schema.records import Record
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..answers.cost_benefit import cost_benefit_answer
from ..elements.format import (
    GENERATED,
    compact_column,
    format_duration,
    format_number,
    format_percent,
    named_task,
    place_label,
    primary_title,
    shorten_label,
)
from ..elements.pictures import InitLook, draw_panel, legend_swatch, looks_of, panel_title, report_style
from ..elements.section import (
    SECTIONS,
    Datum,
    Figure,
    FigurePanel,
    SectionContent,
    SectionPart,
    Table,
    TableColumn,
    TableRow,
)
from ..statistics.stats import describe_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CostPlace = tuple[str, str, int, int, str]
"""(protocol, arch, size, input_size, init)"""


@SECTIONS.register("cost")
def cost_section(results: ReportInput) -> SectionContent | None:
    """Show seconds and memory of cells and pretraining, and the score against the seconds."""
    if not results.step("score") and not results.step("pretrain"):
        return None
    tables = [table for table in (_cells(results), _pretraining(results)) if table.rows]
    lead = (
        "Wall-clock seconds from the records. Seconds of different devices, or of cells that ran at the same "
        "time, are not comparable. Shared work (pretrained weights, cached features) is charged to "
        "the step or cell that did it. Memory is the peak of the device; without a GPU, of the process "
        "since its start, earlier cells included.",
    )
    part = SectionPart(lead=lead, blocks=(*tables, *_figures(results)))
    return SectionContent("Cost", (part,), tuple(filter(None, (cost_benefit_answer(results),))))


def _place(record: Record) -> CostPlace:
    cell = record.cell
    return cell.protocol, cell.arch, cell.size, cell.input_size, cell.init


def _seconds(records: Sequence[Record]) -> Datum:
    """Write the mean and sd of the seconds of `records`; sorted by the mean."""
    stat = describe_values(np.array([record.seconds for record in records]))
    return Datum(stat.mean, format_duration(stat.mean), format_duration(stat.sd) if stat.n > 1 else "")


def _labels(records: Sequence[Record]) -> str:
    """Name the origins of the weights, which may differ between tasks."""
    different = sorted({shorten_label(record.init.label) for record in records if record.init})
    return "; ".join(different[:2]) + (f" and {len(different) - 2} more" if len(different) > 2 else "")


def _total(records: Sequence[Record]) -> Datum:
    total = sum(record.seconds for record in records)
    return Datum(total, format_duration(total)) if records else Datum(None)


def _memory(records: Sequence[Record]) -> float:
    return max((r.peak_memory_mb for r in records), default=float("nan"))


def _cells(results: ReportInput) -> Table:
    cells: dict[CostPlace, list[Record]] = defaultdict(list)
    tunings: dict[CostPlace, list[Record]] = defaultdict(list)
    for record in (record for record in results.step("score") if not record.cell.longer):
        cells[_place(record)].append(record)
    for record in results.step("tune"):
        tunings[_place(record)].append(record)
    rows: list[TableRow] = []
    places = dict.fromkeys((r.protocol, r.arch, r.size, r.input_size, r.init) for r in results.rows)
    for key in places:
        protocol, arch, size, input_size, init = key
        members, tuning = cells[key], tunings[key]
        devices = ", ".join(sorted({record.provenance.device for record in members}))
        rows.append(
            (
                Datum(init, init, note=_labels(members)), protocol, place_label(arch, size, input_size),
                len(members), _seconds(members), _total(members), *([_total(tuning)] if tunings else []),
                _memory(members), devices,
            )
        )  # fmt: skip
    columns = (
        TableColumn("Init", facet="init"),
        TableColumn("Protocol", facet="protocol"),
        TableColumn("Network"),
        TableColumn("Cells", ",d"),
        TableColumn("Per cell", "g", "mean ± sd of the seconds of one cell"),
        TableColumn("All cells", "g"),
        *([TableColumn("Tuning", "g", "of older runs: searches of a learning rate")] if tunings else []),
        TableColumn("Peak memory, MiB", ",.0f"),
        TableColumn("Device"),
    )
    keys = tuple(tuple(record.key for record in (*cells[key], *tunings[key])) for key in places)
    return compact_column(Table("Cost of the cells", columns, tuple(rows), keys=keys), "Network")


def _pretraining(results: ReportInput) -> Table:
    rows: list[TableRow] = [
        (
            Datum(r.cell.init, r.cell.init, note=r.init.label if r.init else ""),
            _users(results, r),
            place_label(r.cell.arch, r.cell.size, r.cell.input_size),
            r.counts.train if r.counts else None,
            _held_out_auc(r),
            Datum(r.seconds, format_duration(r.seconds)),
            r.peak_memory_mb,
            r.provenance.device,
        )
        for r in results.step("pretrain")
    ]
    columns = (
        TableColumn("Init", facet="init"),
        TableColumn("Used for", facet="task"),
        TableColumn("Network"),
        TableColumn("Images", ",d", "different images trained on"),
        TableColumn("Held-out AUC", "", "on held-out images of each source"),
        TableColumn("Duration", "g"),
        TableColumn("Peak memory, MiB", ",.0f"),
        TableColumn("Device"),
    )
    keys = tuple((record.key,) for record in results.step("pretrain"))
    table = Table("Cost of pretraining, once per set of weights", columns, tuple(rows), keys=keys)
    return compact_column(table, "Network")


def _users(results: ReportInput, made: Record) -> Datum:
    """Name the tasks scored with these weights."""
    identity = made.init.identity if made.init else None
    tasks = sorted({r.cell.task for r in results.counted if r.init and r.init.identity == identity})
    names = ", ".join(tasks)
    made_up = ", ".join(filter(results.generated, tasks))
    warning = GENERATED if made_up == names else f"{made_up}: {GENERATED}"
    return Datum(names or None, names, note=warning if made_up else "", stands_for=tuple(tasks))


def _held_out_auc(made: Record) -> str | None:
    found = ((name.rpartition(": ")[2], format_number(value)) for name, value in made.metrics.items())
    return ", ".join(" ".join(pair) for pair in found) or None


def _figures(results: ReportInput) -> tuple[Figure, ...]:
    """Draw score against seconds at the largest fraction, one panel per protocol and network."""
    seconds = {r.key: np.mean([c.seconds for c in results.cells_of(r)]) for r in results.counted}
    panels: dict[tuple[str, str, int, int], list[tuple[LeaderboardRow, float]]] = defaultdict(list)
    largest = max((row.fraction for row in results.rows), default=1.0)
    for row in results.rows:
        stat = row.stats.get(results.primary)
        if stat and stat.n and row.fraction == largest:
            mean = float(np.mean([seconds[key] for key in row.keys]))
            panels[row.protocol, row.arch, row.size, row.input_size].append((row, mean))
    panels = {key: points for key, points in panels.items() if len(points) > 1}
    if not panels:
        return ()
    init_looks = looks_of([row.init for row in results.rows])
    with report_style():
        drawn = tuple(_panel(results, key, points, init_looks) for key, points in panels.items())
        keys = tuple((legend_swatch(look), init) for init, look in init_looks.items())
    caption = (
        f"{primary_title(results)} against the seconds of one cell (logarithmic), {format_percent(largest)} "
        "of the labels: one mark per task and init. Pretraining is not included."
    )
    return (Figure("score-against-cost", caption, drawn, keys),)


def _panel(
    results: ReportInput,
    key: tuple[str, str, int, int],
    points: Sequence[tuple[LeaderboardRow, float]],
    init_looks: dict[str, InitLook],
) -> FigurePanel:
    protocol, arch, size, input_size = key

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator, NullFormatter

        for row, seconds in points:
            look = init_looks[row.init]
            score = row.stats[results.primary].mean
            axes.plot(seconds, score, look.marker, color=look.color, markersize=6, alpha=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("seconds per cell")
        generated = any(results.generated(row.task) for row, _ in points)
        note = f"\nincludes tasks that are {GENERATED}" if generated else ""
        panel_title(axes, protocol, place_label(arch, size, input_size) + note)

    points_text = (
        f"{named_task(results, row.task)} with {row.init}: "
        f"{format_number(row.stats[results.primary].mean)} after {format_duration(seconds)}"
        for row, seconds in points
    )
    facts = {"protocol": protocol, "task": tuple({row.task: None for row, _ in points})}
    return draw_panel(paint, 420, 260, f"{protocol}. {'; '.join(points_text)}.", tight=True, facts=facts)
