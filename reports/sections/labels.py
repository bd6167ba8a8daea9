"""Labels saved: the labels with which one init reaches what another has, with intervals."""

import math
from collections import Counter
from collections.abc import Sequence

from ..analysis.labels_saved import LabelSaving, label_savings
from ..analysis.results import Results
from ..answers.labels import AT_MOST, NOT_REACHED, label_count, labels_answer
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
    TableEntry,
)
from ..statistics.labels_saved import SavedLabels

TABLE_LINES = 600
"""Lines of one table: a page of very many cells must still open at once."""
AT_LEAST_SIGN = f"\u2265{NBSP}"
SORT_LAST = 1e18
"""What sorts after every number of labels; a page's script cannot read an infinite one."""


@SECTIONS.register("labels-saved")
def labels_section(results: Results) -> SectionContent | None:
    """Show per task and pair what the reference has with all its labels, and folded with fewer."""
    found = label_savings(results)
    if not found:
        return None
    told = [each for each in found if each.saved]
    lead = (
        "With how many labeled training images does an init reach the mean score that the reference has? "
        "Its learning curve is read at that score: straight between the measured budgets over the logarithm "
        f"of the labels, never falling, never extended: \u201c{NOT_REACHED}\u201d and \u2264 "
        "are where the measured budgets end. Where the reference's own curve is flat, it too would have had "
        "its score with fewer labels; the share is taken of that number. The 95 % interval is over test "
        "images and seeds and is not corrected for the number of tasks; with three seeds it is wide, and one "
        "that reaches from the smallest budget to \u201cnot reached\u201d says nothing. That no difference "
        "was shown is not a proof that there is none.",
    )
    blocks: list[Table | Figure] = []
    if told:
        blocks.append(_table(results, told, largest=True))
        if any(len(each.saved) > 1 for each in told):
            blocks.append(_table(results, told, largest=False))
    reasons = Counter(each.why for each in found if each.why)
    points = tuple(f"{count_noun(n, 'pair')} could not be measured: {why}." for why, n in reasons.items())
    part = SectionPart(lead=lead, points=points, blocks=tuple(blocks))
    answer = labels_answer(results, told) if told else None
    return SectionContent("Labels saved", 12, (part,), (answer,) if answer else ())


def _table(results: Results, told: Sequence[LabelSaving], largest: bool) -> Table:
    chosen = [
        (each, place)
        for each in told
        for place in range(len(each.saved))
        if (place == len(each.saved) - 1) == largest
    ]
    chosen, left = chosen[:TABLE_LINES], len(chosen) - TABLE_LINES
    extra = varying_columns(each.init for each, _ in chosen)
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Init", facet="init"),
        TableColumn("Reference", facet="init", help="whose score is to be reached"),
        TableColumn("Protocol", facet="protocol"),
        *(column for column, _ in extra),
        TableColumn("Its labels", ",d", "labeled training images of the reference", facet="fraction"),
        TableColumn(
            "Its own need", ",.0f", "labels with which the reference's own curve is first at that score"
        ),
        TableColumn("Needed", ",.0f", "labeled training images that the init needs for the same mean score"),
        TableColumn("95 % interval", "", "of the labels needed, over test images and seeds"),
        TableColumn("Share", ".2f", "labels needed / what the reference itself needs; below 1 saves labels"),
        TableColumn("Seeds", "d"),
        TableColumn(
            "None shown from", "g", "smallest measured share of labels from which on no difference shows"
        ),
    )
    rows: list[tuple[TableEntry, ...]] = []
    for each, at in chosen:
        saved, smallest = each.saved[at], each.saved[0].labels
        rows.append(
            (
                task_entry(results, each.init.task), each.init.init, each.reference.init, each.init.protocol,
                *(getattr(each.init, field) for _, field in extra),
                Datum(
                    each.fractions[at],
                    f"{format_number(saved.labels, ',d')} ({format_percent(each.fractions[at])})",
                ),
                Datum(saved.own, label_count(saved.own, smallest)),
                Datum(min(saved.needed, SORT_LAST), label_count(saved.needed, smallest)),
                Datum(min(saved.low, SORT_LAST), labels_interval(saved, smallest)),
                Datum(min(saved.share, SORT_LAST), _share(saved, smallest)),
                len(each.seeds),
                _crossover(each),
            )
        )  # fmt: skip
    what = "all its labels" if largest else "fewer labels"
    cut = f" ({count_noun(left, 'further line')} left out)" if left > 0 else ""
    caption = f"Labels needed to reach what the reference has with {what}{cut}"
    keys = tuple(each.keys[at] for each, at in chosen) if largest else ()  # a page of megabytes helps nobody
    protocols = {each.init.protocol for each, _ in chosen}
    facts = {"protocol": protocols.pop()} if len(protocols) == 1 else {}  # then the column goes
    return compact_column(Table(caption, columns, tuple(rows), not largest, facts, keys), "Protocol")


def labels_interval(saved: SavedLabels, smallest: float) -> str:
    """Write the interval of a number of labels."""
    ends = label_count(saved.low, smallest), label_count(saved.high, smallest)
    return " to ".join(dict.fromkeys(ends))


def _share(saved: SavedLabels, smallest: float) -> str:
    """Write the share, with the bound that it is where one of the two numbers is one."""
    init, own = saved.needed == smallest, saved.own == smallest < saved.labels
    if math.isinf(saved.needed) or (init and own):
        return DASH
    return (AT_MOST if init else AT_LEAST_SIGN if own else "") + format_number(saved.share, ".2f")


def _crossover(each: LabelSaving) -> Datum:
    """Write from where on no difference is shown."""
    if each.crossover is None:
        return Datum(None, "none measured")
    first = each.crossover == each.fractions[0]
    return Datum(each.crossover, f"{format_percent(each.crossover)}{' (all)' if first else ''}")
