"""Conversion between 8 and 16 bits; both span from black to white."""

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8 | np.uint16]
"""Images, of any shape."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in gray (ITU-R BT.601), as in JPEG and Pillow."""
RATIO = 257
"""16-bit levels per 8-bit level: 65535 / 255."""


def to_uint8(images: Levels) -> NDArray[np.uint8]:
    """Return uint8 or uint16 images of any shape as uint8, rounded."""
    if images.dtype == np.uint8:
        return images.astype(np.uint8, copy=False)
    return ((images.astype(np.uint32) + RATIO // 2) // RATIO).astype(np.uint8)


def to_uint16(images: Levels) -> NDArray[np.uint16]:
    """Return uint8 or uint16 images of any shape as uint16."""
    if images.dtype == np.uint16:
        return images.astype(np.uint16, copy=False)
    return images.astype(np.uint16) * np.uint16(RATIO)
