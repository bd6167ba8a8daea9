"""Look of a verdict: color, shape and word, each sufficient alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..analysis.verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE
from .pictures import PAPER, draw_panel
from .section import FigurePanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class VerdictLook:
    """Look of one verdict.

    Attributes:
        color: contrast of at least 3:1 on the light and the dark page; safe for color-blind readers.
        marker: matplotlib's marker, different for each verdict for gray prints.
        filled: whether the marker is filled; undecided is an empty circle.
        hatch: hatch of the bar, for gray prints; of lines, since dots make an SVG of 250 KB.
        glyph: the marker as text, which no system shows as an emoji.
    """

    color: str
    marker: str
    filled: bool
    hatch: str
    glyph: str

    @property
    def face(self) -> str:
        """Fill of the marker and of the bar."""
        return self.color if self.filled else PAPER


LOOKS = {
    BETTER: VerdictLook("#2f6fe0", "^", True, "", "▲"),
    EQUIVALENT: VerdictLook("#3a9a5a", "s", True, "++++", "■"),
    UNDECIDED: VerdictLook("#85898f", "o", False, "", "○"),
    WORSE: VerdictLook("#c8561b", "v", True, "/////", "▼"),
}


def draw_marker(axes: Axes, x: float, y: float, verdict: str, size: float = 6.0) -> None:
    """Draw the marker of a verdict."""
    look = LOOKS[verdict]
    style = {"color": look.color, "markerfacecolor": look.face, "markeredgewidth": 1.4, "markersize": size}
    axes.plot(x, y, look.marker, **style)


def marker_keys() -> tuple[tuple[FigurePanel, str], ...]:
    """Return the legend of markers; call it inside `report_style`."""
    return tuple((_key(partial(draw_marker, x=1, y=0, verdict=verdict)), verdict) for verdict in LOOKS)


def bar_keys() -> tuple[tuple[FigurePanel, str], ...]:
    """Return the legend of bars; call it inside `report_style`."""
    return tuple(
        (_key(partial(draw_bar, y=0, left=0, length=2, verdict=verdict)), f"{look.glyph} {verdict}")
        for verdict, look in LOOKS.items()
    )


def draw_bar(axes: Axes, y: float, left: float, length: float, verdict: str) -> None:
    """Draw one segment of a horizontal bar."""
    look = LOOKS[verdict]
    edge = PAPER if look.filled else look.color
    axes.barh(y, length, 0.62, left, facecolor=look.face, edgecolor=edge, hatch=look.hatch, linewidth=0.8)


def _key(mark_on: Callable[[Axes], None]) -> FigurePanel:
    """Draw one legend entry, without axes."""

    def paint(axes: Axes) -> None:
        axes.set_axis_off()
        axes.set(xlim=(-0.1, 2.1), ylim=(-0.5, 0.5))
        axes.set_position((0, 0, 1, 1))
        mark_on(axes)

    return draw_panel(paint, 34, 12, "")
