"""Gray windows: values to brightness and levels, and percentiles as the default window."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bit_depth import Levels

PERCENTILES = (0.5, 99.5)
SAMPLE = 2**14
"""Pixels sampled for the percentiles, whose standard error is 0.06 percentage points."""


@dataclass(frozen=True)
class GrayWindow:
    """Stored values of black and white.

    Attributes:
        low: becomes 0, as do values below.
        high: becomes the top gray level; less than `low` if values fall with brightness.
        origin: ``"card"``, ``"header"`` or ``"percentiles"``, with details.
    """

    low: float
    high: float
    origin: str

    @property
    def inverted(self) -> "GrayWindow":
        """The window with black and white exchanged."""
        return GrayWindow(self.high, self.low, self.origin)


BYTES = GrayWindow(0.0, 255.0, "none: as stored")
"""Window of 8-bit pictures."""


def card_window(window: tuple[float, float], slope: float = 1.0, intercept: float = 0.0) -> GrayWindow:
    """Convert (center, width) in units of the values to stored values."""
    low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    return GrayWindow((low - intercept) / slope, (high - intercept) / slope, "card")


def choose_window(
    values: NDArray, wanted: tuple[float, float] | None, slope: float = 1.0, intercept: float = 0.0
) -> GrayWindow:
    """Return the card's window, else the percentiles of an image or volume of any real type.

    `wanted` is the card's (center, width) in units of ``slope * values + intercept``.
    """
    if wanted:
        return card_window(wanted, slope, intercept)
    return percentile_window(values, falling=slope < 0)


def percentile_window(
    values: NDArray, padding: tuple[float, float] | None = None, falling: bool = False
) -> GrayWindow:
    """Return the window between robust percentiles of an image or volume of any real type.

    Non-finite values and the range `padding` do not count; `falling` inverts a window of negative slope.
    """
    flat = values.ravel() if values.flags.c_contiguous else values.ravel("K")
    # an odd step visits all columns of an image whose width is a power of two
    sample = _countable_values(flat[:: max(1, flat.size // SAMPLE) | 1], padding)
    if not sample.size:
        return GrayWindow(0.0, 0.0, "percentiles")
    low, high = _values_at_ranks(sample, [round(part / 100 * (sample.size - 1)) for part in PERCENTILES])
    if low == high:  # nearly constant: show its few other values
        every = _countable_values(flat, padding)
        low, high = float(every.min()), float(every.max())
    return GrayWindow(high, low, "percentiles") if falling else GrayWindow(low, high, "percentiles")


def _countable_values(values: NDArray, padding: tuple[float, float] | None) -> NDArray:
    """Return the finite values without padding; with it if nothing else is left."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if padding is None:
        return values
    kept = values[(values < padding[0]) | (values > padding[1])]
    return kept if kept.size else values


def _values_at_ranks(sample: NDArray, places: list[int]) -> list[float]:
    """Return the values at some ranks of the sample in sorted order."""
    least, most = sample.min(), sample.max()
    if sample.dtype.kind in "ui" and int(most) - int(least) < sample.size:  # values repeat: count them
        counted = np.cumsum(np.bincount(sample.astype(np.intp) - int(least)))
        return [float(int(least) + at) for at in np.searchsorted(counted, places, side="right")]
    return [float(value) for value in np.partition(sample, places)[places]]


def brightness(values: NDArray, window: GrayWindow) -> NDArray[np.float32]:
    """Map real values of any shape linearly from black at 0 to white at 1, clipped.

    NaN becomes 0, and so does everything in a window of width 0.
    """
    if window.low == window.high:
        return np.zeros(values.shape, np.float32)
    # float32 holds every value of 16 bits exactly and takes half the time of float64
    real = np.float32 if values.dtype.itemsize <= 2 else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        shown = values.astype(real)  # then in place: faster than arithmetic of mixed types
        shown -= real(window.low)
        shown *= real(1 / (window.high - window.low))
        np.clip(shown, 0, 1, out=shown)
    if values.dtype.kind == "f":
        np.nan_to_num(shown, copy=False)
    return shown.astype(np.float32, copy=False)


def to_levels(shown: NDArray[np.float32], bits: int = 8) -> Levels:
    """Round brightness from 0 to 1 to gray levels: uint8, or uint16 for 16 bits."""
    kind = np.uint8 if bits == 8 else np.uint16
    scaled = shown * np.float32(2**bits - 1)
    scaled += np.float32(0.5)  # the cast truncates
    return scaled.astype(kind)
