"""Learning curve of a pretraining as CSV and PNG."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure

from ...core.files import write_atomic, write_bytes
from .pretrain_result import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOURCE_HUES = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494", "#56b4e9")
"""Colors of seaborn's "colorblind" palette, without pink and yellow, which are faint on white."""
MARKERS, DASHES = "osD^vPX<>", ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
"""Either distinguishes the lines without color: for print, and for color-blind readers."""
NAMED_MOST = 12
"""Number of sources with a name and color of their own; more cannot be distinguished."""


def write_curve(curve: Sequence[CurvePoint], path: Path) -> None:
    """Write one CSV line per row of the curve, missing values as ""; errors as `write_atomic`."""
    plain = [name for name in CurvePoint.__struct_fields__ if name not in ("losses", "scores")]
    sources = list(dict.fromkeys(name for point in curve for name in (*point.losses, *point.scores)))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        [*plain, *(f"loss of {name}" for name in sources), *(f"score of {name}" for name in sources)]
    )
    for point in curve:
        values = [getattr(point, name) for name in plain]
        values += [point.losses.get(name) for name in sources] + [point.scores.get(name) for name in sources]
        table.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])
    write_bytes(path, text.getvalue().encode())


def draw_curve(curve: Sequence[CurvePoint], path: Path) -> None:
    """Plot loss and held-out score of each source by step as PNG; errors as `write_atomic`."""
    sources = list(curve[-1].losses) if curve else []
    styles = {
        name: (SOURCE_HUES[at % len(SOURCE_HUES)], MARKERS[at % len(MARKERS)], DASHES[at % len(DASHES)])
        for at, name in enumerate(sources[:NAMED_MOST])
    }

    def lines(axes: Axes, value: Callable[[CurvePoint, str], float | None], mean: str) -> None:
        for name in sources:
            found = [(point.step, y) for point in curve if (y := value(point, name)) is not None]
            color, marker, dash = styles.get(name, ("#b0b0b0", "", "-"))
            every = max(1, len(found) // 8)
            x, y = [step for step, _ in found], [score for _, score in found]
            label = name if name in styles else None
            axes.plot(
                x, y, color=color, marker=marker, markevery=every, linestyle=dash, ms=4, lw=1.3, label=label
            )
        means = [(point.step, y) for point in curve if (y := getattr(point, mean)) is not None]
        axes.plot(
            *zip(*means, strict=True), color="black", lw=2.2, marker=".", label="mean"
        ) if means else None
        axes.set_xlabel("step")
        axes.grid(alpha=0.2, lw=0.5)
        axes.spines[["top", "right"]].set_visible(False)

    with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 8.5, "text.parse_math": False}):
        figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
        left, right = figure.subplots(1, 2)
        lines(left, lambda point, name: point.losses.get(name), "train_loss")
        left.set_title("Training loss", loc="left", fontweight="bold")
        lines(right, lambda point, name: point.scores.get(name), "val_score")
        right.set_title("AUC on held-out images", loc="left", fontweight="bold")
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})  # the same curve, the same bytes
    write_atomic(path, lambda file: file.write(buffer.getvalue()))
