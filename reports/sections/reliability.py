"""Calibration: reliability curves, the share of correct decisions over confidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...benchmark.training.metrics import ECE_BINS
from ..analysis.influence_input import read_predictions
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..elements.format import GENERATED, count_noun, format_labels, format_number, place_label
from ..elements.pictures import (
    INK,
    SMALL,
    InitLook,
    draw_panel,
    legend_swatch,
    looks_of,
    panel_title,
    report_style,
)
from ..elements.section import SECTIONS, Figure, FigurePanel, SectionContent, SectionPart
from ..statistics.influence import _Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RELIABILITY_PANELS = 24
BINS = 10


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Reliability curve of one row.

    Attributes:
        confidence: [bins] mean confidence.
        correct: [bins] share of correct decisions.
        decisions: number per seed: test images, or labels of a multilabel task.
    """

    row: LeaderboardRow
    confidence: _Floats
    correct: _Floats
    decisions: int


@SECTIONS.register("reliability")
def reliability_section(results: ReportInput) -> SectionContent | None:
    """Draw a panel per task at the largest fraction, a line per init; None without predictions."""
    largest = max((row.fraction for row in results.rows), default=0.0)
    panels: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in results.rows:
        if row.fraction == largest and not row.ambiguous:
            panels[row.protocol, row.arch, row.size, row.input_size, row.task].append(row)
    init_looks = looks_of([row.init for row in results.rows])
    figures: dict[tuple[object, ...], list[FigurePanel]] = defaultdict(list)
    drawn = 0
    with report_style():
        for key, rows in panels.items():
            if drawn == RELIABILITY_PANELS:
                break
            curves = [curve for row in rows if (curve := _curve(results, row))]
            if curves:
                figures[key[:-1]].append(_panel(results, curves, init_looks))
                drawn += 1
        keys = tuple((legend_swatch(look), init) for init, look in init_looks.items())
    if not figures:
        return None
    left = len(panels) - drawn if drawn == RELIABILITY_PANELS else 0
    lead = (
        f"Share of correct decisions with {format_labels(largest)}, in {BINS} bins with "
        "equally many decisions, sorted by confidence, all seeds together. A calibrated network is on the "
        "diagonal, an overconfident one below it. The legend has the expected calibration error, ECE, from "
        f"{ECE_BINS} bins of equal width, mean over seeds. No network was calibrated after training.",
        *((f"{count_noun(left, 'more panel')} left out.",) if left else ()),
    )
    blocks = tuple(
        Figure(f"reliability-{at + 1}", _caption(key), tuple(of), keys, folded=at > 0)
        for at, (key, of) in enumerate(figures.items())
    )
    return SectionContent("Calibration", (SectionPart(lead=lead, blocks=blocks),))


def bin_decisions(
    confidence: _Floats, correct: NDArray[np.bool_], bins: int = BINS
) -> tuple[_Floats, _Floats]:
    """Sort decisions [n] by confidence into at most `bins` bins of equal size.

    Returns mean confidence and share of correct decisions, each [bins], ascending in confidence.
    """
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return np.array([confidence[p].mean() for p in parts]), np.array([correct[p].mean() for p in parts])


def decisions(labels: NDArray[np.generic], scores: _Floats) -> tuple[_Floats, NDArray[np.bool_]]:
    """Return confidence and correctness of every decision, or multilabel label, flat.

    Args:
        labels: [n] class indices, or [n, classes] of 0 and 1.
        scores: [n, classes] probabilities.
    """
    if labels.ndim == 2:
        given = scores > 0.5
        right = given == (labels > 0)  # type: ignore[operator]
        return np.where(given, scores, 1 - scores).ravel(), right.ravel()
    return scores.max(axis=1), scores.argmax(axis=1) == labels


def _curve(results: ReportInput, row: LeaderboardRow) -> ReliabilityCurve | None:
    found = [read_predictions(results.prediction_files(key)) for key in row.keys]
    known = [decisions(read.labels, read.scores.astype(float)) for read in found if read]
    if len(known) < len(found):
        return None
    confidence, correct = (np.concatenate(parts) for parts in zip(*known, strict=True))
    return ReliabilityCurve(row, *bin_decisions(confidence, correct), decisions=len(known[0][0]))


def _caption(key: tuple[object, ...]) -> str:
    protocol, arch, size, input_size = key
    return f"{protocol}: {place_label(str(arch), int(str(size)), int(str(input_size)))}."


def _panel(
    results: ReportInput, curves: Sequence[ReliabilityCurve], init_looks: dict[str, InitLook]
) -> FigurePanel:
    row = curves[0].row
    made = GENERATED if results.generated(row.task) else ""
    seeds = sorted({len(curve.row.seeds) for curve in curves})
    n = f"{count_noun(curves[0].decisions, 'decision')}, {' or '.join(map(str, seeds))} seeds"

    def paint(axes: Axes) -> None:
        low = min(float(curve.confidence[0]) for curve in curves)
        axes.plot([low, 1], [low, 1], color=INK, linewidth=0.8, alpha=0.5)
        for curve in curves:
            look = init_looks[curve.row.init]
            label = _ece(curve)
            axes.plot(
                curve.confidence, curve.correct, color=look.color, marker=look.marker, linestyle=look.dash,
                markersize=3.2, linewidth=1.2, label=label,
            )  # fmt: skip
        axes.legend(loc="lower right", fontsize=SMALL, frameon=False, handlelength=2.4, labelspacing=0.25)
        axes.set_xlabel("confidence")
        axes.set_ylim(top=1.02)
        panel_title(axes, row.task, f"{n}\n{made}" if made else n, width=25)

    errors = "; ".join(f"{curve.row.init} {_ece(curve)}" for curve in curves)
    named = f"{row.task} ({made})" if made else row.task
    alt = f"Share of correct decisions over confidence on {named}, {n}. {errors}."
    facts = {"task": row.task, "protocol": row.protocol, "fraction": row.fraction}
    return draw_panel(paint, 260, 240, alt, facts=facts)


def _ece(curve: ReliabilityCurve) -> str:
    stat = curve.row.stats.get("ece")
    return f"ECE {format_number(stat.mean if stat else None)}"
