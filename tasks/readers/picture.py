"""PNG, JPEG, TIFF and BMP files, read by Pillow."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..images.reader import (
    LARGEST_IMAGE,
    READERS,
    FormatReader,
    ReaderTable,
    ReadImage,
    UnreadableError,
    check_declared_size,
)
from ..images.window import choose_window

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
"""Pillow knows dozens more, some of which start other programs; files must not select those."""
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
WHITE_IS_ZERO, PHOTOMETRIC = 0, 262
SUBFILE_KIND, REDUCED_OR_MASK = 254, 0b101
"""TIFF tag NewSubfileType, and its bits for a smaller copy of another page and for a mask."""
OLD_SUBFILE_KIND, OLD_REDUCED = 255, 2
"""The tag before it, and its value for a smaller copy."""


def read_picture(path: Path, reading: ReaderTable) -> Iterator[ReadImage]:
    """Yield the image of a file, or the selected pages of a TIFF; errors as `read_images`."""
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        reason = f"it declares more pixels than the {LARGEST_IMAGE:,} that are read"
        raise UnreadableError(reason) from None
    except Image.UnidentifiedImageError:
        reason = "its header is broken, or of a kind of PNG, JPEG, TIFF or BMP that Pillow does not read"
        raise UnreadableError(reason) from None
    with image:
        # further pictures in a JPEG are previews
        pages = _full_pages(image) if image.format == "TIFF" else [0]
        for at in reading.frame_indices(len(pages)):
            image.seek(pages[at])
            yield _read_page(image, pages[at], reading)


def _full_pages(image: "Image.Image") -> list[int]:
    """Return the pages of full resolution, without pyramid levels, thumbnails, labels and masks.

    Slide scanners mark not all of those: of the others only the pages of the largest size count, which in a
    volume are all.
    """
    sizes: dict[int, int] = {}
    marked: set[int] = set()
    for page in range(getattr(image, "n_frames", 1)):
        image.seek(page)
        tags = image.tag_v2  # type: ignore[attr-defined]
        sizes[page] = image.width * image.height
        if tags.get(SUBFILE_KIND, 0) & REDUCED_OR_MASK or tags.get(OLD_SUBFILE_KIND) == OLD_REDUCED:
            marked.add(page)
    kept = {page: size for page, size in sizes.items() if page not in marked} or sizes
    return [page for page, size in kept.items() if size == max(kept.values())]


def _read_page(image: "Image.Image", page: int, reading: ReaderTable) -> ReadImage:
    """Decode the current page of a file."""
    check_declared_size(image.height, image.width)
    facts = {"format": str(image.format), "mode": image.mode}
    white_is_zero = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO  # type: ignore[attr-defined]
    try:
        image.load()
    except Exception:  # zlib, libjpeg and libtiff each raise their own
        raise UnreadableError("its pixels are cut off or broken") from None
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # only the EXIF data are broken, not the pixels
        upright, facts["rotation"] = image, "EXIF is broken: as stored"
    if len(image.getbands()) > 2 and image.info.get("icc_profile"):
        facts["profile"] = "ICC, not applied"
    if upright.mode.startswith("I") or upright.mode == "F":
        values = np.asarray(upright)
        window = choose_window(values, reading.window)
        window = window.inverted if white_is_zero else window  # Pillow inverts 8 bits only
        return ReadImage(values, window, True, page, facts={**facts, "window": window.origin})
    return ReadImage(_to_eight_bits(upright), frame=page, facts=facts)


def _to_eight_bits(image: "Image.Image") -> NDArray[np.uint8]:
    """Convert any mode of 8 bits or less to gray or RGB; transparent pixels become black."""
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))
    if image.mode in ("LA", "La"):
        clear = image.convert("LA")
        return np.array(Image.composite(clear.getchannel(0), Image.new("L", clear.size), clear.getchannel(1)))
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        color = Image.alpha_composite(Image.new("RGBA", clear.size, "black"), clear).convert("RGB")
    else:
        color = image.convert("RGB")
    pixels = np.array(color)
    if image.mode in ("P", "PA") and (pixels == pixels[..., :1]).all():
        return np.ascontiguousarray(pixels[..., 0])  # a palette of grays
    return pixels


def _owns(head: bytes) -> bool:
    """Detect the first bytes; the two letters of BMP alone are too few."""
    return head.startswith(MAGIC) or (head[:2] == b"BM" and head[6:10] == bytes(4))


READERS.add("picture", FormatReader(_SUFFIXES, _owns, read_picture))
