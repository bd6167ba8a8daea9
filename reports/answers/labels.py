"""How many labels does it save? The answer on top of the page: one sentence and one small picture."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis.labels_saved import FEWER, MORE, LabelSaving
from ..analysis.results import Results
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 24
"""Lines of the small picture; the table holds all."""
NOT_REACHED = "not reached"
LABELS_RULE = (
    "A task counts only where the whole 95 % interval of the labels needed lies below (or above) those with "
    "which the other itself first has its final score, and where the verdict with all labels agrees or says "
    "equivalent. The interval is not corrected for the number of tasks; the verdict is."
)
AT_MOST = f"\u2264{NBSP}"


def labels_answer(results: Results, told: Sequence[LabelSaving]) -> ReportAnswer:
    """Answer for the init in focus, against each reference at its largest fraction."""
    chosen = answer_focus(results, told)
    first = chosen[0].init
    references = list(dict.fromkeys(each.reference.init for each in chosen))
    against = " ".join(
        f"Against {name} with all its labels, "
        f"{saving_sentence([each for each in chosen if each.reference.init == name])}."
        for name in references
    )
    seeds = join_words([str(n) for n in sorted({len(each.seeds) for each in chosen})])
    n = f"{count_noun(len({each.init.task for each in chosen}), 'task')}, {first.protocol}, {seeds} seeds"
    made = f" These images are {GENERATED}." if results.generated(first.task) else ""
    sentence = f"{against} {LABELS_RULE} n = {n}.{made}"
    return ReportAnswer("How many labels does it save?", sentence, 30, _figure(results, chosen, references))


def answer_focus(results: Results, told: Sequence[LabelSaving]) -> list[LabelSaving]:
    """Choose what the page's top speaks of: one init, MedNet where there is one, in its largest setting."""
    init = next((each.init.init for each in told if each.init.init == "mednet"), told[0].init.init)
    settings: dict[tuple[object, ...], list[LabelSaving]] = defaultdict(list)
    for each in told:
        row = each.init
        if row.init == init:
            real = not results.generated(row.task)
            settings[real, row.protocol, row.arch, row.size, row.input_size].append(each)
    return max(settings.items(), key=lambda item: (item[0][0], len(item[1])))[1]  # real images first


def saving_sentence(chosen: Sequence[LabelSaving]) -> str:
    """Say on how many tasks one init saves labels against one reference, and what it needs in the median."""
    claims = [each.claim(-1) for each in chosen]
    parts = [
        f"{verb} on {claims.count(claim)}"
        for claim, verb in ((FEWER, "saves labels"), (MORE, "needs more labels"))
        if claim in claims
    ]
    of = count_noun(len(claims), "task")
    left = claims.count("")
    rest = f"; on the other{'s' if left > 1 else ''} one cannot tell" if left else ""
    told = (
        f"{chosen[0].init.init} {join_words(parts)} of {of}{rest}"
        if parts
        else f"one cannot tell on {'any of ' if len(claims) > 1 else ''}{of}"
    )
    return f"{told} ({_median(chosen)})"


def _median(chosen: Sequence[LabelSaving]) -> str:
    """Write the median over tasks of the share of what the reference itself needs."""
    last = [(each.saved[-1], each.saved[0].labels) for each in chosen]
    shares = sorted((saved.share, saved.needed == smallest < saved.own) for saved, smallest in last)
    middle = shares[(len(shares) - 1) // 2 : len(shares) // 2 + 1]  # one, or the two in the middle
    share = sum(value for value, _ in middle) / len(middle)
    if math.isinf(share):
        return "median: the score is not reached"
    bound = AT_MOST if any(bound for _, bound in middle) else ""
    return f"median: the same score with {bound}{share * 100:.0f}{NBSP}% of the labels"


def _figure(results: Results, chosen: Sequence[LabelSaving], references: Sequence[str]) -> Figure:
    shown = list(chosen[:SHOWN])
    init_looks = looks_of([row.init for row in results.rows])
    names = list(dict.fromkeys(each.init.task for each in shown))

    def paint(axes: Axes) -> None:
        edge = _limits(axes, shown)
        for each in shown:
            step = references.index(each.reference.init) - (len(references) - 1) / 2
            _mark(
                axes, each, names.index(each.init.task) + 0.26 * step, init_looks[each.reference.init], edge
            )
        axes.set_yticks(range(len(names)), [shorten_name(name, 26) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")

    first = shown[0].init
    told = "; ".join(map(_told, shown))
    made = f" The images are {GENERATED}." if results.generated(first.task) else ""
    network = place_label(first.arch, first.size, first.input_size)
    caption = (
        f"Share of the reference's labels with which {first.init} reaches its score, with 95 % interval; "
        "left of the upright mark, which is what the reference itself needs, saves labels; an arrow points "
        f"beyond what was measured. {first.protocol}, {network}.{made}"
    )
    with report_style():
        height = 62 + len(names) * max(24, 14 * len(references))
        panel = draw_panel(paint, 330, height, f"Labels that {first.init} needs. {told}.{made}", tight=True)
        keys = tuple((legend_swatch(init_looks[name]), f"against {name}") for name in references)
    return Figure("answer-labels", caption, (panel,), keys)


def _told(each: LabelSaving) -> str:
    last = each.saved[-1]
    smallest = each.saved[0].labels
    needed = label_count(last.needed, smallest)
    return f"{each.init.task} against {each.reference.init}: {needed} of {label_count(last.own, smallest)}"


def _limits(axes: Axes, shown: Sequence[LabelSaving]) -> tuple[float, float]:
    """Set up the axis of shares; return its ends, where arrows stand for what lies beyond."""
    smallest = min(each.saved[0].labels / each.saved[-1].labels for each in shown)
    axes.set_xscale("log")
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if t >= smallest * 0.99]
    axes.set_xticks(ticks, [format_percent(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    edge = smallest / 1.12, 1.35
    axes.set_xlim(edge[0] / 1.08, edge[1] * 1.08)
    axes.axvline(1, color=INK, linewidth=0.9, alpha=0.7)
    axes.set_xlabel("labels needed, of the reference's")
    return edge


def _mark(axes: Axes, each: LabelSaving, y: float, look: InitLook, edge: tuple[float, float]) -> None:
    """Draw a point and its interval; ends that were not measured become arrows."""
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


def label_count(needed: float, smallest: float) -> str:
    """Write a number of labels, or where the measured budgets end."""
    if math.isinf(needed):
        return NOT_REACHED
    return (AT_MOST if needed == smallest else "") + format_number(round(needed), ",d")
