"""The small picture of an answer: how often each verdict was given, a bar per line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .pictures import draw_panel, report_style, shorten_name
from .section import Figure
from .verdict_style import LOOKS, bar_keys, draw_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, LINE = 205, 22
"""CSS pixels: of the bars with their margins, so that names and counts still fit on a phone; of one line."""
AROUND = 72
"""What `draw` keeps free above and below the axes, in CSS pixels; cut off again where labels are tight."""
BAR_LINES = 24
"""Bars that stay legible in an answer."""


def draw_verdict_bars(name: str, caption: str, lines: Mapping[str, Mapping[str, int]]) -> Figure | None:
    """Draw a figure of bars of equal length, each parted as its verdicts are; None where nothing is counted.

    Args:
        name: of the figure.
        caption: what is counted.
        lines: what a bar is about -> verdict -> count; a line whose counts are all 0 has no bar.
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
        axes.tick_params(axis="y", length=0, labelsize=8)
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)

    told = "; ".join(
        f"{line}: {', '.join(f'{verdict} {n}' for verdict, n in counts.items())} of {sum(counts.values())}"
        for line, counts in shown.items()
    )
    with report_style():
        panel = draw_panel(paint, WIDTH, AROUND + LINE * len(shown), f"{caption} {told}.", tight=True)
        return Figure(name, caption + cut, (panel,), bar_keys())


def _bar(axes: Axes, y: int, counts: Mapping[str, int]) -> None:
    total, left = sum(counts.values()), 0.0
    for verdict in LOOKS:
        length = counts[verdict] / total
        if length:
            draw_bar(axes, y, left, length, verdict)
        left += length
    told = " ".join(f"{look.glyph}{counts[verdict]}" for verdict, look in LOOKS.items())
    axes.annotate(
        told, (1, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
        fontsize=8,
    )  # fmt: skip
