"""Critical-difference diagram of Demšar 2006, drawn by scikit-posthocs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..analysis.aggregate import InitRanking
from .format import GENERATED, NBSP, count_noun, format_number, format_percent, place_label
from .pictures import INK, InitLook, draw_panel, panel_title, shorten_name
from .section import FigurePanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_ranking(ranking: InitRanking, looks: dict[str, InitLook]) -> FigurePanel:
    """Draw one ranking with known Nemenyi p-values; call it inside `report_style`."""
    setting, ranks = ranking.setting, ranking.ranks
    names = [shorten_name(init, 24) for init in ranking.inits]
    found = dict(zip(names, ranks.mean.tolist(), strict=True))

    def paint(axes: Axes) -> None:
        import pandas as pd
        from scikit_posthocs import critical_difference_diagram

        critical_difference_diagram(
            found,
            pd.DataFrame(ranks.nemenyi, index=names, columns=names),
            ax=axes,
            label_fmt_left=f"{{label}} {{rank:.2f}}{NBSP}",
            label_fmt_right=f"{NBSP}{{rank:.2f}} {{label}}",
            text_h_margin=0.05 * (len(names) - 1),
            label_props={"fontsize": 8.5},
            marker_props={"marker": "o", "s": 26},
            crossbar_props={"color": INK, "linewidth": 3, "solid_capstyle": "round"},
            color_palette={name: looks[init].color for name, init in zip(names, ranking.inits, strict=True)},
        )
        _scale(axes, len(names), ranks.critical)
        axes.grid(visible=False)
        n = count_noun(ranks.units, "independent task")
        note = f"{format_percent(setting.fraction)} of the labels, {n}; Friedman p = {format_number(ranks.p)}"
        panel_title(axes, setting.protocol, "\n".join(filter(None, (note, _network(ranking)))))

    mean_ranks = ", ".join(f"{init} {format_number(rank, '.2f')}" for init, rank in found.items())
    units, critical = count_noun(ranks.units, "independent task"), format_number(ranks.critical, ".2f")
    alt = f"Mean ranks over {units}: {mean_ranks}. Critical difference {critical}."
    facts = {"protocol": setting.protocol, "fraction": setting.fraction}
    return draw_panel(paint, 400, 120 + 18 * len(names), alt, tight=True, facts=facts)


def _scale(axes: Axes, inits: int, critical: float) -> None:
    """Draw the axis of ranks, and above it the critical difference."""
    axes.plot([1, inits], [0, 0], color=INK, linewidth=0.8, zorder=1)
    axes.set_xticks(range(1, inits + 1))
    axes.set_xlim(1, inits)
    axes.set_ylim(top=3.4)
    axes.errorbar(1 + critical / 2, 2.1, xerr=critical / 2, color=INK, linewidth=1.2, capsize=3, capthick=1.2)
    name = f"CD = {format_number(critical, '.2f')}"
    axes.annotate(name, (1 + critical, 2.1), (6, 0), textcoords="offset points", va="center", fontsize=8)


def _network(ranking: InitRanking) -> str:
    setting = ranking.setting
    made = GENERATED if setting.generated else ""
    return "; ".join(filter(None, (place_label(setting.arch, setting.size, setting.input_size), made)))
