"""Training curves: the validation score over the steps of a fine-tuning, a line per seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...benchmark.schema.records import Record
from ..analysis.report_input import ReportInput
from ..elements.format import GENERATED, count_noun, format_labels, place_label, primary_title
from ..elements.pictures import InitLook, draw_panel, legend_swatch, looks_of, panel_title, report_style
from ..elements.section import SECTIONS, Figure, FigurePanel, SectionContent, SectionPart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING_PANELS = 60
MOST_SEED_LINES = 10
"""Most lines of one init in one panel, so that it stays legible."""


@SECTIONS.register("training-curves")
def training_curves(results: ReportInput) -> SectionContent | None:
    """Draw one panel per task; one figure per protocol, architecture, image size and fraction."""
    ranks = {row.task: place for place, row in enumerate(results.rows)}
    figures: dict[tuple[str, str, int, int, float], dict[str, list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in sorted(results.counted, key=lambda r: (-r.cell.fraction, ranks[r.cell.task], r.cell.seed)):
        if any(point.val_score is not None for point in record.curve):
            cell = record.cell
            place = (cell.protocol, cell.arch, cell.size, cell.input_size, cell.fraction)
            figures[place][cell.task].append(record)
    if not figures:
        return None
    init_looks = looks_of([row.init for row in results.rows])
    blocks, left = [], TRAINING_PANELS
    with report_style():
        for index, ((protocol, arch, size, input_size, fraction), tasks) in enumerate(figures.items()):
            drawn = dict(list(tasks.items())[: max(left, 0)])
            left -= len(tasks)
            if drawn:
                place = place_label(arch, size, input_size)
                caption = f"{protocol}, {format_labels(fraction)}: {place}."
                name = f"training-curves-{index + 1}"
                blocks.append(_figure(results, name, caption, drawn, init_looks, folded=index > 0))
    lead = (
        f"{primary_title(results)} on the validation labels of the cell over optimizer steps, a line per "
        f"seed, at most {MOST_SEED_LINES} per init; the circle marks the best score. A line that ends early "
        "was stopped early; one that still rises at its end might gain from more steps. Few validation "
        "labels make these curves coarse.",
        *((f"{count_noun(-left, 'panel')} of smaller fractions or more networks left out.",) * (left < 0)),
    )
    return SectionContent("Training curves", (SectionPart(lead=lead, blocks=tuple(blocks)),))


def _figure(
    results: ReportInput,
    name: str,
    caption: str,
    tasks: dict[str, list[Record]],
    init_looks: dict[str, InitLook],
    folded: bool,
) -> Figure:
    panels = tuple(_panel(results, task, records, init_looks) for task, records in tasks.items())
    shown = {record.cell.init for records in tasks.values() for record in records}
    keys = tuple((legend_swatch(look), init) for init, look in init_looks.items() if init in shown)
    return Figure(name, caption, panels, keys, folded)


def _panel(
    results: ReportInput, task: str, records: Sequence[Record], init_looks: dict[str, InitLook]
) -> FigurePanel:
    drawn: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if len(drawn[record.cell.init]) < MOST_SEED_LINES:
            drawn[record.cell.init].append(record)
    note = GENERATED if results.generated(task) else ""

    def paint(axes: Axes) -> None:
        for init, members in drawn.items():
            for record in members:
                _line(axes, record, init_looks[init])
        axes.set_xlabel("step")
        panel_title(axes, task, note)

    steps = max(record.curve[-1].step for record in records)
    seeds = ", ".join(f"{init}: {count_noun(len(members), 'seed')}" for init, members in drawn.items())
    named = f"{task} ({note})" if note else task
    alt = f"Validation {primary_title(results)} over up to {steps} steps on {named}. {seeds}."
    cell = records[0].cell
    facts = {"task": task, "protocol": cell.protocol, "fraction": cell.fraction}
    return draw_panel(paint, 330, 220, alt, facts=facts)


def _line(axes: Axes, record: Record, look: InitLook) -> None:
    points = [(p.step, p.val_score, p.val_loss) for p in record.curve if p.val_score is not None]
    if not points:
        return
    axes.plot(
        *zip(*((step, score) for step, score, _ in points), strict=True),
        color=look.color,
        linestyle=look.dash,
        linewidth=1.1,
        alpha=0.75,
    )
    step, score, _ = max(points, key=lambda point: (point[1], -point[2]))  # ties: the lower loss
    axes.plot(step, score, color=look.color, marker="o", markersize=3.2, linestyle="none")
