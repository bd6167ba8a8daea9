"""What is done to an image before it is stored: one channel or three, shrunk to the side, hashed, written."""

import hashlib
import io

import numpy as np
from numpy.typing import NDArray

SMALLEST_SIDE = 16
"""Sides below this many pixels show nothing that a network could learn from."""

_LEVEL = 1
"""PNG's effort: 6 writes 13 % less in twice the time (2.3 and 5.0 ms per noisy slice of 224 pixels)."""


class UnusableError(ValueError):
    """An image that cannot be stored, with the reason as one sentence."""


def to_stored(pixels: NDArray, color: bool, side: int) -> NDArray[np.uint8]:
    """Return an image as a corpus holds it: never larger than it was, nothing changed that need not be.

    Args:
        pixels: uint8, [h, w] or [h, w, 3] RGB.
        color: three channels (gray is repeated) instead of one (color becomes ITU-R 601 luma, which
            leaves gray that was saved as RGB as it was).
        side: the longest side in pixels that it may have.

    Raises:
        UnusableError: it is no image of 8 bits, or too small.
    """
    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise UnusableError(f"it is {pixels.dtype} {list(pixels.shape)} instead of 8 bits, gray or RGB")
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        raise UnusableError(
            f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels, fewer than {SMALLEST_SIDE} a side"
        )
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if (image.mode == "RGB") != color:
        image = image.convert("RGB" if color else "L")
    if max(image.size) > side:
        # reducing_gap averages blocks first, which is as good from three times the size and much faster
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
        if min(image.size) < SMALLEST_SIDE:
            raise UnusableError(f"at {side} pixels it is {image.size[0]} x {image.size[1]}: too narrow")
    return np.asarray(image)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Write an image losslessly."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=_LEVEL)
    return buffer.getvalue()


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """Read back what `png` wrote: [h, w] or [h, w, 3]."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def pixel_hash(pixels: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of shape and pixels: equal for equal images, however they were compressed."""
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()
