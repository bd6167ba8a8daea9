"""From values of any depth to gray levels: a window, and the percentiles that stand in for one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bit_depth import Levels

PERCENTILES = (0.5, 99.5)
SAMPLE = 2**14
"""Pixels on an even grid that the percentiles are taken from; they err by 0.06 of a per cent (s.d.)."""


@dataclass(frozen=True)
class GrayWindow:
    """The values that become black and white, and who said so.

    Attributes:
        low: this and below becomes 0; in stored values.
        high: this and above becomes the top gray level; below `low` where the values fall with brightness.
        origin: ``"card"``, ``"header"`` or ``"percentiles"``, and whatever else a reader should know.
    """

    low: float
    high: float
    origin: str

    @property
    def inverted(self) -> "GrayWindow":
        """The same with black and white exchanged."""
        return GrayWindow(self.high, self.low, self.origin)


BYTES = GrayWindow(0.0, 255.0, "none: as stored")
"""Of pictures of 8 bits."""


def card_window(window: tuple[float, float], slope: float = 1.0, intercept: float = 0.0) -> GrayWindow:
    """Turn (center, width) in units of the values into stored values."""
    low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    return GrayWindow((low - intercept) / slope, (high - intercept) / slope, "card")


def choose_window(
    values: NDArray, wanted: tuple[float, float] | None, slope: float = 1.0, intercept: float = 0.0
) -> GrayWindow:
    """Return the window of an image or volume whose file has none.

    Args:
        values: as stored, of any shape and real type.
        wanted: the card's (center, width), in units of ``slope * values + intercept``; without it the
            percentiles are taken.
        slope: of the units over the stored values.
        intercept: likewise.
    """
    if wanted:
        return card_window(wanted, slope, intercept)
    return percentile_window(values, falling=slope < 0)


def percentile_window(
    values: NDArray, padding: tuple[float, float] | None = None, falling: bool = False
) -> GrayWindow:
    """Return the window between the robust percentiles of an image or volume.

    Args:
        values: of any shape and real type; what is not finite does not count.
        padding: the least and the greatest value that stand for no image, and do not count either.
        falling: the values fall with brightness (a negative slope).
    """
    flat = values.ravel() if values.flags.c_contiguous else values.ravel("K")
    # an odd step does not keep to the columns of an image whose width is a power of two
    sample = _countable_values(flat[:: max(1, flat.size // SAMPLE) | 1], padding)
    if not sample.size:
        return GrayWindow(0.0, 0.0, "percentiles")
    low, high = _values_at_ranks(sample, [round(part / 100 * (sample.size - 1)) for part in PERCENTILES])
    if low == high:  # nearly constant: its few other values are all there is to see
        every = _countable_values(flat, padding)
        low, high = float(every.min()), float(every.max())
    return GrayWindow(high, low, "percentiles") if falling else GrayWindow(low, high, "percentiles")


def _countable_values(values: NDArray, padding: tuple[float, float] | None) -> NDArray:
    """Return the values that count; all that are finite where they are padding without exception."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if padding is None:
        return values
    kept = values[(values < padding[0]) | (values > padding[1])]
    return kept if kept.size else values


def _values_at_ranks(sample: NDArray, places: list[int]) -> list[float]:
    """Return the values that would stand at some places if the sample were sorted."""
    least, most = sample.min(), sample.max()
    if sample.dtype.kind in "ui" and int(most) - int(least) < sample.size:  # values repeat: count them
        counted = np.cumsum(np.bincount(sample.astype(np.intp) - int(least)))
        return [float(int(least) + at) for at in np.searchsorted(counted, places, side="right")]
    return [float(value) for value in np.partition(sample, places)[places]]


def brightness(values: NDArray, window: GrayWindow) -> NDArray[np.float32]:
    """Map values linearly from black at 0 to white at 1, clipped.

    Args:
        values: of any shape and real type; what is not a number becomes 0.
        window: in the units of `values`; one without width gives zeros.
    """
    if window.low == window.high:
        return np.zeros(values.shape, np.float32)
    # float32 holds every value of 16 bits exactly and takes half the time of float64
    real = np.float32 if values.dtype.itemsize <= 2 else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        shown = values.astype(real)  # then in place: numpy converts faster than it computes in two types
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
    scaled += np.float32(0.5)  # what is positive is rounded by cutting off
    return scaled.astype(kind)
