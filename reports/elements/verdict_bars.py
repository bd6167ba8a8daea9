"""Stacked bars of verdict counts, the small figure of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .pictures import SMALL, draw_panel, report_style, shorten_name
from .section import Figure
from .verdict_style import LOOKS, bar_keys, draw_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, LINE = 205, 22
"""CSS pixels: width of bars with margins, such that names and counts fit on a phone; height of a line."""
AROUND = 72
"""CSS pixels above and below the axes in `draw_panel`; cut off again by `tight`."""
BAR_LINES = 24
"""Most bars of one figure, so that it stays legible."""


def draw_verdict_bars(name: str, caption: str, lines: Mapping[str, Mapping[str, int]]) -> Figure | None:
    """Draw bars of equal length, divided by verdict; None if all counts are 0.

    `lines` is label of a bar -> verdict -> count; a line of zeros has no bar.
    """
    lines = {line: counts for line, counts in lines.items() if any(counts.values())}
    if not lines:
        return None
    shown = dict(list(lines.items())[:BAR_LINES])
    cut = f" The first {BAR_LINES} of {len(lines)} lines." if len(lines) > BAR_LINES else ""

    def paint(axes: Axes) -> None:
        for y, counts in enumerate(shown.values()):
            _bar(axes, y, counts)
        axes.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5))
        axes.set_yticks(range(len(shown)), [shorten_name(line, 34) for line in shown])
        axes.tick_params(axis="y", length=0, labelsize=SMALL)
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)

    counted = "; ".join(
        f"{line}: {', '.join(f'{verdict} {n}' for verdict, n in counts.items())} of {sum(counts.values())}"
        for line, counts in shown.items()
    )
    with report_style():
        panel = draw_panel(paint, WIDTH, AROUND + LINE * len(shown), f"{caption} {counted}.", tight=True)
        return Figure(name, caption + cut, (panel,), bar_keys())


def _bar(axes: Axes, y: int, counts: Mapping[str, int]) -> None:
    total, left = sum(counts.values()), 0.0
    for verdict in LOOKS:
        length = counts[verdict] / total
        if length:
            draw_bar(axes, y, left, length, verdict)
        left += length
    numbers = " ".join(f"{look.glyph}{counts[verdict]}" for verdict, look in LOOKS.items())
    axes.annotate(
        numbers, (1, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
        fontsize=SMALL,
    )  # fmt: skip
