"""Arrows in the learning curves, from a reference to the same score on another curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..analysis.labels_saved import LATE, LabelSaving, label_savings
from ..analysis.report_input import LeaderboardRow, ReportInput
from .format import TIMES, format_number
from .pictures import PAPER, SMALL, InitLook

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class LabelArrow:
    """Labels saved, or lost, at one score in a panel.

    Attributes:
        labels: labels of the reference, where the arrow starts.
        needed: labels of the init, where the arrow ends.
        sure: whether interval and verdict agree.
    """

    init: str
    labels: float
    needed: float
    score: float
    sure: bool


def label_arrows(results: ReportInput, rows: Sequence[LeaderboardRow]) -> list[LabelArrow]:
    """Choose the arrows of MedNet, or the first init with any, against ImageNet and scratch.

    Each is at the score with the largest saving or loss that the init's curve crosses between two measured
    budgets; elsewhere the end of the arrow is unknown.
    """
    shown = set(rows)
    here = [
        each
        for each in label_savings(results)
        if each.reference in shown and each.reference.init in LATE and each.saved
    ]
    init = next((e.init.init for e in here if e.init.init == "mednet"), here[0].init.init if here else "")
    chosen = (each for each in here if each.init.init == init)
    return [arrow for each in chosen if (arrow := _longest_arrow(each))]


def _longest_arrow(each: LabelSaving) -> LabelArrow | None:
    init, smallest = each.init.init, each.saved[0].labels
    found = [
        LabelArrow(init, saved.labels, saved.needed, float(each.scores[0, place]), bool(each.claim(place)))
        for place, saved in enumerate(each.saved)
        if smallest < saved.needed < math.inf and not saved.bounded
    ]
    return max(found, key=lambda arrow: abs(math.log(arrow.needed / arrow.labels)), default=None)


def draw_arrows(axes: Axes, found: Iterable[LabelArrow], looks: dict[str, InitLook]) -> None:
    """Draw each arrow with the ratio of labels needed; dotted if not sure."""
    for arrow in found:
        color = looks[arrow.init].color
        how = {
            "arrowstyle": "-|>,head_width=0.22,head_length=0.45",
            "color": color,
            "linewidth": 1.2,
            "linestyle": "-" if arrow.sure else (0, (1.5, 1.5)),
            "shrinkA": 3,
            "shrinkB": 0,
        }
        ends = (arrow.needed, arrow.score), (arrow.labels, arrow.score)
        axes.annotate("", *ends, arrowprops=how)
        middle = math.sqrt(arrow.needed * arrow.labels), arrow.score
        share = f"{format_number(arrow.needed / arrow.labels, '.2g')}{TIMES}"
        box = {"boxstyle": "round,pad=0.15", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85}
        axes.annotate(share, middle, ha="center", va="center", fontsize=SMALL, color=color, bbox=box)
