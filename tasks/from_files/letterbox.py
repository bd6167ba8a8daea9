"""Letterboxing: an image of any shape as a square, scaled to its longest side, padded black."""

import numpy as np
from numpy.typing import NDArray

from ..images.bit_depth import LUMA, Levels
from ..images.reader import ReadImage
from ..images.window import to_levels
from .area_resize import area_resize


def letterbox(picture: ReadImage, color: bool, side: int, bits: int = 16) -> Levels:
    """Scale an image into a centered square in proportion, in floats before rounding to levels.

    Args:
        picture: non-square pixels (by its spacing) are stretched to physical proportions.
        color: three channels instead of one; color becomes luma, gray is repeated.
        side: side of the square in pixels.
        bits: bits kept of a picture with more than 8.

    Returns:
        uint16 of 16 bits, else uint8: [side, side] or [side, side, 3].
    """
    shown = picture.brightness
    if shown.ndim == 3 and not color:
        shown = shown @ LUMA.astype(np.float32)
    height, width = fitted_size(picture, side)
    if shown.ndim == 2:
        small = _resize(shown, height, width)[..., None]
    else:
        small = np.stack([_resize(plane, height, width) for plane in np.moveaxis(shown, 2, 0)], axis=-1)
    gray = to_levels(small, bits if picture.deep else 8)
    square = np.zeros((side, side, 3 if color else 1), gray.dtype)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = gray
    return square if color else square[..., 0]


def fitted_size(picture: ReadImage, side: int) -> tuple[int, int]:
    """Return (height, width) in the square; the longest physical side becomes `side`."""
    down, right = picture.spacing or (1.0, 1.0)
    height, width = picture.values.shape[0] * down, picture.values.shape[1] * right
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resize(channel: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Downsample by area means; upsample bicubically, clipping its overshoot."""
    if height <= channel.shape[0] and width <= channel.shape[1]:
        return area_resize(channel, height, width)
    from PIL import Image

    grown = Image.fromarray(np.ascontiguousarray(channel)).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(grown), 0, 1)
