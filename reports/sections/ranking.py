"""Results over all tasks: mean differences with intervals, ranks and critical differences."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from ..analysis.aggregate import (
    ComparableSetting,
    InitRanking,
    OverallDifference,
    gather_scores,
    overall_differences,
    rank_inits,
)
from ..analysis.report_input import ReportInput
from ..elements.critical_difference import draw_ranking
from ..elements.format import (
    GENERATED,
    compact_column,
    count_noun,
    format_interval,
    format_labels,
    format_percent,
    join_words,
    p_value,
    place_label,
    primary_title,
)
from ..elements.pictures import looks_of, report_style
from ..elements.section import (
    SECTIONS,
    Datum,
    Figure,
    SectionContent,
    SectionPart,
    Table,
    TableColumn,
    TableRow,
)
from ..statistics.over_tasks import MEAN_UNITS, RANK_INITS, RANK_UNITS, WILCOXON_UNITS

DIAGRAMS = 12


@SECTIONS.register("over-tasks")
def over_tasks(results: ReportInput) -> SectionContent | None:
    """Show the differences over tasks and the ranks of every setting, the largest fraction open."""
    found = overall_differences(results)
    if not found:
        return None
    largest = max(each.setting.fraction for each in found)
    score = primary_title(results)
    lead = (
        f"Difference in {score}: mean over tasks of the mean over common seeds. Tasks whose images have one "
        "origin count as one; weights that may have seen a task do not count on it, and generated images are "
        "never mixed with real ones. The 95 % interval is over tasks and includes the noise of seeds and "
        "test images, as every task's difference does. It holds for tasks like these. Next task is the "
        "probability that the difference on one more such task is above the margin.",
    )
    ranked = rank_inits(results)
    figure = _diagrams(results, [each for each in ranked if each.setting.fraction == largest])
    blocks: list[Table | Figure] = [figure] if figure else []
    for folded in (False, True):
        rows = [each for each in found if (each.setting.fraction < largest) == folded]
        if rows:
            blocks.append(_differences(rows, folded, results.margin))
        lines = [each for each in ranked if (each.setting.fraction < largest) == folded]
        if lines:
            blocks.append(_ranks(lines, folded))
    part = SectionPart(lead=lead, points=_points(results), blocks=tuple(blocks))
    return SectionContent("Over all tasks", (part,))


def _points(results: ReportInput) -> tuple[str, ...]:
    """Name the statistics with too few tasks, and the tasks that were left out."""
    units = max(each.mean.units for each in overall_differences(results))
    inits = max((len(each.inits) for each in rank_inits(results)), default=0)
    needs = (
        (units < MEAN_UNITS, f"an interval needs {MEAN_UNITS}"),
        (units < WILCOXON_UNITS, f"Wilcoxon's test needs {WILCOXON_UNITS}"),
        (units < RANK_UNITS, f"Friedman's and Nemenyi's need {RANK_UNITS}"),
    )
    short = [text for lacking, text in needs if lacking]
    points: list[str] = []
    if short:
        points.append(f"There are at most {count_noun(units, 'independent task')} here: {join_words(short)}.")
    if inits < RANK_INITS and units >= RANK_UNITS:
        points.append(f"Friedman's and Nemenyi's tests need {RANK_INITS} inits on the same tasks.")
    left_out = sorted({task for each in gather_scores(results) for task in each.left_out})
    if left_out:
        points.append(f"Left out, since some of their records must not be compared: {join_words(left_out)}.")
    return tuple(points)


TASKS_COLUMN = TableColumn(
    "Tasks", "d", "independent tasks: those whose images have one origin count as one", facet="task"
)
SETTING = (
    TableColumn("Protocol", facet="protocol"),
    TableColumn("Labels", "g", facet="fraction"),
    TableColumn("Network"),
)


def setting_entries(of: ComparableSetting) -> TableRow:
    """Return the entries of the columns `SETTING`."""
    fraction = Datum(of.fraction, format_percent(of.fraction))
    return of.protocol, fraction, place_label(of.arch, of.size, of.input_size)


def _p(value: float) -> Datum | float:
    """Write a p-value below 0.001 as "< 0.001"; others, NaN too, stay numbers."""
    return Datum(value, p_value(value)) if value < 0.001 else value


def _tasks(units: int, tasks: Sequence[str]) -> Datum:
    """Count independent tasks, with a note if some share an origin."""
    note = f"of {count_noun(len(tasks), 'task')}" if len(tasks) > units else ""
    return Datum(units, note=note, stands_for=tuple(tasks))


def _drop_empty_columns(table: Table) -> Table:
    """Drop columns without a number in any row, and a network that all rows share."""
    kept = [
        place
        for place, column in enumerate(table.columns)
        if not column.format or any(row[place] == row[place] for row in table.rows)  # NaN is not itself
    ]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return compact_column(replace(table, columns=tuple(table.columns[p] for p in kept), rows=rows), "Network")


def inits_entry(of: ComparableSetting, *inits: str) -> Datum:
    """Name an init, or the difference of two, with the warning for generated images."""
    name = " \u2212 ".join(inits)
    return Datum(name, name, note=GENERATED if of.generated else "", stands_for=inits)


def _next_task(chances: tuple[float, float, float]) -> Datum | float:
    """Write the probability above the margin, with those within and below as a note."""
    above, within, below = chances
    return above if math.isnan(above) else Datum(above, note=f"within {within:.2f}, below {below:.2f}")


def _differences(rows: Sequence[OverallDifference], folded: bool, margin: float) -> Table:
    columns = (
        TableColumn("Pair", facet="init"),
        *SETTING,
        TableColumn("Difference", "+.3f", "mean over independent tasks"),
        TableColumn("95 % interval", "", "Student's, over independent tasks"),
        TableColumn("Wilcoxon p", ".3f", "two-sided signed-rank test over independent tasks"),
        TableColumn("Higher on", "d", "independent tasks on which the first of the pair is higher"),
        TableColumn("Next task", ".2f", "probability of a difference above the margin on a further task"),
        TASKS_COLUMN,
    )
    body: list[TableRow] = [
        (
            inits_entry(each.setting, each.a, each.b),
            *setting_entries(each.setting),
            each.mean.difference,
            Datum(each.mean.low, format_interval(each.mean.low, each.mean.high)),
            _p(each.mean.p),
            each.mean.positive,
            _next_task(each.mean.next_task(margin)),
            _tasks(each.mean.units, each.tasks),
        )
        for each in rows
    ]
    caption = f"Mean differences over tasks {_labels(rows[0].setting, folded)}"
    keys = tuple(each.keys for each in rows)
    return _drop_empty_columns(Table(caption, columns, tuple(body), folded, keys=keys))


def _ranks(lines: Sequence[InitRanking], folded: bool) -> Table:
    columns = (
        TableColumn("Init", facet="init"),
        *SETTING,
        TableColumn("Mean rank", ".2f", "1 is best; ties share a rank"),
        TableColumn("Borda", "g", "other inits beaten, summed over independent tasks; a tie counts half"),
        TableColumn("Friedman p", ".3f", "null hypothesis: all inits are equal; corrected for ties"),
        TableColumn("CD", ".2f", "critical difference of two mean ranks, Nemenyi at 0.05"),
        TASKS_COLUMN,
    )
    body: list[TableRow] = []
    for each in lines:
        for at in each.ranks.mean.argsort(kind="stable"):
            ranks = each.ranks
            body.append(
                (
                    inits_entry(each.setting, each.inits[at]),
                    *setting_entries(each.setting),
                    float(ranks.mean[at]),
                    float(ranks.borda[at]),
                    _p(ranks.p),
                    ranks.critical,
                    _tasks(ranks.units, each.tasks),
                )
            )
    caption = f"Ranks over the tasks that all inits share, {_labels(lines[0].setting, folded)}"
    return _drop_empty_columns(Table(caption, columns, tuple(body), folded))


def _labels(setting: ComparableSetting, folded: bool) -> str:
    return "with fewer labels" if folded else f"with {format_labels(setting.fraction)}"


def _diagrams(results: ReportInput, ranked: Sequence[InitRanking]) -> Figure | None:
    drawable = [each for each in ranked if not math.isnan(each.ranks.critical)]
    if not drawable:
        return None
    init_looks = looks_of([row.init for row in results.rows])
    with report_style():
        panels = tuple(draw_ranking(each, init_looks) for each in islice(drawable, DIAGRAMS))
    cut = len(drawable) - len(panels)
    caption = (
        "Critical-difference diagram (Demšar 2006): mean ranks, best on the left. A bar joins inits without "
        "a significant difference in Nemenyi's test at 0.05; other pairs differ by more than CD."
        + (f" {count_noun(cut, 'more diagram')} left out; the table has their ranks." if cut else "")
    )
    return Figure("critical-difference", caption, panels)
