"""Critical-difference diagram of Demšar 2006: inits on an axis of mean ranks, bars over equal ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.aggregate import InitRanking
from ..statistics.influence import _Floats
from ..statistics.paired import ALPHA
from .format import GENERATED, NBSP, count_noun, format_number, format_percent, place_label
from .pictures import INK, SMALL, InitLook, draw_panel, panel_title, shorten_name
from .section import FigurePanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_ranking(ranking: InitRanking, looks: dict[str, InitLook]) -> FigurePanel:
    """Draw one ranking with known Nemenyi p-values; call it inside `report_style`."""
    setting, ranks = ranking.setting, ranking.ranks
    names = [shorten_name(init, 24) for init in ranking.inits]

    def paint(axes: Axes) -> None:
        order = np.argsort(ranks.mean, kind="stable")
        colors = [looks[ranking.inits[at]].color for at in order]
        bars = stack_bars(equal_runs(ranks.mean[order], ranks.nemenyi[np.ix_(order, order)]))
        for level, low, high in bars:
            axes.plot([low, high], [level, level], color=INK, linewidth=3, solid_capstyle="round", zorder=3)
        lowest = min((level for level, _, _ in bars), default=0) - 1
        _label_inits(axes, ranks.mean[order], [names[at] for at in order], colors, lowest)
        _scale(axes, len(names), ranks.critical)
        axes.grid(visible=False)
        n = count_noun(ranks.units, "independent task")
        note = f"{format_percent(setting.fraction)} of the labels, {n}; Friedman p = {format_number(ranks.p)}"
        panel_title(axes, setting.protocol, "\n".join(filter(None, (note, _network(ranking)))))

    found = zip(names, ranks.mean.tolist(), strict=True)
    mean_ranks = ", ".join(f"{init} {format_number(rank, '.2f')}" for init, rank in found)
    units, critical = count_noun(ranks.units, "independent task"), format_number(ranks.critical, ".2f")
    alt = f"Mean ranks over {units}: {mean_ranks}. Critical difference {critical}."
    facts = {"protocol": setting.protocol, "fraction": setting.fraction}
    return draw_panel(paint, 400, 120 + 18 * len(names), alt, tight=True, facts=facts)


def equal_runs(ranks: _Floats, p: _Floats) -> list[tuple[float, float]]:
    """Return the (lowest, highest) rank of each longest run of inits that do not differ.

    Args:
        ranks: [inits] mean ranks, ascending.
        p: [inits, inits] Nemenyi p-values, which fall with the distance of two ranks.
    """
    runs, reached = [], 0
    for first in range(len(ranks)):
        last = int(np.flatnonzero(p[first] >= ALPHA)[-1])
        if last > max(first, reached):
            runs.append((float(ranks[first]), float(ranks[last])))
            reached = last
    return runs


def stack_bars(runs: list[tuple[float, float]]) -> list[tuple[int, float, float]]:
    """Give each run, in ascending order, the first level (-1, -2, ...) where it touches no other."""
    ends: list[float] = []  # of the last run of each level
    bars = []
    for low, high in runs:
        level = next((at for at, end in enumerate(ends) if end < low), len(ends))
        ends[level : level + 1] = [high]
        bars.append((-level - 1, low, high))
    return bars


def _label_inits(axes: Axes, ranks: _Floats, names: list[str], colors: list[str], top: int) -> None:
    """Mark each rank and lead a line to its name: the better half on the left, the others on the right.

    Args:
        axes: to draw on.
        ranks: [inits] mean ranks, ascending, like the next two.
        names: text of each label.
        colors: of each marker, line and label.
        top: height of the first label on either side; the next ones are below.
    """
    inits, margin = len(ranks), 0.05 * (len(ranks) - 1)
    half = (inits + 1) // 2
    for at, (rank, name, color) in enumerate(zip(ranks.tolist(), names, colors, strict=True)):
        left = at < half
        x = float(ranks[0]) - margin if left else float(ranks[-1]) + margin
        y = top - (at if left else inits - 1 - at)
        axes.plot([x, rank, rank], [y, y, 0], color=color)
        axes.scatter(rank, 0, color=color, marker="o", s=26, zorder=3)
        text = f"{name} {rank:.2f}{NBSP}" if left else f"{NBSP}{rank:.2f} {name}"
        axes.text(x, y, text, color=color, va="center", ha="right" if left else "left", fontsize=8.5)


def _scale(axes: Axes, inits: int, critical: float) -> None:
    """Draw the axis of ranks, and above it the critical difference."""
    axes.yaxis.set_visible(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.spines["top"].set_position("zero")  # with the ticks and their numbers
    axes.xaxis.set_ticks_position("top")
    axes.plot([1, inits], [0, 0], color=INK, linewidth=0.8, zorder=1)
    axes.set_xticks(range(1, inits + 1))
    axes.set_xlim(1, inits)
    axes.set_ylim(top=3.4)
    axes.errorbar(1 + critical / 2, 2.1, xerr=critical / 2, color=INK, linewidth=1.2, capsize=3, capthick=1.2)
    name = f"CD = {format_number(critical, '.2f')}"
    axes.annotate(name, (1 + critical, 2.1), (6, 0), textcoords="offset points", va="center", fontsize=SMALL)


def _network(ranking: InitRanking) -> str:
    setting = ranking.setting
    made = GENERATED if setting.generated else ""
    return "; ".join(filter(None, (place_label(setting.arch, setting.size, setting.input_size), made)))
