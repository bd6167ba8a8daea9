"""AUC, gap and gain by subgroup; absent if no task has subgroup columns."""

from collections.abc import Sequence

from ..analysis.report_input import LeaderboardRow, ReportInput
from ..analysis.subgroups import (
    FEWEST_PER_SIDE,
    UNKNOWN_VALUE,
    RowGap,
    SubgroupGain,
    SubgroupRow,
    subgroup_gains,
    subgroup_gaps,
)
from ..answers.subgroups import subgroups_answer
from ..elements.format import (
    NBSP,
    compact_column,
    format_interval,
    format_labels,
    format_number,
    p_value,
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
from ..statistics.paired import PairedDifference

NOT_STATED = "(not stated)"
TASK, COLUMN, INIT = (
    TableColumn("Task", facet="task"),
    TableColumn("Column"),
    TableColumn("Init", facet="init"),
)
PROTOCOL = TableColumn("Protocol", facet="protocol")
RANGE = f"95{NBSP}% interval"


@SECTIONS.register("subgroups")
def subgroups_section(results: ReportInput) -> SectionContent | None:
    """Show the largest label share in three tables; None without subgroup columns."""
    found = subgroup_gaps(results)
    if not found:
        return None
    largest = max(each.row.fraction for each in found)
    at_top = [each for each in found if each.row.fraction == largest]
    compared = [each for each in subgroup_gains(results) if each.pair.a.fraction == largest]
    with_labels = f"with {format_labels(largest)}"
    tables = [_scores(results, at_top, with_labels), _gaps(results, at_top, with_labels)]
    if compared:
        tables.append(_gains(results, compared, with_labels))
    facts = {"fraction": largest}
    blocks = tuple(compact_column(Table(*table, facts=facts), "Protocol") for table in tables)
    part = SectionPart(lead=_lead(), blocks=blocks)
    return SectionContent("Subgroups", (part,), (subgroups_answer(results, at_top, compared),))


def _lead() -> tuple[str, ...]:
    return (
        "Test AUC on the images of each subgroup, mean over seeds, with an interval over test images "
        "(patients, if known) and seeds, not corrected for the number of subgroups. A subgroup with fewer "
        f"than {FEWEST_PER_SIDE} images or patients on either side of a class has no AUC and is not in the "
        "gap.",
        "The gap is the highest minus the lowest AUC. It is never negative and larger than 0 by chance, "
        "more so with few images: By chance is its mean if the AUC were the same in all subgroups. Its "
        "interval is simultaneous over all pairs of subgroups (Bonferroni) and starts at 0 if no pair is "
        "shown to differ; the lowest subgroup is then the lowest in this test set only.",
        "The gain is the first init's AUC minus the second's on the same images of a subgroup. Against the "
        "others is that gain minus the mean gain of the other subgroups, a difference of differences. "
        "Verdicts and p-values are after Holm's correction over the subgroups of one column, not over tasks, "
        "columns or pairs; intervals are not corrected. Two inits without a verdict on all images, e.g. with "
        "one seed or contaminated weights, have none here. Subgroups differ in more than their name; these "
        "numbers do not show causes. Results with fewer labels are in subgroups.csv.",
    )


Raw = tuple[str, tuple[TableColumn, ...], tuple[TableRow, ...]]
"""Caption, columns and rows of a table."""


def _scores(results: ReportInput, found: Sequence[RowGap], labels: str) -> Raw:
    extra = varying_columns(each.row for each in found)
    columns = (
        TASK, COLUMN, TableColumn("Subgroup"), INIT, PROTOCOL, *(column for column, _ in extra),
        TableColumn("AUC", ".3f"), TableColumn(RANGE), TableColumn("Images", "d"),
        TableColumn("Positives", help="images of the second class, or the fewest and most of a class"),
        TableColumn("Groups", "d", "patients, smears or lesions of the images, if known"),
        TableColumn("Seeds", "d"),
    )  # fmt: skip
    rows = [
        (
            *_names(results, each.row, each.column), _value(one), each.row.init, each.row.protocol,
            *(getattr(each.row, field) for _, field in extra),
            _auc(each, one), _span(one.interval), one.images, _positives(one), one.groups or None,
            len(each.row.seeds),
        )
        for each in found
        for one in each.strata
    ]  # fmt: skip
    return f"AUC by subgroup, {labels}", columns, tuple(rows)


def _auc(of: RowGap, one: SubgroupRow) -> Datum:
    if one.part is None:
        return Datum(None, "undefined", note=one.problem)
    lowest = one is of.worst
    return Datum(one.auc, format_number(one.auc), note="lowest" if lowest else "", strong=lowest)


def _positives(one: SubgroupRow) -> Datum:
    low, high = min(one.positives), max(one.positives)
    return Datum(low, f"{low:,}" if len(one.positives) == 1 else f"{low:,} to {high:,}")


def _value(one: SubgroupRow) -> str:
    """Name a subgroup, or images without a value."""
    return NOT_STATED if one.value == UNKNOWN_VALUE else one.value


def _gaps(results: ReportInput, found: Sequence[RowGap], labels: str) -> Raw:
    extra = varying_columns(each.row for each in found)
    columns = (
        TASK, COLUMN, INIT, PROTOCOL, *(column for column, _ in extra), TableColumn("Lowest"),
        TableColumn("Highest"),
        TableColumn("Gap", ".3f"), TableColumn(RANGE, help="simultaneous over all pairs of subgroups"),
        TableColumn("By chance", ".3f", "mean gap if the AUC were the same in all subgroups"),
        TableColumn("Shown"),
    )  # fmt: skip
    rows = [
        (
            *_names(results, each.row, each.column), each.row.init, each.row.protocol,
            *(getattr(each.row, field) for _, field in extra),
            _value(each.worst) if each.worst else Datum(None, note="fewer than two subgroups have an AUC"),
            _value(each.best) if each.best else None,
            each.gap.size if each.gap else None,
            _span((each.gap.low, each.gap.high)) if each.gap else None,
            each.gap.by_chance if each.gap else None,
            each.shown if each.gap else None,
        )
        for each in found
    ]  # fmt: skip
    return f"Gap between the lowest and the highest subgroup of each init, {labels}", columns, tuple(rows)


def _gains(results: ReportInput, found: Sequence[SubgroupGain], labels: str) -> Raw:
    extra = varying_columns(each.pair.a for each in found)
    columns = (
        TASK, COLUMN, TableColumn("Subgroup"), TableColumn("Inits", facet="init"), PROTOCOL,
        *(column for column, _ in extra), TableColumn("Gain", "+.3f"), TableColumn(RANGE),
        TableColumn("p", ".3f", "Holm"),
        TableColumn("Verdict"), TableColumn("Against the others", "+.3f", "gain minus the others' mean gain"),
        TableColumn(f"its {RANGE}"), TableColumn("its p", ".3f", "Holm"), TableColumn("Helps"),
        TableColumn("Images", "d"), TableColumn("Seeds", "d"),
    )  # fmt: skip
    rows = [
        (
            *_names(results, each.pair.a, each.column), _value(each.stratum), _pair(each),
            each.pair.a.protocol, *(getattr(each.pair.a, field) for _, field in extra),
            each.difference.difference, _change(each.difference), _p(each.p), each.verdict,
            each.extra.difference if each.extra else None, _change(each.extra), _p(each.p_extra),
            each.alike, each.stratum.images, len(each.pair.seeds),
        )
        for each in found
    ]  # fmt: skip
    return f"Gain of the first init over the second by subgroup, {labels}", columns, tuple(rows)


def _names(results: ReportInput, row: LeaderboardRow, column: str) -> tuple[TableEntry, TableEntry]:
    return task_entry(results, row.task), column


def _pair(each: SubgroupGain) -> Datum:
    inits = each.pair.a.init, each.pair.b.init
    return Datum(" against ".join(inits), stands_for=inits)


def _span(ends: tuple[float, float]) -> str | None:
    return f"{format_number(ends[0])} to {format_number(ends[1])}" if ends[0] == ends[0] else None


def _change(measured: PairedDifference | None) -> str | None:
    return format_interval(*measured.interval()) if measured else None


def _p(value: float) -> Datum:
    return Datum(value, p_value(value))
