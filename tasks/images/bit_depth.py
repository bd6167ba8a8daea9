"""Gray levels of 8 or 16 bits: both span from black to white, so that either can stand for the other."""

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8 | np.uint16]
"""Images, of any shape."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in gray (ITU-R BT.601), as in JPEG and in Pillow's conversion."""
RATIO = 257
"""Levels of 16 bits in one of 8: 65535 / 255."""


def to_uint8(images: Levels) -> NDArray[np.uint8]:
    """Return images of uint8 or uint16, of any shape, as uint8, rounded; those of uint8 as they are."""
    if images.dtype == np.uint8:
        return images.astype(np.uint8, copy=False)
    return ((images.astype(np.uint32) + RATIO // 2) // RATIO).astype(np.uint8)


def to_uint16(images: Levels) -> NDArray[np.uint16]:
    """Return images of uint8 or uint16, of any shape, as uint16; those of uint16 as they are."""
    if images.dtype == np.uint16:
        return images.astype(np.uint16, copy=False)
    return images.astype(np.uint16) * np.uint16(RATIO)
