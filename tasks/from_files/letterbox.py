"""One image of any shape as a square of one side: its longest side fits, the rest is black."""

import numpy as np
from numpy.typing import NDArray

from ..images.bit_depth import LUMA, Levels
from ..images.reader import ReadImage
from ..images.window import to_levels
from .area_resize import area_resize


def letterbox(picture: ReadImage, color: bool, side: int, bits: int = 16) -> Levels:
    """Fit an image into a square, in proportion; shrunk or enlarged, centered, with black around it.

    It is resized in floats, so that no level of the file is rounded before its neighbors are summed.

    Args:
        picture: where its pixels are no squares (by its spacing), it is stretched to what was seen.
        color: three channels instead of one; as in a corpus, color becomes luma and gray is repeated.
        side: of the square in pixels.
        bits: that are kept of a picture that has more than 8.

    Returns:
        uint16 of 16 bits, else uint8: [side, side] or [side, side, 3].
    """
    shown = picture.brightness
    if shown.ndim == 3 and not color:
        shown = shown @ LUMA.astype(np.float32)
    height, width = _fitted_size(picture, side)
    if shown.ndim == 2:
        small = _resize(shown, height, width)[..., None]
    else:
        small = np.stack([_resize(plane, height, width) for plane in np.moveaxis(shown, 2, 0)], axis=-1)
    gray = to_levels(small, bits if picture.deep else 8)
    square = np.zeros((side, side, 3 if color else 1), gray.dtype)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = gray
    return square if color else square[..., 0]


def _fitted_size(picture: ReadImage, side: int) -> tuple[int, int]:
    """Return (height, width) of the image in its square: the longest side, as it was seen, is `side`."""
    down, right = picture.spacing or (1.0, 1.0)
    height, width = picture.values.shape[0] * down, picture.values.shape[1] * right
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resize(channel: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Take means of areas where nothing grows, else cubic curves, which overshoot and are clipped."""
    if height <= channel.shape[0] and width <= channel.shape[1]:
        return area_resize(channel, height, width)
    from PIL import Image

    grown = Image.fromarray(np.ascontiguousarray(channel)).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(grown), 0, 1)
