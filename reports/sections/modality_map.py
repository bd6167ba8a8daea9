"""Map of the mean difference to scratch by modality and init."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.aggregate import ComparableSetting, SettingScores, gather_scores
from ..analysis.report_input import BASELINE, ReportInput
from ..elements.format import GENERATED, count_noun, format_labels, format_number, place_label, primary_title
from ..elements.heat import LEAST_SCALE, draw_heat
from ..elements.pictures import draw_panel, panel_title, report_style, shorten_name
from ..elements.section import SECTIONS, Figure, FigurePanel, SectionContent, SectionPart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODALITY_PANELS = 12


@dataclass(frozen=True, eq=False)
class SettingMap:
    """Differences to scratch in one setting.

    Attributes:
        setting: protocol, network, size and fraction of its tasks.
        cells: (modality, init) -> mean difference of each independent task.
        tasks: tasks in `cells`.
    """

    setting: ComparableSetting
    cells: dict[tuple[str, str], list[float]]
    tasks: tuple[str, ...]


@SECTIONS.register("modality-map")
def modality_map(results: ReportInput) -> SectionContent | None:
    """Draw a map per protocol and network at the largest fraction; None without modalities."""
    gathered = gather_scores(results)
    largest = max((each.setting.fraction for each in gathered), default=0.0)
    maps = [_map(results, each) for each in gathered if each.setting.fraction == largest]
    maps = [each for each in maps if each.cells]
    if not maps:
        return None
    scale = max(LEAST_SCALE, *(abs(float(np.mean(v))) for each in maps for v in each.cells.values()))
    with report_style():
        panels = tuple(_panel(each, scale) for each in maps[:MODALITY_PANELS])
    score, cut = primary_title(results), len(maps) - MODALITY_PANELS
    lead = (
        f"{score} minus that of {BASELINE} with {format_labels(largest)}, mean over the tasks "
        "of a modality; n is the number of independent tasks. Colors are full at "
        f"{format_number(scale, '.2f')} and show size, not certainty: with n = 1 a modality is one data set.",
        *((f"{count_noun(cut, 'more map')} left out.",) * (cut > 0)),
    )
    caption = f"Mean difference in {score} to {BASELINE}, by modality and init."
    figure = Figure("modality-map", caption, panels)
    return SectionContent("By modality", (SectionPart(lead=lead, blocks=(figure,)),))


def _map(results: ReportInput, each: SettingScores) -> SettingMap:
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    used: dict[str, None] = {}
    inits = [init for init in each.inits if init != BASELINE]
    for init in inits:
        differences = each.differences(init, BASELINE)
        for unit, difference in differences.items():
            tasks = each.units[unit]
            known = sorted({results.tasks[task].modality for task in tasks if task in results.tasks})
            if known:
                cells[" / ".join(known), init].append(difference)
                used.update(dict.fromkeys(tasks))
    return SettingMap(each.setting, dict(cells), tuple(used))


def _panel(of: SettingMap, scale: float) -> FigurePanel:
    rows = list(dict.fromkeys(modality for modality, _ in of.cells))
    inits = list(dict.fromkeys(init for _, init in of.cells))
    means = np.array([[np.mean(of.cells.get((row, i), np.nan)) for i in inits] for row in rows])
    texts = np.array([[_text(of.cells.get((row, i), ())) for i in inits] for row in rows])
    setting = of.setting
    network = place_label(setting.arch, setting.size, setting.input_size)
    note = f"{network}\n{GENERATED}" if setting.generated else network

    def paint(axes: Axes) -> None:
        draw_heat(axes, means, texts, scale)
        axes.set_yticks(np.arange(len(rows)) + 0.5, [shorten_name(row, 28) for row in rows], rotation=0)
        axes.set_xticks(np.arange(len(inits)) + 0.5, [shorten_name(init, 18) for init in inits])
        panel_title(axes, setting.protocol, note)

    cells = "; ".join(
        f"{row} with {init} {format_number(float(np.mean(values)), '+.3f')} (n = {len(values)})"
        for (row, init), values in of.cells.items()
    )
    made = f" ({GENERATED})" if setting.generated else ""
    alt = f"Mean difference to {BASELINE}, {setting.protocol}, {network}{made}: {cells}."
    facts = {"task": of.tasks, "protocol": setting.protocol, "fraction": setting.fraction}
    width, height = 70 + 92 * len(inits), 66 + 40 * len(rows)
    return draw_panel(paint, width, height, alt, tight=True, facts=facts)


def _text(values: Sequence[float]) -> str:
    return f"{format_number(float(np.mean(values)), '+.3f')}\nn = {len(values)}" if len(values) else ""
