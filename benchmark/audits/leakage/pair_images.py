"""Pairs of images side by side, only where the user asks: images of patients do not go out unasked."""

import base64
import io
from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...schema.split_overlap import Place
from .outcome import Leakage, Picture

SIDE = 96
"""In pixels, of each of the two images."""


Images = Mapping[str, NDArray[np.uint8]]
"""Of each split."""


def pictures(found: Leakage, images: Images, most: int) -> Leakage:
    """Return the audit with the first `most` pairs: near copies first, then equal images."""
    pairs = list(dict.fromkeys(_pairs(found)))[:most]
    return msgspec.structs.replace(found, pictures=tuple(_picture(images, *pair) for pair in pairs))


def _pairs(found: Leakage) -> Iterator[tuple[Place, Place]]:
    for near in found.near:
        for match in near.matches:
            if not match.exact:
                pair = (near.split, match.row), (near.against, match.other)
                yield pair if near.split != near.against else (min(pair), max(pair))  # found from both sides
    for group in sorted(found.exact, key=lambda group: len(group.splits), reverse=True):
        yield group.places[0], group.places[-1]


def _picture(images: Images, left: Place, right: Place) -> Picture:
    from PIL import Image

    sheet = Image.new("RGB", (2 * SIDE, SIDE))
    for at, (split, row) in enumerate((left, right)):
        image = Image.fromarray(np.ascontiguousarray(images[split][row])).convert("RGB")
        sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.NEAREST), (at * SIDE, 0))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    png = base64.b64encode(file.getvalue()).decode()
    return Picture(left=left, right=right, png=png, width=2 * SIDE, height=SIDE)
