"""How a verdict looks: by color, by shape and by word, any one of which is enough to know it."""

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
    """The look of one verdict.

    Attributes:
        color: at least 3:1 against the light and the dark page, and told apart by color-blind eyes.
        marker: of matplotlib; alone it tells the verdict on gray paper.
        filled: whether the marker is; what cannot be told is an empty circle.
        hatch: of the bar, for gray paper; of lines, since SVG spells out every dot: 250 KB a picture.
        glyph: the marker as a letter of text, none of which any system shows as an emoji.
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
    axes.plot(
        x, y, look.marker, color=look.color, markerfacecolor=look.face, markeredgewidth=1.4, markersize=size
    )


def marker_keys() -> tuple[tuple[FigurePanel, str], ...]:
    """Return the legend of a picture of markers; call it inside `style`."""
    return tuple((_key(partial(draw_marker, x=1, y=0, verdict=verdict)), verdict) for verdict in LOOKS)


def bar_keys() -> tuple[tuple[FigurePanel, str], ...]:
    """Return the legend of a picture of bars; call it inside `style`."""
    return tuple(
        (_key(partial(draw_bar, y=0, left=0, length=2, verdict=verdict)), f"{look.glyph} {verdict}")
        for verdict, look in LOOKS.items()
    )


def draw_bar(axes: Axes, y: float, left: float, length: float, verdict: str) -> None:
    """Draw one stretch of a horizontal bar."""
    look = LOOKS[verdict]
    edge = PAPER if look.filled else look.color
    axes.barh(y, length, 0.62, left, facecolor=look.face, edgecolor=edge, hatch=look.hatch, linewidth=0.8)


def _key(mark_on: Callable[[Axes], None]) -> FigurePanel:
    """Draw one entry of a legend, without axes."""

    def paint(axes: Axes) -> None:
        axes.set_axis_off()
        axes.set(xlim=(-0.1, 2.1), ylim=(-0.5, 0.5))
        axes.set_position((0, 0, 1, 1))
        mark_on(axes)

    return draw_panel(paint, 34, 12, "")
