"""Pairs of images side by side, only on request, since they show patients."""

import base64
import io
from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...schema.split_overlap import ImagePlace
from .outcome import ImagePair, LeakageAudit

PAIR_SIDE = 96
"""Side of each of the two images, in pixels."""


_Images = Mapping[str, NDArray[np.uint8]]
"""Images of each split."""


def add_pair_images(found: LeakageAudit, images: _Images, most: int) -> LeakageAudit:
    """Return the audit with the first `most` pairs: near copies first, then equal images."""
    pairs = list(dict.fromkeys(_pairs(found)))[:most]
    return msgspec.structs.replace(found, pictures=tuple(_picture(images, *pair) for pair in pairs))


def _pairs(found: LeakageAudit) -> Iterator[tuple[ImagePlace, ImagePlace]]:
    for near in found.near:
        for match in near.matches:
            if not match.exact:
                pair = (near.split, match.row), (near.against, match.other)
                yield pair if near.split != near.against else (min(pair), max(pair))  # found from both sides
    for group in sorted(found.exact, key=lambda group: len(group.splits), reverse=True):
        yield group.places[0], group.places[-1]


def _picture(images: _Images, left: ImagePlace, right: ImagePlace) -> ImagePair:
    sheet = Image.new("RGB", (2 * PAIR_SIDE, PAIR_SIDE))
    for at, (split, row) in enumerate((left, right)):
        image = Image.fromarray(np.ascontiguousarray(images[split][row])).convert("RGB")
        sheet.paste(image.resize((PAIR_SIDE, PAIR_SIDE), Image.Resampling.NEAREST), (at * PAIR_SIDE, 0))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    png = base64.b64encode(file.getvalue()).decode()
    return ImagePair(left=left, right=right, png=png, width=2 * PAIR_SIDE, height=PAIR_SIDE)
