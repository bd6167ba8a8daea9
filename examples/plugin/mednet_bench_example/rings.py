"""A task whose images are generated: is there a ring in the picture, or a disc?"""

from collections.abc import Mapping

import numpy as np

from mednet_bench.tasks.task import DataLocations, MissingFile, Split, Task

SIZES, COUNTS = (28, 64), {"train": 48, "val": 24, "test": 24}


class RingSource:
    """Draws the images; a source that reads files would name those that it lacks in `missing`."""

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Change this whenever other images would be drawn: it is part of every cell's key."""
        return "rings:1"

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """Lack no file."""
        return ()

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """Draw images of these sizes in pixels."""
        return SIZES

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Draw every split: uint8 images [n, size, size], int64 labels [n]."""
        rng = np.random.default_rng(0)
        return {split: draw(size, count, rng) for split, count in COUNTS.items()}


def draw(size: int, count: int, rng: np.random.Generator) -> Split:
    """Draw discs (label 0) and rings (label 1) in noise, in turn."""
    rows, columns = np.mgrid[:size, :size]
    labels = np.arange(count) % 2
    centers = rng.uniform(0.4 * size, 0.6 * size, (count, 2))
    images = rng.normal(90, 25, (count, size, size))
    for image, label, (x, y) in zip(images, labels, centers, strict=True):
        distance = np.hypot(columns - x, rows - y) / size
        image[(distance < 0.3) & (distance > 0.15 * label)] += 40
    return Split(images.clip(0, 255).astype(np.uint8), labels.astype(np.int64))


RINGS = Task(
    name="example-rings",  # as the entry point is called
    title="Rings and discs",
    kind="binary",
    classes=("disc", "ring"),
    modality="phantom",
    variant="gray",
    source_group="example",
    parents=(),
    license="CC0-1.0",
    citation="none",
    source=RingSource(),
    sizes=SIZES,
    split_sizes=(48, 24, 24),
    generated=True,
    family="example",
)
