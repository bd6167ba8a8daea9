"""Learning curves: score over labels per task, a line and a band per init."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis.report_input import LeaderboardRow, ReportInput
from ..elements.arrows import LabelArrow, draw_arrows, label_arrows
from ..elements.format import GENERATED, count_noun, format_number, format_percent, place_label, primary_title
from ..elements.pictures import (
    SMALL,
    InitLook,
    draw_panel,
    legend_swatch,
    looks_of,
    panel_title,
    report_style,
)
from ..elements.section import SECTIONS, Figure, FigurePanel, SectionContent, SectionPart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_PANELS = 60
"""Most panels of the section; the tables have every number."""

ARROWS_LEGEND = (
    "An arrow leads from the score of a reference to the same score on another curve, with the ratio of the "
    "labels: to the left saves labels, to the right costs labels. It is dotted unless its whole "
    "95 % interval is on one side of the reference's own number and the verdict agrees; the section Labels "
    "saved has the intervals."
)

CurveKey = tuple[str, str]
"""(init, variant) of one line; records of different variants are never averaged."""


@SECTIONS.register("learning-curves")
def learning_curves(results: ReportInput) -> SectionContent | None:
    """Draw one panel per task, one figure per protocol, architecture and image size."""
    figures: dict[tuple[str, str, int, int], dict[str, list[LeaderboardRow]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in results.rows:
        figures[row.protocol, row.arch, row.size, row.input_size][row.task].append(row)
    several = {
        key: kept
        for key, tasks in figures.items()
        if (kept := {task: rows for task, rows in tasks.items() if len({row.fraction for row in rows}) > 1})
    }
    if not several:
        return _without_curves() if results.rows else None
    init_looks = looks_of([row.init for row in results.rows])
    pointed = any(label_arrows(results, rows) for tasks in several.values() for rows in tasks.values())
    blocks, left = [], CURVE_PANELS
    with report_style():
        for index, ((protocol, arch, size, input_size), tasks) in enumerate(several.items()):
            drawn = dict(list(tasks.items())[: max(left, 0)])
            left -= len(tasks)
            if drawn:
                what = f"{primary_title(results)} on the test set."
                caption = f"{protocol}: {place_label(arch, size, input_size)}. {what}"
                blocks.append(_figure(results, f"learning-curves-{index + 1}", caption, drawn, init_looks))
    lead = (
        f"{primary_title(results)} over the number of labeled training images (logarithmic; "
        "validation labels are scaled alike). The line is the mean over seeds, the band one standard "
        "deviation to either side, or the range with fewer than three seeds.",
        *((ARROWS_LEGEND,) * pointed),
        *((f"{count_noun(-left, 'more panel')} left out; the tables have their numbers.",) * (left < 0)),
    )
    return SectionContent("Learning curves", (SectionPart(lead=lead, blocks=tuple(blocks)),))


def _without_curves() -> SectionContent:
    lead = "Every task was run at one label fraction only: a curve needs several, e.g. 0.1, 0.5 and 1.0."
    return SectionContent("Learning curves", (SectionPart(lead=(lead,)),))


def _figure(
    results: ReportInput,
    name: str,
    caption: str,
    tasks: dict[str, list[LeaderboardRow]],
    init_looks: dict[str, InitLook],
) -> Figure:
    panels = tuple(
        _task_panel(results, task, setting, line_rows, init_looks)
        for task, rows in tasks.items()
        for setting, line_rows in by_setting(rows).items()
    )
    shown = {row.init for rows in tasks.values() for row in rows}
    keys = tuple((legend_swatch(look), init) for init, look in init_looks.items() if init in shown)
    return Figure(name, caption, panels, keys)


def by_setting(rows: Sequence[LeaderboardRow]) -> dict[str, list[LeaderboardRow]]:
    """Split the rows of a task into comparable panels: note, "" if only one -> rows."""
    panels: dict[str, list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        panels[row.setting].append(row)
    return {"": list(rows)} if len(panels) == 1 else {f"variants {name}": of for name, of in panels.items()}


def rows_by_curve(rows: Sequence[LeaderboardRow]) -> dict[CurveKey, list[LeaderboardRow]]:
    """Split the rows of one panel into lines, each sorted by fraction."""
    lines: dict[CurveKey, list[LeaderboardRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.fraction):
        lines[row.init, row.variant].append(row)
    return dict(lines)


def _task_panel(
    results: ReportInput,
    task: str,
    setting: str,
    rows: Sequence[LeaderboardRow],
    init_looks: dict[str, InitLook],
) -> FigurePanel:
    lines = rows_by_curve(rows)
    several = {init for init, variant in lines if sum(other == init for other, _ in lines) > 1}
    pointing = label_arrows(results, rows)
    note = ", ".join(filter(None, (setting, GENERATED if results.generated(task) else "")))

    def paint(axes: Axes) -> None:
        for (init, variant), line in lines.items():
            _line(axes, line, results.primary, init_looks[init], variant[-8:] if init in several else "")
        draw_arrows(axes, pointing, init_looks)
        _label_axis(axes, rows)
        panel_title(axes, task, note)

    scores = (f"{init}: {_scores_text(line, results.primary)}" for (init, _), line in lines.items())
    named = f"{task} ({note})" if note else task
    alt = f"{primary_title(results)} over labels on {named}. {'; '.join(scores)}.{_arrows_text(pointing)}"
    facts = {"task": task, "protocol": rows[0].protocol}
    return draw_panel(paint, 330, 230, alt, facts=facts)


def _scores_text(line: Sequence[LeaderboardRow], primary: str) -> str:
    known = (row for row in line if primary in row.stats)
    scores = ((format_number(row.stats[primary].mean), format_percent(row.fraction)) for row in known)
    return ", ".join(f"{score} at {share}" for score, share in scores)


def _arrows_text(pointing: Sequence[LabelArrow]) -> str:
    """Describe the arrows for the text alternative."""
    return "".join(
        f" {arrow.init} reaches {format_number(arrow.score)} with "
        f"{format_number(arrow.needed / arrow.labels, '.2g')} times the "
        f"labels{'' if arrow.sure else ', not sure'}."
        for arrow in pointing
    )


def _line(axes: Axes, line: Sequence[LeaderboardRow], primary: str, look: InitLook, variant: str) -> None:
    known = [row for row in line if primary in row.stats and row.stats[primary].n]
    if not known:
        return
    x = [_labels(row) for row in known]
    means = [row.stats[primary].mean for row in known]
    bands = [row.stats[primary].band for row in known]
    axes.plot(x, means, color=look.color, marker=look.marker, linestyle=look.dash)
    low, high = zip(*bands, strict=True)
    axes.fill_between(x, low, high, color=look.color, alpha=0.18, lw=0)
    if variant:
        at = (x[0], means[0])
        axes.annotate(variant, at, (4, 4), textcoords="offset points", fontsize=SMALL, color=look.color)


def _labels(row: LeaderboardRow) -> float:
    """Return the number of labeled training images; the fraction in percent if unknown."""
    return row.n_train if row.n_train > 0 else row.fraction * 100


def _spread(ticks: dict[float, float], most: int = 5) -> dict[float, float]:
    """Keep the ends and every other tick until their texts fit side by side."""
    while len(ticks) > most:
        kept = [*list(ticks)[:-1:2], list(ticks)[-1]]
        ticks = {fraction: ticks[fraction] for fraction in kept}
    return ticks


def _label_axis(axes: Axes, rows: Sequence[LeaderboardRow]) -> None:
    """Mark every fraction on the axis with the true number of labeled images."""
    ticks = {row.fraction: _labels(row) for row in rows}
    counted = all(row.n_train > 0 for row in rows)
    axes.set_xscale("log")
    axes.set_xticks([], minor=True)
    ticks = _spread(ticks)
    names = [
        f"{labels:,.0f}\n{format_percent(fraction)}" if counted else format_percent(fraction)
        for fraction, labels in ticks.items()
    ]
    axes.set_xticks(list(ticks.values()), names)
    axes.margins(x=0.06)
