"""Pretraining images: score against their number, a power law, and the corpus that would meet ImageNet."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...tasks.databases.plans import CorpusComposition, count_modalities
from ..analysis.pretraining_size import REFERENCE, SizeCurve, size_curves
from ..analysis.report_input import ReportInput
from ..answers.pretraining_images import (
    CANNOT,
    catalogue_plans,
    curve_name,
    focus_curve,
    needed_images,
    needed_interval,
    needed_sentence,
    pretraining_images_answer,
    round_images,
)
from ..elements.format import (
    DASH,
    GENERATED,
    NBSP,
    TIMES,
    compact_column,
    count_noun,
    format_interval,
    format_labels,
    format_number,
    join_words,
    place_label,
    primary_title,
)
from ..elements.pictures import InitLook, draw_panel, legend_swatch, looks_of, panel_title, report_style
from ..elements.section import (
    SECTIONS,
    Datum,
    Figure,
    FigurePanel,
    SectionContent,
    SectionPart,
    Table,
    TableColumn,
    TableRow,
)
from ..statistics.power_law import EXPONENTS, HORIZON, PowerLaw
from .ranking import SETTING, setting_entries

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_PANELS = 60
"""Most panels of the section; the tables have every number."""
SORT_LAST = 1e18
"""Sort key after every number of images; the page's script cannot read infinity."""


@SECTIONS.register("pretraining-images")
def pretraining_images_section(results: ReportInput) -> SectionContent | None:
    """Show the curves, their fits and a corpus of the size needed; None without two sizes of an init."""
    curves = size_curves(results)
    if not curves:
        return None
    lead = (
        f"{primary_title(results)} against the number of different pretraining images. The images of a "
        "smaller number are among those of a larger one; steps and the shares of the sources are equal, so "
        "that only the number of images differs. Each number was pretrained once.",
        "The curve is a - b n^(-c), with n images, by least squares. Its intervals (95 %) come from the "
        "scatter of the points around it, which holds the luck of pretrainings and trainings, and allow for "
        f"the uncertainty of c. The prediction interval is where a further pretraining with {HORIZON:g} "
        "times the images would score on the same test images, if the curve keeps its form, which no data "
        "show. "
        f"Where it meets {REFERENCE}, the interval also allows for other test images and the seeds of "
        f"{REFERENCE}. \u201c{CANNOT.capitalize()}\u201d: fewer than five numbers of images, no rise, or a "
        "prediction as uncertain as the whole measured rise.",
    )
    drawn = _figures(results, curves)
    blocks = (*drawn, _fit_table(curves), _score_table(results, curves))
    focus = focus_curve(curves)
    corpora = tuple(_corpus_part(focus, plan) for plan in catalogue_plans(results, focus))
    answer = pretraining_images_answer(results)
    parts = (SectionPart(lead=lead, points=tuple(_notes(curves)), blocks=blocks), *corpora)
    return SectionContent("How many pretraining images?", parts, (answer,) if answer else ())


def _notes(curves: Sequence[SizeCurve]) -> Iterator[str]:
    """Yield sentences on points that the means over tasks leave out, and on panels that are not drawn."""
    for curve in curves:
        if curve.left_out:
            yield (
                f"{join_words(curve.left_out)}: no point of the mean over tasks ({curve.setting.protocol}, "
                f"{format_labels(curve.setting.fraction)}), as its images differ between tasks."
            )
    if len(curves) > SIZE_PANELS:
        more = count_noun(len(curves) - SIZE_PANELS, "more panel")
        yield f"{more} left out; the tables have their numbers."


def _place(curve: SizeCurve) -> str:
    where = curve.setting
    return f"{where.protocol}: {place_label(where.arch, where.size, where.input_size)}"


def _fit_table(curves: Sequence[SizeCurve]) -> Table:
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Family", facet="init", help="init by its number of pretraining images"),
        *SETTING,
        TableColumn("Images", ",.0f", "numbers of different pretraining images"),
        TableColumn("c", ".2f", "exponent of the power law, and its 95 % interval"),
        TableColumn("Limit", ".3f", "score that the curve approaches, a"),
        TableColumn(f"At {HORIZON:g}{TIMES}", ".3f", "predicted with so many times the most images"),
        TableColumn("Prediction interval", "", "95 %, of the score of a further pretraining"),
        TableColumn(f"Meets {REFERENCE}", ",.0f", "number of images with the score of it"),
        TableColumn("95 % interval", "", "of that number"),
    )
    rows = tuple(_fit_row(curve) for curve in curves)
    keys = tuple(_keys(curve) for curve in curves)
    return compact_column(Table("Power law of each curve", columns, rows, keys=keys), "Network")


def _fit_row(curve: SizeCurve) -> TableRow:
    images = [point.images for point in curve.points]
    start: TableRow = (
        _task_datum(curve),
        Datum(curve.family, stands_for=curve.inits),
        *setting_entries(curve.setting),
        Datum(images[-1], f"{images[0]:,.0f} to {images[-1]:,.0f} ({len(images)})"),
    )
    if curve.law is None:
        return (*start, Datum(None, CANNOT, note=curve.problem), *(Datum(None, DASH),) * 5)
    score, low, high = curve.predict(HORIZON * images[-1])
    needed = curve.needed
    return (
        *start,
        Datum(curve.law.exponent, f"{format_number(curve.law.exponent, '.2f')} ({_exponents(curve.law)})"),
        curve.sign * curve.law.limit,
        score,
        f"{format_number(low)} to {format_number(high)}",
        Datum(min(needed.estimate, SORT_LAST), needed_images(needed, images[0])) if needed else None,
        needed_interval(needed, images[0]) if needed else "",
    )


def _exponents(law: PowerLaw) -> str:
    """Write the interval of the exponent, open at the ends of those that are tried."""
    low, high = law.exponent_interval
    ends = (
        f"<{NBSP}{EXPONENTS[0]:g}" if low <= EXPONENTS[0] else format_number(low, ".2f"),
        f">{NBSP}{EXPONENTS[-1]:g}" if high >= EXPONENTS[-1] else format_number(high, ".2f"),
    )
    return " to ".join(ends)


def _task_datum(curve: SizeCurve) -> Datum:
    """Name the task of a curve; that over tasks is shown with each of its tasks."""
    note = GENERATED if curve.setting.generated else ""
    return Datum(curve_name(curve), note=note, stands_for=() if curve.task else curve.tasks)


def _keys(curve: SizeCurve) -> tuple[str, ...]:
    return tuple(key for point in curve.points for key in point.keys)


def _score_table(results: ReportInput, curves: Sequence[SizeCurve]) -> Table:
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Init", facet="init"),
        *SETTING,
        TableColumn("Images", ",.0f", "different images that the weights have seen"),
        TableColumn(primary_title(results), ".3f", "mean over seeds"),
        TableColumn("95 % interval", "", "of the score, over test images and seeds"),
        TableColumn(f"Minus {REFERENCE}", "+.3f"),
        TableColumn("95 % interval of it", "", "over test images and seeds; of the mean, over tasks"),
        TableColumn("Seeds", "d"),
    )
    rows: list[TableRow] = []
    for curve in curves:
        for point in curve.points:
            low, high = point.interval
            interval = "" if math.isnan(low) else f"{format_number(low)} to {format_number(high)}"
            rows.append(
                (
                    _task_datum(curve), point.init, *setting_entries(curve.setting),
                    point.images, point.score, interval, point.gap,
                    format_interval(*point.gap_interval), curve.seeds,
                )
            )  # fmt: skip
    table = Table("Scores by number of pretraining images", columns, tuple(rows), folded=True)
    return compact_column(table, "Network")


def _figures(results: ReportInput, curves: Sequence[SizeCurve]) -> tuple[Figure, ...]:
    """Draw one figure per family, protocol, network and share of the labels, with a panel per curve."""
    groups: dict[tuple[object, ...], list[SizeCurve]] = defaultdict(list)
    for curve in curves[:SIZE_PANELS]:
        groups[curve.family, curve.setting].append(curve)
    init_looks = looks_of([*(row.init for row in results.rows), *(curve.family for curve in curves)])
    figures = []
    with report_style():
        for index, members in enumerate(groups.values()):
            first = members[0]
            shown = [first.family, *([REFERENCE] * any(not math.isnan(m.reference) for m in members))]
            caption = (
                f"{_place(first)}, {format_labels(first.setting.fraction)}. {primary_title(results)} against "
                "pretraining images (logarithmic). Bars: 95 % interval over test images and seeds; of a mean "
                f"over tasks, of the difference to {REFERENCE} over tasks. Line: power law, dashed where "
                "extrapolated; band: 95 % interval of a further pretraining."
            )
            panels = tuple(_panel(results, curve, init_looks) for curve in members)
            keys = tuple((legend_swatch(init_looks[name]), name) for name in shown)
            figures.append(Figure(f"pretraining-images-{index + 1}", caption, panels, keys))
    return tuple(figures)


def _panel(results: ReportInput, curve: SizeCurve, init_looks: dict[str, InitLook]) -> FigurePanel:
    look = init_looks[curve.family]

    def paint(axes: Axes) -> None:
        images = np.array([point.images for point in curve.points])
        axes.set_xscale("log")
        for point in curve.points:
            low, high = _bar(curve, point.interval, point.gap_interval)
            axes.plot([point.images] * 2, [low, high], color=look.color, linewidth=1.2, alpha=0.7)
        scores = [point.score for point in curve.points]
        joined = "none" if curve.law else "-"
        axes.plot(images, scores, color=look.color, marker=look.marker, linestyle=joined)
        if not math.isnan(curve.reference):
            other = init_looks[REFERENCE]
            axes.axhline(curve.reference, color=other.color, linestyle=other.dash, linewidth=1.3)
        if curve.law:
            _draw_law(axes, curve, curve.law, look)
        _mark_images(axes, images[0], images[-1] * (HORIZON if curve.law else 1.0))
        axes.set_xlabel("pretraining images")
        panel_title(axes, curve_name(curve), _panel_note(curve))

    points = ", ".join(f"{format_number(point.score)} with {point.images:,.0f}" for point in curve.points)
    what = f"{primary_title(results)} of {curve.family} by images, {curve_name(curve)}"
    alt = f"{what}: {points}. {needed_sentence(curve)}"
    facts = {"task": curve.tasks, "protocol": curve.setting.protocol, "fraction": curve.setting.fraction}
    return draw_panel(paint, 360, 240, alt, facts=facts)


def _panel_note(curve: SizeCurve) -> str:
    """Write the note under a panel's title."""
    if curve.problem:
        fit = CANNOT
    elif curve.needed is None:
        fit = f"c = {format_number(curve.law.exponent if curve.law else None, '.2f')}"
    else:
        fit = f"meets {REFERENCE}: {needed_images(curve.needed, curve.points[0].images)}"
    return ", ".join(filter(None, (fit, "generated" if curve.setting.generated else "")))


def _bar(
    curve: SizeCurve, interval: tuple[float, float], gap_interval: tuple[float, float]
) -> tuple[float, float]:
    """Return the ends of the bar of a point: of its score, or of the mean difference over tasks."""
    return interval if curve.task else (curve.reference + gap_interval[0], curve.reference + gap_interval[1])


def _draw_law(axes: Axes, curve: SizeCurve, law: PowerLaw, look: InitLook) -> None:
    """Draw a fitted curve with the interval of further pretrainings, up to the horizon."""
    images = np.geomspace(law.sizes[0], law.sizes[-1] * HORIZON, 60)
    low, high = law.interval(images, further=True)
    axes.fill_between(images, curve.sign * low, curve.sign * high, color=look.color, alpha=0.15, lw=0)
    for part, dash in ((images <= law.sizes[-1], "-"), (images >= law.sizes[-1] * 0.97, (0, (4, 2)))):
        axes.plot(images[part], curve.sign * law.at(images[part]), color=look.color, linestyle=dash)


def _mark_images(axes: Axes, first: float, last: float) -> None:
    """Mark powers of ten on the axis, or both ends where there are fewer than two."""
    powers = [10.0**power for power in range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)]
    ticks = powers if len(powers) > 1 else [first, last]
    axes.set_xticks([], minor=True)
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.margins(x=0.06)


def _corpus_part(curve: SizeCurve, plan: CorpusComposition) -> SectionPart:
    """Say what a corpus of the size needed would consist of, by the catalog's open databases."""
    title = f"What such a {plan.variant} corpus would consist of"
    planned = (
        f"The catalog's plan (mednet-bench sources plan {plan.variant}) has {plan.images:,} open images of "
        f"{count_noun(len(plan.shares), 'source')}, "
        f"{format_number(plan.images / curve.points[-1].images, ',.0f')} times the most measured here."
    )
    if curve.law is None:
        return SectionPart(title, (f"{needed_sentence(curve)} {planned} Whether they suffice is not known.",))
    score, low, high = curve.predict(float(plan.images))
    predicted = (
        f"If the curve keeps its form so far, all of them would score {format_number(score)} (95 % "
        f"prediction interval {format_number(low)} to {format_number(high)}; {curve_name(curve)})."
    )
    needed = curve.needed.estimate if curve.needed else math.inf
    lead = (f"{needed_sentence(curve)} {planned} {predicted}",)
    if not curve.points[0].images < needed < math.inf:
        return SectionPart(title, lead)
    if needed > plan.images:
        more = f"That is {needed / plan.images:.1f} times the plan, which is shown in full."
        return SectionPart(title, (*lead, more), blocks=(_corpus_table(plan, float(plan.images)),))
    return SectionPart(title, lead, blocks=(_corpus_table(plan, needed),))


def _corpus_table(plan: CorpusComposition, images: float) -> Table:
    columns = (
        TableColumn("Modality"),
        TableColumn("Images", ",.0f", "with two significant digits"),
        TableColumn("Share", ".1f", "percent of the images"),
        TableColumn("Planned", ",d", "images of the whole plan"),
        TableColumn("Sources", "", "ids of the catalog, see mednet-bench sources show ID"),
    )
    rows: list[TableRow] = []
    for modality in count_modalities(plan):
        if not modality.images:
            continue
        share = modality.images / plan.images
        ids = [each.id for each in plan.shares if each.modality == modality.name]
        named = ", ".join(ids[:6]) + (f" and {len(ids) - 6} more" if len(ids) > 6 else "")
        rows.append(
            (
                modality.name,
                Datum(images * share, round_images(images * share)),
                100 * share,
                modality.images,
                named,
            )
        )
    caption = f"{round_images(images)} {plan.variant} images in the proportions of the catalog's plan"
    return Table(caption, columns, tuple(rows))
