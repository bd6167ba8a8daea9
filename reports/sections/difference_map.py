"""Heat map of the difference to scratch, task by init."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.pairs import PairedRows, differences_to
from ..analysis.report_input import BASELINE, ReportInput
from ..elements.format import (
    GENERATED,
    NO_VERDICT,
    count_noun,
    format_number,
    format_percent,
    init_entry,
    place_label,
    primary_title,
    task_entry,
    varying_columns,
)
from ..elements.heat import LEAST_SCALE, draw_heat
from ..elements.pictures import PAPER, SMALL, draw_panel, report_style, shorten_name
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAP_COLUMNS = 12
"""Most columns of one panel, so that it stays legible."""
FIGURES = 24
MAP_ROWS = 300
"""More rows than these make a page slow."""


@SECTIONS.register("difference-to-scratch")
def difference_to_scratch(results: ReportInput) -> SectionContent | None:
    """Map task x init per fraction; one figure per protocol, architecture and image size."""
    inits = {row.init for row in results.rows}
    if not results.rows or inits == {BASELINE}:
        return None
    found = differences_to(results, BASELINE, results.primary)
    title = "Difference to scratch"
    if not found:
        why = f"no record of an init called {BASELINE}"
        if BASELINE in inits:
            why = "no seed that two inits share on equal data"
        lead = f"Nothing can be compared with training from scratch: there is {why}."
        return SectionContent(title, (SectionPart(lead=(lead,)),))
    figures: dict[tuple[str, str, int, int], list[PairedRows]] = defaultdict(list)
    for item in found:
        figures[item.row.protocol, item.row.arch, item.row.size, item.row.input_size].append(item)
    scale = max(LEAST_SCALE, *(abs(item.stat.mean) for item in found))
    blocks: list[Table | Figure] = []
    with report_style():
        for index, ((protocol, arch, size, input_size), items) in enumerate(islice(figures.items(), FIGURES)):
            what = f"Mean difference in {primary_title(results)} to {BASELINE}."
            caption = f"{protocol}: {place_label(arch, size, input_size)}. {what}"
            blocks.append(Figure(f"difference-{index + 1}", caption, _panels(results, items, scale)))
    starred, cut = any(item.row.contaminated for item in found), len(figures) - FIGURES
    lead = (
        f"{primary_title(results)} on the test set minus that from scratch with the same task, labels and "
        "seed, mean over the common seeds. Blue is above scratch, orange below, gray close to 0; colors are "
        f"full at {format_number(scale, '.2f')}. They show size, not certainty. {NO_VERDICT}",
        *(("* These weights are declared, or were found, to have seen data of the task.",) * starred),
        *((f"{count_noun(cut, 'more map')} left out; the table has their numbers.",) * (cut > 0)),
    )
    return SectionContent(title, (SectionPart(lead=lead, blocks=(*blocks, _table(results, found))),))


def _panels(results: ReportInput, items: Sequence[PairedRows], scale: float) -> tuple[FigurePanel, ...]:
    """Split the fractions into panels of legible width."""
    fractions = list(dict.fromkeys(sorted(item.row.fraction for item in items)))
    inits = len({_name(item) for item in items})
    per_panel = max(1, MAP_COLUMNS // inits)
    parts = [set(fractions[start : start + per_panel]) for start in range(0, len(fractions), per_panel)]
    shares = ([item for item in items if item.row.fraction in part] for part in parts)
    return tuple(_panel(results, share, scale) for share in shares)


def _name(item: PairedRows) -> str:
    """Name a column; weights that may have seen the task get a star and their own column."""
    name = f"{item.row.init} ({item.row.variant})" if item.row.ambiguous else item.row.init
    return f"{name}*" if item.row.contaminated else name


def _panel(results: ReportInput, items: Sequence[PairedRows], scale: float) -> FigurePanel:
    tasks = list(dict.fromkeys(item.row.task for item in items))
    ordered = sorted(items, key=lambda item: item.row.fraction)
    columns = list(dict.fromkeys((item.row.fraction, _name(item)) for item in ordered))
    means = {(item.row.task, (item.row.fraction, _name(item))): item.stat.mean for item in items}
    grid = np.array([[means.get((task, column), np.nan) for column in columns] for task in tasks])
    texts = np.array([["" if np.isnan(x) else format_number(x, "+.3f") for x in line] for line in grid])
    marked = {task: f" ({GENERATED})" if results.generated(task) else "" for task in tasks}

    def paint(axes: Axes) -> None:
        draw_heat(axes, grid, texts, scale, fontsize=SMALL)
        axes.xaxis.tick_top()
        names = [shorten_name(task, 30) + (f"\n{GENERATED}" if marked[task] else "") for task in tasks]
        axes.set_yticks([row + 0.5 for row in range(len(tasks))], names, rotation=0)
        names = [shorten_name(name, 18) for _, name in columns]
        axes.set_xticks(np.arange(len(columns)) + 0.5, names, rotation=30, ha="left", rotation_mode="anchor")
        _group(axes, [fraction for fraction, _ in columns])

    by_task = (
        f"{task}{marked[task]}: "
        + ", ".join(
            f"{name} at {format_percent(f)} {format_number(means[task, (f, name)], '+.3f')}"
            for f, name in columns
            if (task, (f, name)) in means
        )
        for task in tasks
    )
    alt = f"Mean difference in {primary_title(results)} to {BASELINE}. {'; '.join(by_task)}."
    facts = {
        "task": tuple(tasks),
        "protocol": items[0].row.protocol,
        "fraction": tuple(fraction for fraction, _ in columns),
    }
    return draw_panel(paint, 60 + 58 * len(columns), 60 + 30 * len(tasks), alt, tight=True, facts=facts)


def _group(axes: Axes, fractions: Sequence[float]) -> None:
    """Write each fraction under its columns and separate it from the next."""
    for fraction in dict.fromkeys(fractions):
        first, size = fractions.index(fraction), fractions.count(fraction)
        name = f"{format_percent(fraction)} of labels" if size > 1 else format_percent(fraction)
        axes.annotate(
            name, (first + size / 2, 0), (0, -6),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="center", va="top",
            fontsize=SMALL,
        )  # fmt: skip
        if first:
            axes.axvline(first, color=PAPER, linewidth=5)


def _table(results: ReportInput, found: Sequence[PairedRows]) -> Table:
    more = len(found) > MAP_ROWS
    cut = f" (the first {MAP_ROWS} of {len(found):,}; verdicts.csv has all)" if more else ""
    found = found[:MAP_ROWS]
    extra = varying_columns(item.row for item in found)
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Protocol", facet="protocol"),
        TableColumn("Labels", "g", facet="fraction"),
        TableColumn("Init", facet="init"),
        *(column for column, _ in extra),
        TableColumn("Difference", "+.3f", f"difference to {BASELINE}, mean over seeds"),
        TableColumn("SD", ".3f", "standard deviation of the differences over seeds"),
        TableColumn("Paired seeds", "d"),
        TableColumn("Unpaired seeds", "d", "seeds that only one of the two has"),
    )
    rows: list[TableRow] = [
        (
            task_entry(results, item.row.task),
            item.row.protocol,
            Datum(item.row.fraction, format_percent(item.row.fraction)),
            init_entry(item.row),
            *(getattr(item.row, field) for _, field in extra),
            item.stat.mean,
            item.stat.sd,
            item.stat.n,
            item.unpaired,
        )
        for item in found
    ]
    return Table(
        f"Difference to {BASELINE}, the numbers of the map{cut}",
        columns,
        tuple(rows),
        folded=True,
        keys=tuple(item.keys for item in found),
    )
