"""Labels saved: labels an init needs for the score of another, with intervals."""

import math
from collections import Counter
from collections.abc import Sequence

from ..analysis.labels_saved import LabelSaving, label_savings
from ..analysis.report_input import ReportInput
from ..answers.labels import AT_MOST, NOT_REACHED, label_count, labels_answer, needed_count
from ..elements.format import (
    DASH,
    NBSP,
    compact_column,
    count_noun,
    format_number,
    format_percent,
    task_entry,
    varying_columns,
)
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
from ..statistics.labels_saved import SavedLabels

TABLE_LINES = 600
"""Most rows of one table, so that a page of many cells still opens at once."""
AT_LEAST_SIGN = f"\u2265{NBSP}"
SORT_LAST = 1e18
"""Sort key after every number of labels; the page's script cannot read infinity."""


@SECTIONS.register("labels-saved")
def labels_section(results: ReportInput) -> SectionContent | None:
    """Show the labels needed for the reference's score at all labels, and folded at fewer."""
    found = label_savings(results)
    if not found:
        return None
    savings = [each for each in found if each.saved]
    lead = (
        "Labeled training images with which an init reaches the mean score of the reference. Its learning "
        "curve is read at that score: linear between the measured budgets over the logarithm of the labels, "
        f"monotone, not extrapolated; \u201c{NOT_REACHED}\u201d and \u2264 mark the ends of the measured "
        "budgets. Where the reference's own curve is flat, it would reach its score with fewer labels too; "
        "the share is relative to that number. The 95 % interval is over test images and seeds and is not "
        "corrected for the number of tasks; with three seeds it is wide, and from the smallest budget to "
        "\u201cnot reached\u201d it says nothing. With fewer than three budgets "
        "the curve between them is not known: two numbers are bounds. That no difference was shown does not "
        "prove that there is none.",
    )
    blocks: list[Table | Figure] = []
    if savings:
        blocks.append(_table(results, savings, largest=True))
        if any(len(each.saved) > 1 for each in savings):
            blocks.append(_table(results, savings, largest=False))
    reasons = Counter(each.why for each in found if each.why)
    points = tuple(f"{count_noun(n, 'pair')} could not be measured: {why}." for why, n in reasons.items())
    part = SectionPart(lead=lead, points=points, blocks=tuple(blocks))
    answer = labels_answer(results, savings) if savings else None
    return SectionContent("Labels saved", (part,), (answer,) if answer else ())


def _table(results: ReportInput, savings: Sequence[LabelSaving], largest: bool) -> Table:
    chosen = [
        (each, place)
        for each in savings
        for place in range(len(each.saved))
        if (place == len(each.saved) - 1) == largest
    ]
    chosen, left = chosen[:TABLE_LINES], len(chosen) - TABLE_LINES
    extra = varying_columns(each.init for each, _ in chosen)
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Init", facet="init"),
        TableColumn("Reference", facet="init", help="init whose score is to be reached"),
        TableColumn("Protocol", facet="protocol"),
        *(column for column, _ in extra),
        TableColumn("Reference labels", ",d", "labeled training images of the reference", facet="fraction"),
        TableColumn("Reference needs", ",.0f", "labels with which the reference first reaches that score"),
        TableColumn("Init needs", ",.0f", "labeled training images of the init for the same mean score"),
        TableColumn("95 % interval", "", "of the labels needed, over test images and seeds"),
        TableColumn("Share", ".2f", "init needs / reference needs; below 1 saves labels"),
        TableColumn("Seeds", "d"),
        TableColumn("No difference from", "g", "smallest share from which on no difference is shown"),
    )
    rows: list[TableRow] = []
    for each, at in chosen:
        saved, smallest = each.saved[at], each.saved[0].labels
        rows.append(
            (
                task_entry(results, each.init.task), each.init.init, each.reference.init, each.init.protocol,
                *(getattr(each.init, field) for _, field in extra),
                Datum(each.fractions[at], f"{saved.labels:,.0f} ({format_percent(each.fractions[at])})"),
                Datum(saved.own, label_count(saved.own, smallest)),
                Datum(min(saved.needed, SORT_LAST), needed_count(saved, smallest)),
                Datum(min(saved.low, SORT_LAST), labels_interval(saved, smallest)),
                Datum(min(saved.share, SORT_LAST), _share(saved, smallest)),
                len(each.seeds),
                _crossover(each),
            )
        )  # fmt: skip
    budget = "all its labels" if largest else "fewer labels"
    cut = f" ({count_noun(left, 'more row')} left out)" if left > 0 else ""
    caption = f"Labels needed for the score of the reference with {budget}{cut}"
    keys = tuple(each.keys[at] for each, at in chosen) if largest else ()  # else the page has megabytes
    protocols = {each.init.protocol for each, _ in chosen}
    facts = {"protocol": protocols.pop()} if len(protocols) == 1 else {}  # the column is dropped
    return compact_column(Table(caption, columns, tuple(rows), not largest, facts, keys), "Protocol")


def labels_interval(saved: SavedLabels, smallest: float) -> str:
    """Write the interval of a number of labels."""
    ends = label_count(saved.low, smallest), label_count(saved.high, smallest)
    return " to ".join(dict.fromkeys(ends))


def _share(saved: SavedLabels, smallest: float) -> str:
    """Write the share, as a bound if one of the two numbers is a bound."""
    init, own = saved.needed == smallest, saved.own == smallest < saved.labels
    if math.isinf(saved.needed) or (init and own):
        return DASH
    return (AT_MOST if init or saved.bounded else AT_LEAST_SIGN if own else "") + format_number(
        saved.share, ".2f"
    )


def _crossover(each: LabelSaving) -> Datum:
    """Write the share of labels from which on no difference is shown."""
    if each.crossover is None:
        return Datum(None, "none measured")
    first = each.crossover == each.fractions[0]
    return Datum(each.crossover, f"{format_percent(each.crossover)}{' (all)' if first else ''}")
