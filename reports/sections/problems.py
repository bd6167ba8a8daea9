"""Warnings: failures, gaps, undefined metrics, grid edges, contamination and caveats."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from ...benchmark.schema.plan import Cell, Fold
from ..analysis.flags import leaks
from ..analysis.report_input import ReportInput, look_up_metric
from ..analysis.verdicts import compute_verdicts
from ..answers.data_quality import data_quality_answer
from ..elements.format import (
    GENERATED,
    compact_column,
    count_noun,
    format_percent,
    named_task,
    place_label,
    task_entry,
)
from ..elements.merged_rows import merged_notices
from ..elements.section import SECTIONS, Datum, SectionContent, SectionPart, Table, TableColumn, TableRow
from ..elements.verdict_format import flagged_text
from ..statistics.stats import MetricStat
from .ranking import SETTING

PROBLEM_ROWS = 300
"""Rows of each table of failures or gaps; the rest are counted."""


@SECTIONS.register("problems")
def problems_section(results: ReportInput) -> SectionContent:
    """List the warnings on the numbers of the report."""
    points = (
        *(f"{leak}." for leak in leaks(results)),
        *filter(None, (flagged_text(compute_verdicts(results)),)),
        *merged_notices(results),
        *_counts(results),
        *_generated_tasks(results),
        *_overlaps(results),
        *_separate_variants(results),
        *_repeated_seeds(results),
        *_mixed_software(results),
    )
    tables = (
        _failed_cells(results),
        _missing_cells(results),
        _incomplete_repeats(results),
        _undefined_metrics(results),
        _edges(results),
        _caveats(results),
        _notes(results),
    )
    blocks = tuple(table for table in tables if table.rows)
    lead = () if points or blocks else ("Nothing failed, nothing is missing, and no flag was raised.",)
    return SectionContent(
        "Warnings",
        (SectionPart(lead=lead, points=points, blocks=blocks),),
        (data_quality_answer(results),),
    )


def _counts(results: ReportInput) -> list[str]:
    points = [
        f"There is no readable plan in {folder}: missing cells there are unknown."
        for folder in results.planless
    ]
    if results.unreadable:
        broken = count_noun(len(results.unreadable), "record file")
        points.append(
            f"{broken} cannot be read whole, or were altered, and are ignored: run the same command again, "
            "which computes those of its plan anew, and remove the others: "
            f"{_few(path.name for path in results.unreadable)}."
        )
    if results.damaged:
        points.append(
            f"The predictions of {count_noun(len(results.damaged), 'record')} are missing or do not match "
            "the score, and no verdict uses them: run the same command again, which computes them anew: "
            f"{_few(sorted(results.damaged))}."
        )
    single = sum(len(row.seeds) == 1 for row in results.rows)
    if single:
        share = f"{single} of {len(results.rows)}"
        points.append(f"Rows with a single seed, whose spread is unknown: {share}.")
    constant = sum(_is_constant(row.stats.get(results.primary)) for row in results.rows)
    if constant:
        share = f"{constant} of {len(results.rows)}"
        points.append(
            f"Rows in which every seed gives the same score: {share}. Nothing there depends on the seed, so "
            "a spread of 0 is no sign of certainty."
        )
    dirty = sum(record.provenance.dirty for record in results.counted_cells)
    if dirty:
        points.append(f"{count_noun(dirty, 'cell')} ran from a checkout with uncommitted changes.")
    return points


def _few(names: Iterable[str]) -> str:
    named = list(names)
    return ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")


def _is_constant(stat: MetricStat | None) -> bool:
    return stat is not None and stat.n > 1 and stat.low == stat.high


def _generated_tasks(results: ReportInput) -> list[str]:
    tasks = sorted({row.task for row in results.rows if results.generated(row.task)})
    return [f"{task}: {GENERATED}." for task in tasks]


def _overlaps(results: ReportInput) -> list[str]:
    seen = sorted({(row.init, row.task, corpus) for row in results.rows for corpus in row.overlap})
    found = sorted(
        {(row.task, row.audit.sentence) for row in results.rows if row.audit and row.audit.contaminated}
    )
    return [f"{named_task(results, task)}: {sentence}." for task, sentence in found] + [
        f"{named_task(results, task)}: the weights of {init} are declared to have seen {corpus}, which "
        "shares a parent data set with this task; its scores there are contaminated."
        for init, task, corpus in seen
    ]


def _separate_variants(results: ReportInput) -> list[str]:
    """Name the tasks with records that must not be averaged or compared."""
    tasks = Counter((row.task, row.protocol) for row in results.rows if row.ambiguous)
    return [
        f"{named_task(results, task)}, {protocol}: the folder holds records of different data, protocol "
        f"version, recipe or weights. They are {rows} separate rows with a Variant each, compared only if "
        "data, protocol version and recipe are equal."
        for (task, protocol), rows in sorted(tasks.items())
    ]


def _repeated_seeds(results: ReportInput) -> list[str]:
    return [
        f"{named_task(results, task)}: {count_noun(dropped, 'record')} replaced by later ones of equal seeds."
        for task, dropped in sorted(results.repeated.items())
    ]


def _mixed_software(results: ReportInput) -> list[str]:
    """Count the rows that average seeds of different package versions or devices."""
    made = {record.key: record.provenance for record in results.counted}
    differing = {
        "with different package versions": lambda key: tuple(sorted(made[key].versions.items())),
        "on different devices": lambda key: made[key].device,
    }
    found = {
        how: sum(len({of(key) for key in row.keys}) > 1 for row in results.rows)
        for how, of in differing.items()
    }
    return [
        f"{count_noun(rows, 'row')} with seeds computed {how}; see Provenance."
        for how, rows in found.items()
        if rows
    ]


def _where(results: ReportInput, cell: Cell) -> TableRow:
    step = {"pretrain": "pretraining", "tune": "tuning"}.get(cell.step, cell.protocol)
    network = place_label(cell.arch, cell.size, cell.input_size)
    labels = Datum(cell.fraction, format_percent(cell.fraction))
    return task_entry(results, cell.task), cell.init, step, labels, network


WHERE = (
    TableColumn("Task", facet="task"),
    TableColumn("Init", facet="init"),
    *SETTING,
)


def _seeds(cells: Iterable[Cell]) -> str:
    def name(cell: Cell) -> str:
        return f"{cell.seed} (fold {cell.view.index + 1})" if isinstance(cell.view, Fold) else str(cell.seed)

    return ", ".join(map(name, sorted(cells, key=_by_seed)))


def _by_seed(cell: Cell) -> tuple[int, int]:
    return cell.seed, cell.view.index if isinstance(cell.view, Fold) else 0


def _cells_table(
    results: ReportInput,
    caption: str,
    columns: Sequence[str],
    found: Iterable[tuple[Cell, tuple[str, ...]]],
    folded: bool = False,
) -> Table:
    """Make a table of cells with their facts; seeds of equal facts share a row, of which most are cut.

    Args:
        columns: titles of the facts.
        found: cells, each with its facts.
    """
    groups: dict[tuple[TableRow, tuple[str, ...]], list[Cell]] = defaultdict(list)
    for cell, facts in sorted(found, key=lambda each: _by_place(each[0])):
        groups[_where(results, cell), facts].append(cell)
    rows = [(*where, _seeds(cells), *facts) for (where, facts), cells in groups.items()]
    titles = (*WHERE, TableColumn("Seeds"), *map(TableColumn, columns))
    table = Table(f"{caption}{_cut(rows)}", titles, tuple(rows[:PROBLEM_ROWS]), folded)
    return compact_column(table, "Network")


def _cut(rows: Sequence[TableRow]) -> str:
    return f" (the first {PROBLEM_ROWS} of {len(rows)} rows)" if len(rows) > PROBLEM_ROWS else ""


def _by_place(cell: Cell) -> tuple[object, ...]:
    steps = ("pretrain", "tune", "score")
    return steps.index(cell.step), cell.task, cell.protocol, cell.arch, cell.init, cell.fraction, cell.seed


def _failed_cells(results: ReportInput) -> Table:
    found = ((record.cell, (record.error or "no error was recorded",)) for record in results.failed)
    return _cells_table(results, f"{count_noun(len(results.failed), 'cell')} failed", ("Error",), found)


def _missing_cells(results: ReportInput) -> Table:
    found = [(item.cell, (item.reason,)) for item in results.missing if item.reason != "failed"]
    caption = f"{count_noun(len(found), 'planned cell')} without a record"
    return _cells_table(results, caption, ("Why",), found, folded=len(found) > 20)


def _incomplete_repeats(results: ReportInput) -> Table:
    found = (
        (replace(each.cell, view=UNSET), (", ".join(str(index + 1) for index in each.lacking),))
        for each in results.incomplete
    )
    caption = "Repeats of a cross-validation that lack folds, failed or not run: left out of every mean"
    return _cells_table(results, caption, ("Missing folds",), found)


def _undefined_metrics(results: ReportInput) -> Table:
    found = (
        (record.cell, (title, record.undefined.get(name, "no reason was recorded")))
        for record in results.counted
        for name, value in record.metrics.items()
        if value is None
        for title in (look_up_metric(name, results.metric_facts).title,)
    )
    caption = "Undefined metrics: excluded from the mean, never counted as 0"
    return _cells_table(results, caption, ("Metric", "Why"), found)


def _edges(results: ReportInput) -> Table:
    found = (
        (record.cell, (choice.name, f"{choice.value:g}", ", ".join(f"{value:g}" for value in choice.grid)))
        for record in results.counted
        for choice in record.choices
        if choice.at_edge
    )
    caption = "Hyper-parameters at the edge of their grid: a wider grid might do better"
    return _cells_table(results, caption, ("Hyper-parameter", "Chosen", "Grid"), found, folded=True)


def _caveats(results: ReportInput) -> Table:
    tasks = sorted({row.task for row in results.rows})
    rows = [
        (task_entry(results, task), caveat)
        for task in tasks
        if (facts := results.tasks.get(task))
        for caveat in facts.caveats
    ]
    columns = (TableColumn("Task", facet="task"), TableColumn("Caveat"))
    return Table("Known caveats of the tasks", columns, tuple(rows))


def _notes(results: ReportInput) -> Table:
    found = Counter((record.cell.task, note) for record in results.counted for note in record.notes)
    rows: list[TableRow] = [
        (task_entry(results, task), note, cells) for (task, note), cells in sorted(found.items())
    ]
    columns = (TableColumn("Task", facet="task"), TableColumn("Note"), TableColumn("Cells", "d"))
    return Table(f"Notes of the runner{_cut(rows)}", columns, tuple(rows[:PROBLEM_ROWS]), folded=True)
