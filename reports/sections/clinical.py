"""Clinical measures: ROC and precision-recall curves, operating points, predictive values."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ...benchmark.training.thresholds import YOUDEN
from ..analysis.clinical import CURVE, MOST_LINES, ClinicalLine, clinical_lines
from ..analysis.flags import leaks_by_row
from ..analysis.report_input import ReportInput
from ..elements.format import (
    GENERATED,
    compact_column,
    format_labels,
    format_number,
    format_percent,
    init_entry,
    task_entry,
    varying_columns,
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
    TableEntry,
)
from ..statistics.operating_points import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 12
"""Pairs of curves that are drawn; a page with more is slow."""
BOTH = ("sensitivity", "specificity")
CONFUSION = ("true positives", "false positives", "false negatives", "true negatives")
NO_THRESHOLDS = (
    "These records have no threshold from validation: run --overwrite always computes them anew with one."
)


@SECTIONS.register("clinical")
def clinical_section(results: ReportInput) -> SectionContent | None:
    """Show the rows with the largest share of the labels; None where no predictions can be read."""
    lines = clinical_lines(results)
    if not lines:
        return None
    blocks: list[Table | Figure] = [_ranking_table(results, lines), _figure(results, lines)]
    called = [line for line in lines if YOUDEN in line.calls]
    if called:
        blocks += [_calls_table(results, called), _rules_table(results, called)]
    if any(line.subgroups for line in called):
        blocks.append(_subgroup_table(results, called))
    blocks = [block for block in blocks if isinstance(block, Figure) or block.rows]
    part = SectionPart(lead=_lead(results, lines, len(called)), blocks=tuple(blocks))
    return SectionContent("Clinical measures", (part,))


def _lead(results: ReportInput, lines: Sequence[ClinicalLine], called: int) -> tuple[str, ...]:
    share = "the prevalence of the test set"
    if results.prevalence:
        stated = f"a stated prevalence of {format_percent(results.prevalence)}"
        share = f"{stated} (of other than binary tasks to {share})"
    return (
        "One class against the rest (of a binary task the second), mean over seeds. The unit is an image, "
        "or a patient with one score, as in By patient. Intervals: 95 % by a bootstrap of patients (images "
        "where none are known), about other patients and these trained networks, not other trainings, and "
        "not corrected for their number; none where a fixed sensitivity or specificity lets fewer than two "
        "patients of a fold be wrong.",
        "The first table reads the ROC curve of the test set. The others use thresholds that were chosen on "
        "the validation labels of each cell, as in use: the first of them by the highest sensitivity plus "
        "specificity (Youden), the collapsed one to reach a sensitivity or specificity. PPV and NPV apply to "
        f"{share}; report --prevalence states another.",
        *_leaks(results, lines),
        *((NO_THRESHOLDS,) if called < len(lines) else ()),
        *((f"The first {MOST_LINES} lines are shown.",) if len(lines) == MOST_LINES else ()),
    )


def _leaks(results: ReportInput, lines: Sequence[ClinicalLine]) -> list[str]:
    """Name each test set that the training partly knew, on which all measures are too good."""
    known = leaks_by_row(results)
    found = (f"{line.row.task}: {clause}: too good." for line in lines for clause in known[line.row])
    return list(dict.fromkeys(found))


def _entry(found: Estimate) -> Datum:
    span = "" if found.low != found.low else f"{format_number(found.low)} to {format_number(found.high)}"
    return Datum(found.value, note=span)


_Cells = tuple[ClinicalLine, Sequence[TableEntry]]
"""A line and its entries after those that name it."""


def _table(
    results: ReportInput,
    caption: str,
    columns: Sequence[TableColumn],
    cells: Sequence[_Cells],
    folded: bool = False,
) -> Table:
    """Make a table of lines at one share of the labels, which begins with the columns that name a line."""
    extra = varying_columns(line.row for line, _ in cells)
    names = (
        TableColumn("Task", facet="task"), TableColumn("Class"), TableColumn("Init", facet="init"),
        TableColumn("Protocol", facet="protocol"), *(column for column, _ in extra), TableColumn("Unit"),
    )  # fmt: skip
    rows = tuple(
        (
            task_entry(results, line.row.task), line.label, init_entry(line.row), line.row.protocol,
            *(getattr(line.row, field) for _, field in extra), line.unit, *entries,
        )
        for line, entries in cells
    )  # fmt: skip
    fraction = max((line.row.fraction for line, _ in cells), default=1.0)
    caption = f"{caption}, with {format_labels(fraction)}"
    table = Table(caption, (*names, *columns), rows, folded, {"fraction": fraction})
    return compact_column(table, "Protocol")


def _measures(names: Iterable[str]) -> list[TableColumn]:
    return [TableColumn(name[0].upper() + name[1:], ".3f") for name in names]


def _ranking_table(results: ReportInput, lines: Sequence[ClinicalLine]) -> Table:
    measures = list(lines[0].ranking)
    columns = _measures("AUC" if name == "auc" else name for name in measures)
    columns += [TableColumn("Positives", ",d", "of the number beside it")]
    cells = [
        (
            line,
            (
                *(_entry(line.ranking[name]) for name in measures),
                Datum(line.positives, note=f"of {line.positives + line.negatives:,}"),
            ),
        )
        for line in lines
    ]
    return _table(results, "ROC curve of the test set", columns, cells)


def _calls_table(results: ReportInput, lines: Sequence[ClinicalLine]) -> Table:
    names = ("sensitivity", "specificity", "PPV", "NPV")
    columns = [*_measures(names), TableColumn("Prevalence", ".3f", "share of positives of PPV and NPV")]
    columns += [
        TableColumn(short, ",.1f", f"{name}, mean over seeds")
        for short, name in zip(("TP", "FP", "FN", "TN"), CONFUSION, strict=True)
    ]
    cells = [
        (line, (*(_entry(line.calls[YOUDEN][name]) for name in names), line.prevalence, *line.confusion))
        for line in lines
    ]
    return _table(results, "At the threshold chosen on validation", columns, cells)


def _rules_table(results: ReportInput, lines: Sequence[ClinicalLine]) -> Table:
    columns = (TableColumn("Wanted on validation"), *_measures(BOTH))
    cells = [
        (line, (rule, *(_entry(found[name]) for name in BOTH)))
        for line in lines
        for rule, found in line.calls.items()
        if rule != YOUDEN
    ]
    caption = "At thresholds that reach a sensitivity or specificity on validation"
    return _table(results, caption, columns, cells, folded=True)


def _subgroup_table(results: ReportInput, lines: Sequence[ClinicalLine]) -> Table:
    counts = TableColumn("Positives", ",d"), TableColumn("Negatives", ",d")
    columns = (TableColumn("Column"), TableColumn("Subgroup"), *_measures(BOTH), *counts)
    cells = [
        (
            line,
            (
                each.column, each.value, *(_entry(each.measures[name]) for name in BOTH),
                each.positives, each.negatives,
            ),
        )
        for line in lines
        for each in line.subgroups
    ]  # fmt: skip
    return _table(results, "By subgroup, at the threshold chosen on validation for all", columns, cells)


def _figure(results: ReportInput, lines: Sequence[ClinicalLine]) -> Figure:
    """Draw ROC and precision-recall curves of each class, by patient where there are several images."""
    by_patient = {line.row.task for line in lines if line.unit == "patient"}
    groups: dict[tuple[object, ...], list[ClinicalLine]] = defaultdict(list)
    for line in lines:
        if (line.unit == "patient") == (line.row.task in by_patient):
            row = line.row
            place = (row.task, line.label, row.protocol, row.arch, row.size, row.input_size, row.setting)
            groups[place].append(line)
    shown = list(groups.values())[: MOST_PANELS // 2]
    looks = looks_of([line.row.init for line in lines])
    with report_style():
        panels = [
            _panel(group, looks, roc, GENERATED if results.generated(group[0].row.task) else "")
            for group in shown
            for roc in (True, False)
        ]
        used = dict.fromkeys(line.row.init for group in shown for line in group)
        keys = tuple((legend_swatch(looks[init]), init) for init in used)
    more = f" The first {len(shown)} of {len(groups)}." if len(groups) > len(shown) else ""
    caption = f"ROC and precision-recall curves of the test set, mean over seeds.{more}"
    return Figure("clinical-curves", caption, tuple(panels), keys)


def _panel(
    group: Sequence[ClinicalLine], looks: Mapping[str, InitLook], roc: bool, warning: str
) -> FigurePanel:
    first = group[0]

    def paint(axes: "Axes") -> None:
        for line in group:
            look = looks[line.row.init]
            across, up = (CURVE, line.roc) if roc else (CURVE[1:], line.precision)
            axes.plot(across, up, color=look.color, linestyle=look.dash)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set_xlabel("1 - specificity" if roc else "sensitivity (recall)")
        axes.set_ylabel("sensitivity" if roc else "PPV (precision)")
        note = "\n".join(filter(None, (f"{first.row.protocol}, by {first.unit}", warning)))
        panel_title(axes, f"{first.row.task}: {first.label}", note, 30)

    inits = ", ".join(line.row.init for line in group)
    what = "ROC" if roc else "Precision-recall"
    alt = f"{what} curves of {inits} for {first.label} of {first.row.task}"
    alt += f" ({warning})" if warning else ""
    facts = {"task": first.row.task, "protocol": first.row.protocol, "fraction": first.row.fraction}
    return draw_panel(paint, 250, 230, alt, facts=facts)
