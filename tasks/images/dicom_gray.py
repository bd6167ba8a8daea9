"""Gray levels of DICOM pixels: rescale, window or VOI LUT, polarity."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from .dicom_numbers import bits_stored, element_number, element_text, element_value, tag_of
from .reader import ReaderTable, UnreadableError
from .window import GrayWindow, card_window, percentile_window

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


PADDED = ("", "Float", "DoubleFloat")
"""Beginnings of the elements of padding, for integers and floats."""


@dataclass(frozen=True, eq=False)
class GrayValues:
    """Values of one frame and their window; see `ReadImage`."""

    values: NDArray[Any]
    window: GrayWindow
    deep: bool
    facts: dict[str, str]


def gray_values(
    dataset: "Dataset", stored: NDArray[Any], transformation: "Dataset", voi: "Dataset", reading: ReaderTable
) -> GrayValues:
    """Determine the gray values of a frame and their window.

    The window is the card's, else the header's VOI LUT or window, else the full range of up to 8 bits, else
    the percentiles of the image. `stored` is [h, w] as decoded; `transformation` holds the frame's
    RescaleSlope, `voi` its WindowCenter or VOI LUT.
    """
    bits, raw = bits_stored(dataset), stored
    slope, intercept = _rescale(transformation)
    padding = _padding(dataset, stored.dtype)
    facts = {"rescale": f"{slope:g}, {intercept:g}"}
    if element_value(dataset, "ModalityLUTSequence"):
        stored, slope, intercept, facts["rescale"] = apply_modality_lut(stored, dataset), 1.0, 0.0, "table"
        bits = 8 * stored.dtype.itemsize
    if reading.window:
        window = card_window(reading.window, slope, intercept)
    elif element_value(voi, "VOILUTSequence"):
        stored, window = _voi_table(voi, stored, slope, intercept)
    elif (window := _header_window(voi, slope, intercept)) is None:
        left_out = None if facts["rescale"] == "table" else padding
        window = _default_window(stored, bits, (slope, intercept), left_out)
    elif window.origin.endswith("SIGMOID"):
        stored, window = _sigmoid(stored, window), GrayWindow(0.0, 1.0, window.origin)
    facts["window"] = window.origin
    if _lowest_is_white(dataset):
        window = window.inverted
    if padding:
        stored = _blacken(stored, raw, padding, window)
    return GrayValues(stored, window, bits > 8, facts)


def _rescale(transformation: "Dataset") -> tuple[float, float]:
    """Return slope and intercept; a slope of 0, a defect that blackens the image, becomes 1."""
    slope = element_number(transformation, "RescaleSlope", 1.0) or 1.0
    return slope, element_number(transformation, "RescaleIntercept", 0.0) or 0.0


def _header_window(voi: "Dataset", slope: float, intercept: float) -> GrayWindow | None:
    """Return the header's first valid window in stored values, or None."""
    center, width = element_number(voi, "WindowCenter"), element_number(voi, "WindowWidth")
    function = (element_text(voi, "VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise UnreadableError("its VOI LUT function is none that is known: set reader.window in the card")
    if center is None or width is None or width < (1 if function == "LINEAR" else 1e-9):
        return None
    low, high = center - width / 2, center + width / 2
    if function == "LINEAR":  # PS3.3 C.11.2.1.2: the width counts levels, the last of which is white
        low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + max(width - 1, 1e-3) / 2
    origin = f"header: {center:g}, {width:g} {function}"
    return GrayWindow((low - intercept) / slope, (high - intercept) / slope, origin)


def _sigmoid(stored: NDArray[Any], window: GrayWindow) -> NDArray[Any]:
    """Apply the sigmoid VOI function of PS3.3 C.11.2.1.3.1; 0 to 1."""
    width = window.high - window.low
    middle = window.low + width / 2
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-4 * (stored - middle) / width))


def _voi_table(
    voi: "Dataset", stored: NDArray[Any], slope: float, intercept: float
) -> tuple[NDArray[Any], GrayWindow]:
    """Apply the header's first VOI LUT to rescaled values."""
    rescaled = stored
    if (slope, intercept) != (1.0, 0.0):
        rescaled = np.rint(stored * slope + intercept).astype(np.int64)
    top = 2 ** int(voi.VOILUTSequence[0].LUTDescriptor[2]) - 1
    return apply_voi(rescaled, voi), GrayWindow(0.0, float(top), "header: VOI table")


def _padding(dataset: "Dataset", kind: np.dtype[Any]) -> tuple[float, float] | None:
    """Return the range of stored values that pad the image, or None."""
    names = (f"{of}PixelPadding" for of in PADDED)
    name = next((name for name in names if tag_of(f"{name}Value") in dataset), "")
    value = element_number(dataset, f"{name}Value") if name else None
    if value is None:
        return None
    ends = [value, element_number(dataset, f"{name}RangeLimit", value) or 0.0]
    if kind.kind == "i":  # many scanners write -2000 as 63536
        over = 2 ** (8 * kind.itemsize)
        ends = [end - over if end >= over / 2 else end for end in ends]
    return min(ends), max(ends)


def _lowest_is_white(dataset: "Dataset") -> bool:
    """Whether the lowest value is white, by MONOCHROME1 or by the shape of the presentation LUT."""
    inverse = element_text(dataset, "PresentationLUTShape").upper() == "INVERSE"
    return inverse or element_text(dataset, "PhotometricInterpretation") == "MONOCHROME1"


def _blacken(
    stored: NDArray[Any], raw: NDArray[Any], padding: tuple[float, float], window: GrayWindow
) -> NDArray[Any]:
    """Make padding black where the window shows it brighter; `raw` [h, w] are the values as decoded."""
    if stored is raw and all((end - window.low) * (window.high - window.low) <= 0 for end in padding):
        return stored
    padded = (raw >= padding[0]) & (raw <= padding[1])
    if not padded.any():
        return stored
    real = stored.astype(np.float32 if stored.dtype.itemsize <= 2 else np.float64)
    real[padded] = window.low
    return real


def _default_window(
    stored: NDArray[Any], bits: int, rescale: tuple[float, float], padding: tuple[float, float] | None
) -> GrayWindow:
    """Return the window of an image without one in its header."""
    if bits <= 8 and rescale == (1.0, 0.0) and stored.dtype.kind == "u":
        return GrayWindow(0.0, float(2**bits - 1), "none: as stored")
    return percentile_window(stored, padding, falling=rescale[0] < 0)
