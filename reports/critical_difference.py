"""The critical-difference diagram of Demšar 2006, drawn by scikit-posthocs in the report's style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .across import Ranking
from .pictures import INK, Look, draw, shorten, title
from .section import Panel
from .wording import GENERATED, count, number, percent, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def diagram(ranking: Ranking, looks: dict[str, Look]) -> Panel:
    """Draw one ranking whose Nemenyi p-values are known; within `pictures.style`."""
    setting, ranks = ranking.setting, ranking.ranks
    names = [shorten(init, 24) for init in ranking.inits]
    found = dict(zip(names, ranks.mean.tolist(), strict=True))

    def paint(axes: Axes) -> None:
        import pandas as pd
        from scikit_posthocs import critical_difference_diagram

        critical_difference_diagram(
            found,
            pd.DataFrame(ranks.nemenyi, index=names, columns=names),
            cd=ranks.critical,
            ax=axes,
            label_fmt_left="{label}  {rank:.2f} ",
            label_fmt_right=" {rank:.2f}  {label}",
            label_props={"fontsize": 8.5},
            marker_props={"marker": "o", "s": 26},
            crossbar_props={"color": INK, "linewidth": 3, "solid_capstyle": "round"},
            color_palette={name: looks[init].color for name, init in zip(names, ranking.inits, strict=True)},
        )
        axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
        axes.grid(visible=False)
        n = count(ranks.units, "independent task")
        note = f"{percent(setting.fraction)} of the labels, {n}; Friedman p = {number(ranks.p)}"
        title(axes, setting.protocol, "\n".join(filter(None, (note, _network(ranking)))))

    told = ", ".join(f"{init} {number(rank, '.2f')}" for init, rank in found.items())
    apart = number(ranks.critical, ".2f")
    alt = f"Mean ranks over {count(ranks.units, 'independent task')}: {told}. Critical difference {apart}."
    facts = {"protocol": setting.protocol, "fraction": setting.fraction}
    return draw(paint, 400, 90 + 18 * len(names), alt, tight=True, facts=facts)


def _network(ranking: Ranking) -> str:
    setting = ranking.setting
    made = GENERATED if setting.generated else ""
    return "; ".join(filter(None, (place(setting.arch, setting.size, setting.input_size), made)))
