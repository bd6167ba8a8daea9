"""Contact sheet of a corpus: random images of every source, the same in every call."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...core.files import write_atomic
from .corpus import SHEET, Corpus, SourceFacts
from .index import images_at

if TYPE_CHECKING:
    from PIL import Image

COLUMNS, TILE, GAP, CAPTION = 12, 96, 4, 22
"""Images per source; sizes in pixels."""


def write_sheet(folder: Path, corpus: Corpus) -> Path:
    """Write the contact sheet of a corpus as PNG; returns its path."""
    width = COLUMNS * (TILE + GAP) + GAP
    sheet = Image.new("RGB", (width, len(corpus.sources) * (CAPTION + TILE + GAP) + GAP), "white")
    starts = _first_rows(corpus)
    for number, source in enumerate(corpus.sources):
        _draw_row(sheet, folder, source, starts[source.name], number * (CAPTION + TILE + GAP) + GAP)
    path = folder / SHEET
    write_atomic(path, lambda file: sheet.save(file, "png"))
    return path


def _first_rows(corpus: Corpus) -> dict[str, int]:
    """Return the first row of each source; the index is sorted by source name."""
    starts, row = {}, 0
    for source in sorted(corpus.sources, key=lambda source: source.name):
        starts[source.name] = row
        row += source.images
    return starts


def _draw_row(sheet: "Image.Image", folder: Path, source: SourceFacts, start: int, top: int) -> None:
    caption = f"{source.name}   {source.images:,} images, {source.modality}, {source.license}"
    ImageDraw.Draw(sheet).text((GAP, top), caption, "black", ImageFont.load_default(14))
    rng = np.random.default_rng(0)
    drawn = rng.choice(source.images, min(COLUMNS, source.images), replace=False)
    for column, pixels in enumerate(images_at(folder, sorted(int(start + row) for row in drawn))):
        tile = Image.fromarray(pixels)
        scale = TILE / max(tile.size)
        size = tuple(max(1, round(side * scale)) for side in tile.size)
        sheet.paste(tile.resize((size[0], size[1])), (GAP + column * (TILE + GAP), top + CAPTION))
