"""Answer how much faster each init converges: one sentence and one small figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.convergence import ConvergencePace
from ..analysis.report_input import BASELINE, ReportInput
from ..elements.format import GENERATED, count_noun, format_labels, format_number, format_percent, place_label
from ..elements.pictures import INK, draw_panel, legend_swatch, looks_of, report_style, shorten_name
from ..elements.section import Figure, ReportAnswer
from ..statistics.convergence import SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 24
"""Tasks in the small figure; the table has all."""


def pace_answer(results: ReportInput, found: Sequence[ConvergencePace]) -> ReportAnswer | None:
    """Compare the steps of each init with scratch in one setting, real images first."""
    settings: dict[tuple[object, ...], list[ConvergencePace]] = defaultdict(list)
    for pace in found:
        row = pace.row
        if len(pace.ratio):
            real = not results.generated(row.task)
            settings[real, row.protocol, row.arch, row.size, row.input_size].append(pace)
    question = "How much faster does it converge?"
    if not settings:
        sentence = f"Undecided: no training of another init can be paired with one from {BASELINE}."
        return ReportAnswer(question, sentence, "convergence")
    chosen = max(settings.items(), key=lambda item: (item[0][0], len(item[1])))[1]  # real images first
    first = chosen[0].row
    inits = dict.fromkeys(pace.row.init for pace in chosen)
    by_init = "; ".join(_steps_text([pace for pace in chosen if pace.row.init == init]) for init in inits)
    made = results.generated(first.task)
    sentence = (
        f"{by_init}. Steps are counted to {format_percent(SHARE)} of the way from chance level to each "
        "training's own final validation score and compared seed by seed "
        f"({first.protocol}, {format_labels(first.fraction)}). Faster is not better."
        + (f" These images are {GENERATED}." if made else "")
    )
    return ReportAnswer(question, sentence, "convergence", _figure(results, chosen, made))


def _steps_text(paces: Sequence[ConvergencePace]) -> str:
    """Write the median over tasks of the task medians, with its range and n."""
    medians = [float(np.median(pace.ratio)) for pace in paces]
    n = sum(len(pace.ratio) for pace in paces)
    low, high = format_number(min(medians), ".2f"), format_number(max(medians), ".2f")
    over = f"{count_noun(len(medians), 'task')}, n = {count_noun(n, 'pair')} of seeds"
    spread = f"{low} to {high} over " if len(medians) > 1 else ""
    median = format_number(float(np.median(medians)), ".2f")
    return f"{paces[0].row.init} needs {median} times the steps of {BASELINE} ({spread}{over})"


def _figure(results: ReportInput, chosen: Sequence[ConvergencePace], made: bool) -> Figure:
    init_looks = looks_of([row.init for row in results.rows])
    inits = list(dict.fromkeys(pace.row.init for pace in chosen))
    tasks = list(dict.fromkeys(pace.row.task for pace in chosen))[:MOST_LINES]

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator

        axes.axvline(1, color=INK, linewidth=0.9, alpha=0.7)
        for pace in chosen:
            if pace.row.task in tasks:
                look, step = init_looks[pace.row.init], inits.index(pace.row.init) - (len(inits) - 1) / 2
                y = tasks.index(pace.row.task) + 0.26 * step
                axes.plot([pace.ratio.min(), pace.ratio.max()], [y, y], color=look.color, alpha=0.6)
                axes.plot(np.median(pace.ratio), y, look.marker, color=look.color, markersize=6)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.set_yticks(range(len(tasks)), [shorten_name(task, 26) for task in tasks])
        axes.set_ylim(len(tasks) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"steps / steps of {BASELINE}")

    warning = f" The images are {GENERATED}." if made else ""
    row = chosen[0].row
    network = place_label(row.arch, row.size, row.input_size)
    caption = (
        f"Steps to {format_percent(SHARE)} of the way from chance level to the final validation score, "
        f"divided by those of {BASELINE}; median and range over seeds; left of the line is faster. "
        f"{row.protocol}, {network}."
    )
    by_task = "; ".join(
        f"{p.row.task} with {p.row.init}: {format_number(float(np.median(p.ratio)), '.2f')}" for p in chosen
    )
    with report_style():
        height = 62 + len(tasks) * max(24, 14 * len(inits))
        alt = f"Steps relative to {BASELINE}. {by_task}.{warning}"
        panel = draw_panel(paint, 330, height, alt, tight=True)
        keys = tuple((legend_swatch(init_looks[init]), init) for init in inits)
    return Figure("answer-convergence", caption + warning, (panel,), keys)
