"""Forest plot: paired differences with intervals, 0 and the margin of equivalence."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..analysis.report_input import ReportInput
from ..analysis.verdicts import Verdict
from .format import GENERATED, format_percent, place_label
from .pictures import INK, SMALL, draw_panel, panel_title, report_style, shorten_name
from .section import Figure, FigurePanel
from .verdict_format import Pair, by_pair, difference_text, pair_name, range_with_noun
from .verdict_style import LOOKS, draw_marker, marker_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOREST_ROWS = 400
"""Comparisons drawn in one report; the table has all."""
FOREST_LINES = 44
"""Lines of one panel, so that it fits on a screen."""
WIDTH, LEFT, RIGHT, LINE, ABOVE, BELOW = 330, 54, 68, 16, 34, 38
"""CSS pixels: panel width, margins left and right, line height, margins above and below."""
SHORT_PAIR = 20
"""Characters of two names that fit below the axis beside the words."""
AXIS_REACH = 0.25
"""Largest extent of the axes beyond the outermost point, so that one wide interval hides no other."""


def draw_forests(results: ReportInput, verdicts: Sequence[Verdict]) -> dict[str, tuple[Figure, ...]]:
    """Draw protocol -> figures, one per architecture and image size, with panels per pair."""
    kept = rows_to_draw(verdicts)
    left_out = _left_out_text(verdicts, kept)
    groups: dict[tuple[str, str, int, int], list[Verdict]] = defaultdict(list)
    for verdict in kept:
        a = verdict.a
        groups[a.protocol, a.arch, a.size, a.input_size].append(verdict)
    figures: dict[str, tuple[Figure, ...]] = defaultdict(tuple)
    with report_style():
        keys = marker_keys()
        for index, ((protocol, arch, size, input_size), members) in enumerate(groups.items()):
            caption = (
                f"{protocol}: {place_label(arch, size, input_size)}. Difference in test AUC, first minus "
                f"second init, with 95 % interval; the band is the margin of ±{results.margin:g}. {left_out}"
            )
            panels = tuple(_panels(results, members))
            figures[protocol] += (Figure(f"forest-{index + 1}", caption.strip(), panels, keys),)
    return figures


def rows_to_draw(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Choose the largest fractions whose comparisons fit into `FOREST_ROWS`."""
    for least in sorted({verdict.a.fraction for verdict in verdicts}):
        kept = [verdict for verdict in verdicts if verdict.a.fraction >= least]
        if len(kept) <= FOREST_ROWS:
            return kept
    largest = max((verdict.a.fraction for verdict in verdicts), default=1.0)
    return [verdict for verdict in verdicts if verdict.a.fraction == largest][:FOREST_ROWS]


def _left_out_text(verdicts: Sequence[Verdict], kept: Sequence[Verdict]) -> str:
    if len(kept) == len(verdicts):
        return ""
    least = min(verdict.a.fraction for verdict in kept)
    return (
        f"{len(kept):,} of {len(verdicts):,} comparisons are drawn, from {format_percent(least)} of labels "
        "upwards; the table and verdicts.csv have all."
    )


def _panels(results: ReportInput, verdicts: Sequence[Verdict]) -> Iterator[FigurePanel]:
    """Yield the panels of one figure with a common scale; long pairs are split."""
    scale = _scale(verdicts, results.margin)
    for pair, members in by_pair(verdicts).items():
        tasks: dict[str, list[Verdict]] = defaultdict(list)
        for verdict in members:
            tasks[verdict.a.task].append(verdict)
        page: dict[str, list[Verdict]] = {}
        for task, rows in tasks.items():
            if page and sum(len(of) + 1 for of in page.values()) + len(rows) + 1 > FOREST_LINES:
                yield _panel(results, pair, page, scale)
                page = {}
            page[task] = rows
        yield _panel(results, pair, page, scale)


def _scale(verdicts: Sequence[Verdict], margin: float) -> tuple[float, float]:
    """Return axis limits with 0, the margin, every point, and intervals up to `AXIS_REACH`."""
    known = [verdict for verdict in verdicts if not math.isnan(verdict.difference)]
    points = [0.0, *(verdict.difference for verdict in known)]
    ends = [end for verdict in known for end in verdict.interval if not math.isnan(end)]
    low = max(min([*points, *ends]), min(points) - AXIS_REACH)
    high = min(max([*points, *ends]), max(points) + AXIS_REACH)
    low, high = min(low, -2 * margin), max(high, 2 * margin)
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _panel(
    results: ReportInput, pair: Pair, tasks: dict[str, list[Verdict]], scale: tuple[float, float]
) -> FigurePanel:
    made = {task: results.generated(task) for task in tasks}
    lines = sum(len(rows) + 1 + made[task] for task, rows in tasks.items())
    height = ABOVE + BELOW + LINE * lines

    def paint(axes: Axes) -> None:
        width = (WIDTH - LEFT - RIGHT) / WIDTH
        axes.set_position((LEFT / WIDTH, BELOW / height, width, LINE * lines / height))
        axes.set(xlim=scale, ylim=(lines - 0.4, -0.6))
        axes.axvspan(-results.margin, results.margin, color=INK, alpha=0.09, linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.8)
        y = 0
        for task, rows in tasks.items():
            y = _heading(axes, task, rows, made[task], y)
            for verdict in rows:
                _row(axes, verdict, y, scale)
                y += 1
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=5)
        _name_pair(axes, pair)

    alt = f"{pair_name(pair)}, difference in test AUC with 95 % interval. " + " ".join(
        f"{task}{f' ({GENERATED})' if made[task] else ''}: {'; '.join(map(_alt, rows))}."
        for task, rows in tasks.items()
    )
    members = [verdict for rows in tasks.values() for verdict in rows]
    facts = {
        "task": tuple(tasks),
        "protocol": members[0].a.protocol,
        "fraction": tuple(dict.fromkeys(verdict.a.fraction for verdict in members)),
        "init": pair,
    }
    return draw_panel(paint, WIDTH, height, alt, facts=facts)


def _name_pair(axes: Axes, pair: Pair) -> None:
    """Write the pair as title and below the axis; a long one on two lines, and as first and second."""
    if sum(map(len, pair)) <= SHORT_PAIR:
        panel_title(axes, pair_name(pair))
    else:
        panel_title(axes, shorten_name(pair[0], 34), f"against {shorten_name(pair[1], 40)}")
        pair = ("first", "second")
    axes.set_xlabel(f"{pair[1]} better  ◂   difference in AUC   ▸  {pair[0]} better")


def _alt(verdict: Verdict) -> str:
    share = format_percent(verdict.a.fraction)
    return f"at {share} {difference_text(verdict)}, {verdict.verdict}, {_n(verdict)}"


def _n(verdict: Verdict) -> str:
    return f"n = {verdict.n_test:,} images, {range_with_noun([len(verdict.seeds)], 'seed')}"


def _heading(axes: Axes, task: str, rows: Sequence[Verdict], made: bool, y: int) -> int:
    """Write the task with n and the warning for generated images; return the next line."""
    images = range_with_noun((row.n_test for row in rows), "test image")
    n = f"{images}, {range_with_noun((len(row.seeds) for row in rows), 'seed')}"
    write = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    axes.annotate(shorten_name(task, 24), (0, y), (-LEFT * 0.72, 0), weight="bold", fontsize=SMALL, **write)
    axes.annotate(n, (1, y), (RIGHT * 0.72, 0), ha="right", fontsize=SMALL, alpha=0.75, **write)
    if not made:
        return y + 1
    axes.annotate(GENERATED, (0, y + 1), (-LEFT * 0.72, 0), fontsize=SMALL, style="italic", **write)
    return y + 2


def _row(axes: Axes, verdict: Verdict, y: int, scale: tuple[float, float]) -> None:
    look = LOOKS[verdict.verdict]
    write = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    axes.annotate(format_percent(verdict.a.fraction), (0, y), (-6, 0), ha="right", fontsize=SMALL, **write)
    name = verdict.barred.name if verdict.barred else verdict.verdict
    axes.annotate(name, (1, y), (6, 0), fontsize=SMALL, **write)
    if math.isnan(verdict.difference):
        return
    low, high = verdict.interval
    if not math.isnan(low):
        axes.plot([max(low, scale[0]), min(high, scale[1])], [y, y], color=look.color, linewidth=1.5)
        for beyond, end, head in ((low < scale[0], scale[0], "<"), (high > scale[1], scale[1], ">")):
            if beyond:
                axes.plot(end, y, head, color=look.color, markersize=4, clip_on=False)
    draw_marker(axes, verdict.difference, y, verdict.verdict)
