"""Answer how many labels pretraining saves: one sentence and one small figure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis.labels_saved import FEWER, MORE, LabelSaving
from ..analysis.report_input import ReportInput
from ..elements.format import (
    GENERATED,
    NBSP,
    count_noun,
    format_number,
    format_percent,
    join_words,
    place_label,
)
from ..elements.pictures import INK, InitLook, draw_panel, legend_swatch, looks_of, report_style, shorten_name
from ..elements.section import Figure, ReportAnswer
from ..statistics.labels_saved import SavedLabels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 24
"""Pairs in the small figure; the table has all."""
NOT_REACHED = "not reached"
LABELS_RULE = (
    "A task counts only if the whole 95 % interval of the labels needed is below (or above) the number with "
    "which the reference first reaches its final score, and if the verdict with all labels agrees or is "
    "equivalent. The interval is not corrected for the number of tasks; the verdict is."
)
AT_MOST = f"\u2264{NBSP}"


def labels_answer(results: ReportInput, savings: Sequence[LabelSaving]) -> ReportAnswer:
    """Compare the init in focus with each reference at its largest fraction."""
    chosen = answer_focus(results, savings)
    first = chosen[0].init
    references = list(dict.fromkeys(each.reference.init for each in chosen))
    against = " ".join(
        f"Compared with {name} at all its labels, "
        f"{saving_sentence([each for each in chosen if each.reference.init == name])}."
        for name in references
    )
    seeds = join_words([str(n) for n in sorted({len(each.seeds) for each in chosen})])
    n = f"{count_noun(len({each.init.task for each in chosen}), 'task')}, {first.protocol}, {seeds} seeds"
    made = f" These images are {GENERATED}." if results.generated(first.task) else ""
    sentence = f"{against} {LABELS_RULE} n = {n}.{made}"
    return ReportAnswer(
        "How many labels does it save?", sentence, "labels-saved", _figure(results, chosen, references)
    )


def answer_focus(results: ReportInput, savings: Sequence[LabelSaving]) -> list[LabelSaving]:
    """Choose one init, MedNet if there is one, in the setting with the most pairs."""
    init = next((each.init.init for each in savings if each.init.init == "mednet"), savings[0].init.init)
    settings: dict[tuple[object, ...], list[LabelSaving]] = defaultdict(list)
    for each in savings:
        row = each.init
        if row.init == init:
            real = not results.generated(row.task)
            settings[real, row.protocol, row.arch, row.size, row.input_size].append(each)
    return max(settings.items(), key=lambda item: (item[0][0], len(item[1])))[1]  # real images first


def saving_sentence(chosen: Sequence[LabelSaving]) -> str:
    """Write on how many tasks one init saves labels, and the median share of labels it needs."""
    claims = [each.claim(-1) for each in chosen]
    parts = [
        f"{verb} on {claims.count(claim)}"
        for claim, verb in ((FEWER, "saves labels"), (MORE, "needs more labels"))
        if claim in claims
    ]
    of, init, undecided = count_noun(len(claims), "task"), chosen[0].init.init, claims.count("")
    if not parts:
        return f"the label saving of {init} is undecided on {undecided} of {of} ({_median_share(chosen)})"
    rest = f"{undecided} undecided; " if undecided else ""
    return f"{init} {join_words(parts)} of {of} ({rest}{_median_share(chosen)})"


def _median_share(chosen: Sequence[LabelSaving]) -> str:
    """Write the median over tasks of labels needed / labels that the reference itself needs."""
    last = [(each.saved[-1], each.saved[0].labels) for each in chosen]
    shares = sorted(
        (each.share, each.bounded or each.needed == smallest < each.own) for each, smallest in last
    )
    middle = shares[(len(shares) - 1) // 2 : len(shares) // 2 + 1]  # one, or the two in the middle
    share = sum(value for value, _ in middle) / len(middle)
    if math.isinf(share):
        return "median: the score is not reached"
    bound = AT_MOST if any(bound for _, bound in middle) else ""
    return f"median: the same score with {bound}{share * 100:.0f}{NBSP}% of the labels"


def _figure(results: ReportInput, chosen: Sequence[LabelSaving], references: Sequence[str]) -> Figure:
    shown = list(chosen[:SHOWN])
    init_looks = looks_of([row.init for row in results.rows])
    names = list(dict.fromkeys(each.init.task for each in shown))

    def paint(axes: Axes) -> None:
        edge = _limits(axes, shown)
        for each in shown:
            step = references.index(each.reference.init) - (len(references) - 1) / 2
            y = names.index(each.init.task) + 0.26 * step
            _mark(axes, each, y, init_looks[each.reference.init], edge)
        axes.set_yticks(range(len(names)), [shorten_name(name, 26) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")

    first = shown[0].init
    by_task = "; ".join(map(_saving_text, shown))
    made = f" The images are {GENERATED}." if results.generated(first.task) else ""
    network = place_label(first.arch, first.size, first.input_size)
    caption = (
        f"Share of the reference's labels with which {first.init} reaches its score, with 95 % interval. "
        "The vertical mark is what the reference itself needs: left of it saves labels. Arrows point beyond "
        f"the measured range. {first.protocol}, {network}.{made}"
    )
    with report_style():
        height = 62 + len(names) * max(24, 14 * len(references))
        alt = f"Labels that {first.init} needs. {by_task}.{made}"
        panel = draw_panel(paint, 330, height, alt, tight=True)
        keys = tuple((legend_swatch(init_looks[name]), f"against {name}") for name in references)
    return Figure("answer-labels", caption, (panel,), keys)


def _saving_text(each: LabelSaving) -> str:
    last, smallest = each.saved[-1], each.saved[0].labels
    needed = needed_count(last, smallest)
    return f"{each.init.task} against {each.reference.init}: {needed} of {label_count(last.own, smallest)}"


def _limits(axes: Axes, shown: Sequence[LabelSaving]) -> tuple[float, float]:
    """Set up the axis of shares; return its ends, where arrows mark values beyond."""
    smallest = min(each.saved[0].labels / each.saved[-1].labels for each in shown)
    axes.set_xscale("log")
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if t >= smallest * 0.99]
    axes.set_xticks(ticks, [format_percent(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    edge = smallest / 1.12, 1.35
    axes.set_xlim(edge[0] / 1.08, edge[1] * 1.08)
    axes.axvline(1, color=INK, linewidth=0.9, alpha=0.7)
    axes.set_xlabel("labels needed / labels of the reference")
    return edge


def _mark(axes: Axes, each: LabelSaving, y: float, look: InitLook, edge: tuple[float, float]) -> None:
    """Draw a point and its interval; ends beyond the measured range become arrows."""
    saved, smallest = each.saved[-1], each.saved[0].labels

    def at(value: float) -> float:
        share = edge[1] if math.isinf(value) else value / saved.labels
        return edge[0] if value == smallest else share

    axes.plot([at(saved.low), at(saved.high)], [y, y], color=look.color, linewidth=1.4, alpha=0.75)
    if math.isinf(saved.high):
        axes.plot(edge[1], y, ">", color=look.color, markersize=4)
    if saved.low == smallest:
        axes.plot(edge[0], y, "<", color=look.color, markersize=4)
    axes.plot(at(saved.own), y, "|", color=INK, markersize=11, markeredgewidth=1.4)
    filled = look.color if math.isfinite(saved.needed) else "none"
    axes.plot(at(saved.needed), y, look.marker, color=look.color, markerfacecolor=filled, markersize=6)


def needed_count(saved: SavedLabels, smallest: float) -> str:
    """Write the labels needed, or the bounds between which they are."""
    if saved.bounded:
        return f"{format_number(round(saved.least), ',d')} to {format_number(round(saved.needed), ',d')}"
    return label_count(saved.needed, smallest)


def label_count(needed: float, smallest: float) -> str:
    """Write a number of labels, or a bound at the ends of the measured budgets."""
    if math.isinf(needed):
        return NOT_REACHED
    return (AT_MOST if needed == smallest else "") + format_number(round(needed), ",d")
