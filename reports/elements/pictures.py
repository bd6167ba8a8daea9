"""Drawing of figures without a display, readable in light and dark."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from .format import clean
from .section import FacetFacts, FigurePanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Placeholders for the neutral colors, which the page sets by its theme.
INK, PAPER = "#0a0b0c", "#fcfdfe"
NOTE_LINE = 11
"""Points from one line of a note to the next."""
SMALL = 8.3
"""Points of the smallest text, 11 CSS pixels."""
PX = 1 / 96
"""Inches per CSS pixel."""

# After seaborn's "colorblind" palette, each at least 3:1 against the light and against the dark page.
INIT_HUES = {"mednet": "#1a7fc4", "imagenet": "#d55e00", "scratch": "#8a8a8a"}
OTHER_HUES = ("#029e73", "#cc78bc", "#b0813f", "#3ba3c7", "#7a68d6", "#a3a500")
MARKERS = {"mednet": "o", "imagenet": "s", "scratch": "D"}
OTHER_MARKERS = ("^", "v", "P", "X", "<", ">")
DASHES = {"mednet": "-", "imagenet": (0, (5, 1.5)), "scratch": (0, (1.5, 1.5))}
OTHER_DASHES = ((0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 2)))

Dash = str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class InitLook:
    """Color, marker and dash of one init; each alone identifies it."""

    color: str
    marker: str
    dash: Dash


def looks_of(inits: Sequence[str]) -> dict[str, InitLook]:
    """Give every init its look; MedNet, ImageNet and scratch look the same in every report."""
    others = zip(itertools.cycle(OTHER_HUES), itertools.cycle(OTHER_MARKERS), itertools.cycle(OTHER_DASHES))
    return {
        init: InitLook(INIT_HUES[init], MARKERS[init], DASHES[init])
        if init in INIT_HUES
        else InitLook(*next(others))
        for init in dict.fromkeys(inits)
    }


@contextmanager
def report_style() -> Iterator[None]:
    """Draw in the report's style inside the block; restore matplotlib's settings after it."""
    import matplotlib
    import seaborn

    ours: dict[str, object] = {
        "svg.fonttype": "none",  # text stays text: searchable, and set in the page's own font
        "svg.hashsalt": "mednet-bench",  # the same records give the same bytes
        "text.parse_math": False,  # a `$` in a name is a dollar
        "font.family": "DejaVu Sans",  # comes with matplotlib; it only measures, the page's font is shown
        "font.size": 8.5,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 8.5,
        "axes.linewidth": 0.7,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.linewidth": 0.5,
        "grid.alpha": 0.16,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.linewidth": 1.7,
        "lines.markersize": 4.5,
    }
    neutral: dict[str, object] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    )
    faces = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    clear: dict[str, object] = dict.fromkeys(faces, "none")
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's font has it
        settings = {**seaborn.axes_style("ticks"), **ours, **neutral, **clear}
        matplotlib.rcParams.update(settings)  # type: ignore[arg-type]
        yield


def draw_panel(
    paint: Callable[[Axes], None],
    width: float,
    height: float,
    alt: str,
    tight: bool = False,
    facts: FacetFacts | None = None,
) -> FigurePanel:
    """Draw one pair of axes; call it inside `report_style`.

    Args:
        paint: draws on the axes.
        width: in CSS pixels, like `height`.
        alt: text alternative.
        tight: fit the margins to the labels, for names of unknown length; otherwise the panels of a figure
            have equal margins and line up.
        facts: facet values for the page's filters.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * PX, height * PX))  # no pyplot, so no backend and no global state
    axes = figure.add_axes((44 / width, 38 / height, max(0.1, 1 - 56 / width), max(0.1, 1 - 72 / height)))
    paint(axes)
    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        if not axis.get_label_text():  # its place needs no measuring of every tick's number
            axis.set_label_coords(0, 0)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight" if tight else None)
    return replace(_panel(clean(buffer.getvalue()), clean(alt)), facts=facts or {})


def panel_title(axes: Axes, text: str, note: str = "", width: int = 46) -> None:
    """Write a panel's title and a note under it; the figure grows with the note's lines."""
    _grow(axes, NOTE_LINE * note.count("\n") / 72)
    above = 6 + NOTE_LINE * (note.count("\n") + 1) if note else 6
    axes.set_title(shorten_name(text, width), y=1, pad=above)  # without y, matplotlib measures every label
    if note:
        style = {"textcoords": "offset points", "fontsize": SMALL, "style": "italic"}
        axes.annotate(note, (0, 1), (0, 5), "axes fraction", **style)


def _grow(axes: Axes, inches: float) -> None:
    """Add space above the axes and keep their size."""
    figure = axes.get_figure(root=True)
    assert figure, "made by `draw_panel`"
    width, height = figure.get_size_inches()
    left, bottom, wide, high = axes.get_position().bounds
    share = height / (height + inches)
    figure.set_size_inches(width, height + inches)
    axes.set_position((left, bottom * share, wide, high * share))


def shorten_name(text: str, width: int) -> str:
    """Cut the middle out of a long name."""
    text = clean(" ".join(text.split()))
    return text if len(text) <= width else f"{text[: width - width // 3 - 1]}…{text[-(width // 3) :]}"


@cache
def legend_swatch(look: InitLook) -> FigurePanel:
    """Draw the legend entry of an init."""

    def paint(axes: Axes) -> None:
        axes.set_axis_off()
        line = {"color": look.color, "marker": look.marker, "linestyle": look.dash}
        axes.plot([0, 1, 2], [0, 0, 0], markevery=[1], **line)
        axes.set(xlim=(-0.1, 2.1), ylim=(-1, 1))
        axes.set_position((0, 0, 1, 1))

    return draw_panel(paint, 34, 12, "")


def in_tags(svg: str, change: Callable[[str], str]) -> str:
    """Apply `change` to every tag of `svg` but not to its text, where names may look like tags."""
    return re.sub(r"<[^>]+>", lambda tag: change(tag[0]), svg)


def _panel(svg: str, alt: str) -> FigurePanel:
    """Turn matplotlib's SVG file into an element for a page with many of them."""
    svg = re.sub(r"<metadata>.*?</metadata>|<style\b.*?</style>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = re.sub(r">\s*\n\s*<", "><", svg.strip())
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box, "matplotlib always writes a viewBox"
    width, height = (float(points) * 96 / 72 for points in box.groups())
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', svg))

    def change(tag: str) -> str:
        if tag.startswith("<svg"):
            names = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
            return f'<svg xmlns="{names[0]}" xmlns:xlink="{names[1]}" {box[0]} stroke-linejoin="round">'
        tag = re.sub(r' id="([^"]+)"', lambda name: name[0] if name[1] in used else "", tag)
        tag = re.sub(r" transform=\"rotate\(-0 [^\"]*\"|font-family: [^;\"]*; ?", "", tag)
        return re.sub(r"\s+", " ", tag).replace(INK, "currentColor").replace(PAPER, "var(--paper, #fff)")

    return FigurePanel(in_tags(svg, change), width, height, alt)
