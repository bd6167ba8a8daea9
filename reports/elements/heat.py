"""Heat map of differences to the baseline, with the same colors wherever it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..statistics.influence import _Floats
from .pictures import PAPER, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_SCALE = 0.05
"""Smallest color scale, so that noise does not look like a finding."""


def draw_heat(axes: Axes, values: _Floats, texts: np.ndarray, scale: float, fontsize: float = SMALL) -> None:
    """Color a grid of differences: blue above 0, orange below, blank for NaN.

    Args:
        axes: to draw on.
        values: [rows, columns], NaN for none.
        texts: [rows, columns], text of each field.
        scale: difference with full color.
        fontsize: size of the texts in points.
    """
    import seaborn

    colors = seaborn.diverging_palette(40, 245, s=85, l=62, sep=24, center="light", as_cmap=True)
    seaborn.heatmap(
        values, ax=axes, cmap=colors, vmin=-scale, vmax=scale, cbar=False, mask=np.isnan(values),
        linewidths=1.2, linecolor=PAPER, annot=texts, fmt="",
        annot_kws={"fontsize": fontsize, "color": "#16181c"},
    )  # fmt: skip
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
