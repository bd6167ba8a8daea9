"""Five generated tasks, one for every kind of label; no evidence about real images."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ..phantoms.canvas import Canvas, SeededDraws, to_uint8_image
from ..phantoms.color import TISSUES, draw_fundus, draw_tissue
from ..phantoms.gray import ORGANS, draw_chest, draw_organ
from ..phantoms.head import FINDINGS, draw_head
from ..task import SPLITS, TASKS, DataLocations, Kind, MissingFile, Split, Task, Variant

PHANTOM_VERSION = 1
"""Increment with every change of a pixel: it enters the fingerprint and every record's key."""

SIZES = (28, 64, 128, 224)
SPLIT_SIZES = (480, 120, 240)

Draw = Callable[[Canvas, SeededDraws, SeededDraws, Any], NDArray[np.float64]]
"""Takes canvas, draws of patient and image, and label; returns values of about 0 to 1."""


@dataclass(frozen=True)
class PhantomRecipe:
    """Parameters of a phantom's images.

    Attributes:
        seed: stream of its draws.
        draw: draws one image.
        shares: probability of each class; for multilabel of each finding, independently.
        blur: the widest edge, in half sides of the image.
        noise: range of the noise's standard deviation.
        patients: whether a patient has one to three images, of one label and in one split.
    """

    seed: int
    draw: Draw
    shares: tuple[float, ...]
    multilabel: bool = False
    blur: float = 0.06
    noise: tuple[float, float] = (0.01, 0.035)
    patients: bool = False


@dataclass(frozen=True)
class PhantomSource:
    """Draws the images in every process, equal everywhere, in a few seconds at 28 pixels."""

    name: str
    recipe: PhantomRecipe

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Return a hash of all parameters of the images."""
        what = f"{self.name}|{size}|{PHANTOM_VERSION}|{SPLIT_SIZES}"
        return f"sha256:{hashlib.sha256(what.encode()).hexdigest()}"

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """Return (): nothing is needed."""
        return ()

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """Return all sizes."""
        return SIZES

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Draw all splits, or copy them from this process's cache."""
        if size not in SIZES:
            raise UserError(f"{self.name} has no size {size}; it has {', '.join(map(str, SIZES))}.")
        return {
            name: Split(drawn.images.copy(), drawn.labels.copy(), drawn.groups)
            for name, drawn in _splits(self.recipe, size).items()
        }


@lru_cache(maxsize=5)
def _splits(recipe: PhantomRecipe, size: int) -> dict[str, Split]:
    return {
        name: _split(recipe, size, number, n)
        for number, (name, n) in enumerate(zip(SPLITS, SPLIT_SIZES, strict=True))
    }


def _split(recipe: PhantomRecipe, size: int, number: int, n: int) -> Split:
    images, labels, groups = [], [], []
    for person, visit in _visits(recipe, number, n):
        key = (recipe.seed, number, person)
        patient, dice = SeededDraws(*key, 0), SeededDraws(*key, visit)
        label = _label(recipe, patient)
        canvas = Canvas(size, dice.between(0, recipe.blur))
        picture = recipe.draw(canvas, patient, dice, label)
        noise, gain = dice.between(*recipe.noise), dice.between(0.8, 1.2)
        images.append(to_uint8_image(picture, dice, noise, gain, lift=dice.between(-0.08, 0.08)))
        labels.append(label)
        groups.append(number * 10_000 + person)
    arrays = (np.stack(images), np.array(labels, np.int64), np.array(groups, np.int64))
    return Split(*arrays) if recipe.patients else Split(*arrays[:2])


def _visits(recipe: PhantomRecipe, number: int, n: int) -> Iterator[tuple[int, int]]:
    """Yield (patient, image of this patient) for n images, both counted from 1."""
    dice, left, person = SeededDraws(recipe.seed, number, 0, 0), n, 0
    while left:
        person += 1
        visits = min(left, dice.count(1, 3) if recipe.patients else 1)
        left -= visits
        yield from ((person, visit) for visit in range(1, visits + 1))


def _label(recipe: PhantomRecipe, patient: SeededDraws) -> int | tuple[int, ...]:
    if recipe.multilabel:
        return tuple(int(patient.chance(share)) for share in recipe.shares)
    drawn = patient.between(0, sum(recipe.shares))
    return min(int(np.searchsorted(np.cumsum(recipe.shares), drawn, "right")), len(recipe.shares) - 1)


def _register(
    name: str, title: str, kind: Kind, classes: tuple[str, ...], modality: str, variant: Variant,
    recipe: PhantomRecipe,
) -> None:  # fmt: skip
    task = Task(
        name, f"Generated: {title}", kind, classes, modality, variant, name, (name,), "Apache-2.0",
        "none: drawn by this package", caveats=("Generated images: not evidence about real images.",),
        source=PhantomSource(name, recipe), sizes=SIZES, split_sizes=SPLIT_SIZES, generated=True,
        family="phantom",
    )  # fmt: skip
    TASKS.add(name, task)


_register(
    "phantom-nodule", "Chest radiographs with or without a nodule", "binary", ("no nodule", "nodule"),
    "x-ray", "gray", PhantomRecipe(101, draw_chest, (0.55, 0.45), blur=0.07, patients=True),
)  # fmt: skip
_register(
    "phantom-organ", "Crops of abdominal CT slices, five organs", "multiclass", ORGANS, "ct", "gray",
    PhantomRecipe(102, draw_organ, (0.15, 0.2, 0.25, 0.2, 0.2), blur=0.07),
)  # fmt: skip
_register(
    "phantom-findings", "Head CT slices with up to four findings", "multilabel", FINDINGS, "ct", "gray",
    PhantomRecipe(103, draw_head, (0.3, 0.3, 0.3, 0.35), multilabel=True, blur=0.05),
)  # fmt: skip
_register(
    "phantom-tissue", "Stained sections, five tissues", "multiclass", TISSUES, "histopathology", "color",
    PhantomRecipe(104, draw_tissue, (0.2, 0.2, 0.2, 0.2, 0.2), blur=0.09),
)  # fmt: skip
_register(
    "phantom-fundus", "Fundus photographs, retinopathy grades 0 to 4", "ordinal", ("0", "1", "2", "3", "4"),
    "fundus", "color", PhantomRecipe(105, draw_fundus, (0.32, 0.2, 0.2, 0.16, 0.12), patients=True),
)  # fmt: skip
