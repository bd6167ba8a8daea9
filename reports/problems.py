"""What to doubt: failures, gaps, undefined metrics, grid edges, contamination, phantoms and caveats."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from ..benchmark.plan import Cell
from ..benchmark.records import Record
from .results import Results
from .section import SECTIONS, Column, Content, Entry, Part, Table
from .wording import GENERATED, count, metric, percent, place, task_entry

ROWS = 300
"""Failures and gaps that are listed one by one; the rest are counted."""


@SECTIONS.register("problems")
def problems(results: Results) -> Content:
    """List everything that a reader must know before believing a number."""
    points = (*_counts(results), *_generated(results), *_overlaps(results), *results.warnings)
    tables = (
        _failed(results),
        _missing(results),
        _undefined(results),
        _edges(results),
        _caveats(results),
        _notes(results),
    )
    blocks = tuple(table for table in tables if table.rows)
    lead = () if points or blocks else ("Nothing failed, nothing is missing, and no flag was raised.",)
    return Content("What to doubt", 70, (Part(lead=lead, points=points, blocks=blocks),))


def _counts(results: Results) -> list[str]:
    points = []
    if results.plan is None:
        points.append(
            "There is no readable plan in the folder, so that nobody can tell whether cells are missing."
        )
    if results.unreadable:
        names = ", ".join(path.name for path in results.unreadable[:5])
        more = f" and {len(results.unreadable) - 5} more" if len(results.unreadable) > 5 else ""
        broken = count(len(results.unreadable), "record")
        points.append(f"{broken} cannot be read whole and will be run again: {names}{more}.")
    single = sum(len(row.seeds) == 1 for row in results.rows)
    if single:
        points.append(
            f"{single} of {count(len(results.rows), 'row')} rest on a single seed: there, the spread over seeds is "
            "unknown."
        )
    dirty = sum(record.provenance.dirty for record in results.counted)
    if dirty:
        points.append(f"{count(dirty, 'cell')} ran from a checkout with uncommitted changes.")
    return points


def _generated(results: Results) -> list[str]:
    tasks = sorted({row.task for row in results.rows if results.generated(row.task)})
    return [f"{task}: {GENERATED}." for task in tasks]


def _overlaps(results: Results) -> list[str]:
    seen = sorted({(row.init, row.task, corpus) for row in results.rows for corpus in row.overlap})
    return [
        f"{_named(results, task)}: the weights of {init} declare to have seen {corpus}, which shares a parent data "
        "set with this task; its scores there are contaminated."
        for init, task, corpus in seen
    ]


def _named(results: Results, task: str) -> str:
    return f"{task} ({GENERATED})" if results.generated(task) else task


def _where(results: Results, cell: Cell) -> tuple[Entry, ...]:
    step = {"pretrain": "pretraining", "tune": "tuning"}.get(cell.step, cell.protocol)
    network = place(cell.arch, cell.size, cell.input_size)
    return task_entry(results, cell.task), cell.init, step, percent(cell.fraction), network


WHERE = (Column("Task"), Column("Init"), Column("Protocol"), Column("Labels"), Column("Network"))


def _seeds(cells: Iterable[Cell]) -> str:
    return ", ".join(map(str, sorted(cell.seed for cell in cells)))


def _capped(caption: str, rows: list[tuple[Entry, ...]]) -> tuple[str, tuple[tuple[Entry, ...], ...]]:
    more = f" (the first {ROWS} of {len(rows)} lines)" if len(rows) > ROWS else ""
    return caption + more, tuple(rows[:ROWS])


def _failed(results: Results) -> Table:
    groups: dict[tuple[tuple[Entry, ...], str], list[Record]] = defaultdict(list)
    for record in results.failed:
        groups[_where(results, record.cell), record.error or "no error was recorded"].append(record)
    rows: list[tuple[Entry, ...]] = [
        (*where, _seeds(record.cell for record in members), error)
        for (where, error), members in groups.items()
    ]
    caption, shown = _capped(f"{count(len(results.failed), 'cell')} failed", rows)
    return Table(caption, (*WHERE, Column("Seeds"), Column("Error")), shown)


def _missing(results: Results) -> Table:
    groups: dict[tuple[tuple[Entry, ...], str], list[Cell]] = defaultdict(list)
    for item in results.missing:
        groups[_where(results, item.cell), item.reason].append(item.cell)
    rows: list[tuple[Entry, ...]] = [
        (*where, _seeds(cells), reason) for (where, reason), cells in groups.items()
    ]
    caption, shown = _capped(f"{count(len(results.missing), 'planned cell')} without a result", rows)
    return Table(caption, (*WHERE, Column("Seeds"), Column("Why")), shown, folded=len(shown) > 20)


def _undefined(results: Results) -> Table:
    found: Counter[tuple[tuple[Entry, ...], str, str]] = Counter()
    for record in results.counted:
        for name, value in record.metrics.items():
            if value is None:
                reason = record.undefined.get(name, "no reason was recorded")
                found[_where(results, record.cell), metric(name).title, reason] += 1
    rows: list[tuple[Entry, ...]] = [
        (*where, name, cells, why) for (where, name, why), cells in found.items()
    ]
    caption, shown = _capped("Undefined metrics: left out of the mean, never counted as 0", rows)
    return Table(caption, (*WHERE, Column("Metric"), Column("Seeds", "d"), Column("Why")), shown)


def _edges(results: Results) -> Table:
    found: dict[tuple[tuple[Entry, ...], str, str], list[tuple[float, Cell]]] = defaultdict(list)
    for record in results.counted:
        for choice in record.choices:
            if choice.at_edge:
                grid = ", ".join(f"{value:g}" for value in choice.grid)
                found[_where(results, record.cell), choice.name, grid].append((choice.value, record.cell))
    rows: list[tuple[Entry, ...]] = [
        (*where, name, ", ".join(sorted({f"{value:g}" for value, _ in chosen})), grid, len(chosen))
        for (where, name, grid), chosen in found.items()
    ]
    caption, shown = _capped("Choices on the edge of their grid: a wider grid might do better", rows)
    columns = (*WHERE, Column("Choice"), Column("Chosen"), Column("Grid"), Column("Seeds", "d"))
    return Table(caption, columns, shown, folded=True)


def _caveats(results: Results) -> Table:
    tasks = sorted({row.task for row in results.rows})
    rows = [
        (task_entry(results, task), caveat)
        for task in tasks
        if (facts := results.tasks.get(task))
        for caveat in facts.caveats
    ]
    return Table("Known caveats of the tasks", (Column("Task"), Column("Caveat")), tuple(rows))


def _notes(results: Results) -> Table:
    found = Counter((record.cell.task, note) for record in results.counted for note in record.notes)
    rows: list[tuple[Entry, ...]] = [
        (task_entry(results, task), note, cells) for (task, note), cells in sorted(found.items())
    ]
    caption, shown = _capped("Notes that the runner left", rows)
    return Table(caption, (Column("Task"), Column("Note"), Column("Cells", "d")), shown, folded=True)
