"""A 64-bit perceptual hash: what an image looks like from afar, equal or nearly so for its copies.

The bits are the signs of the 64 lowest frequencies of the image's cosine transform, the mean left out.
The transform is integrated over each pixel's area, so that it needs no prior resize and means the same at
28 and at 2,000 pixels. docs/contamination.md measures it, also against the `imagehash` library.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .bit_depth import LUMA

BLANK = 0
"""The hash of an image that shows nothing (one even tone); it says nothing and must match no other."""

SMALLEST_HASHED = 8
"""The shortest side, in pixels, that is hashed."""

_FAINTEST = 1.0
"""Contrast of the low frequencies, in gray levels, below which an image shows nothing but noise."""

_ZERO = 1e-6
"""In gray levels: a coefficient that symmetry makes 0 must not take its bit from the last rounding."""

_ORDER = sorted(((row, column) for row in range(11) for column in range(11)), key=lambda at: (sum(at), at))
_ROWS, _COLUMNS = np.array(_ORDER[1:65]).T
_BITS = np.uint64(1) << np.arange(64, dtype=np.uint64)


@dataclass(frozen=True)
class CropWindow:
    """A part of an image, by what is cut off at each side, in shares of the whole side.

    A negative share reaches beyond the image, whose last pixels are then repeated.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0


WHOLE = CropWindow()


def perceptual_hash(pixels: NDArray[np.uint8], window: CropWindow = WHOLE) -> int:
    """Return the 64-bit hash of one image; the distance of two hashes is the number of unlike bits.

    Args:
        pixels: [h, w] gray or [h, w, 3] RGB, 8 bits each, both sides at least `SMALLEST_HASHED` pixels.
        window: the part that is hashed, as if the image had been cropped to it.

    Raises:
        ValueError: the array is no such image.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(f"An image is uint8 of [h, w] or [h, w, 3], not {pixels.dtype} of {pixels.shape}.")
    if min(pixels.shape[:2]) < SMALLEST_HASHED:
        raise ValueError(f"An image of {pixels.shape[0]} x {pixels.shape[1]} pixels is too small to hash.")
    gray = luminance(pixels)
    down = _cosines(gray.shape[0], window.top, window.bottom)
    across = _cosines(gray.shape[1], window.left, window.right)
    low = (down @ gray @ across.T)[_ROWS, _COLUMNS]
    if low @ low < _FAINTEST**2:
        return BLANK
    return int(_BITS[low > _ZERO].sum()) or 1  # 0 is BLANK's


def perceptual_hashes(images: Iterable[NDArray[np.uint8]], window: CropWindow = WHOLE) -> NDArray[np.uint64]:
    """Return `perceptual_hash` of each image: [n], for an array [n, h, w(, 3)] or images of any sizes."""
    return np.fromiter((perceptual_hash(image, window) for image in images), np.uint64)


def luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return [h, w] gray of an image [h, w] or [h, w, 3]."""
    values = pixels.astype(np.float64)
    return values @ LUMA if values.ndim == 3 else values


@lru_cache(maxsize=1024)
def _cosines(side: int, low: float, high: float) -> NDArray[np.float64]:
    """Return [11, side]: the mean over the window, then each cosine integrated over each of `side` pixels."""
    at = np.clip((np.linspace(0, 1, side + 1) - low) / (1 - low - high), 0, 1)
    at[0], at[-1] = 0, 1  # where the window reaches beyond the image, its last pixels are repeated
    frequency = np.arange(1, 11)[:, None]
    edges = np.sin(np.pi * frequency * at) / (np.pi * frequency)
    return np.sqrt([[1], *[[2]] * 10]) * np.diff(np.concatenate([at[None], edges]), axis=1)
