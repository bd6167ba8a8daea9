"""Storage, maker, size and window of the images by class, and what goes with the class."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..trait_tests import class_associations
from .file_traits import TraitColumns
from .splits_and_labels import number_names

STORAGE = ("format", "mode", "syntax", "photometric", "stored", "rescale", "profile", "window")
MAKERS = {"Manufacturer": "maker", "ManufacturerModelName": "model"}
"""Elements whose values are numbered, since no text of a header goes out."""
PAIRS = {"size": ("width", "height"), "mm per pixel": ("mm right", "mm down")}
MOST_VALUES = 8
"""Values shown per property; the others are summed."""
MOST_IMAGES = 4_000
"""Units that are tested; more would find weaker associations, which matter less."""
UNKNOWN = "(not known)"


class TraitCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Number of images of each class that have each value of a property: value -> counts by class."""

    trait: str
    values: dict[str, tuple[int, ...]]


def shown_traits(traits: TraitColumns) -> dict[str, NDArray[np.str_]]:
    """Return the properties that `validate` shows and that differ between images, as text, [n] each."""
    found = {name: traits[name].astype(np.str_) for name in STORAGE if name in traits}
    for name, (across, down) in PAIRS.items():
        if across in traits and down in traits:
            pairs = zip(traits[across].tolist(), traits[down].tolist(), strict=True)
            found[name] = np.array([f"{one:.4g} x {other:.4g}" for one, other in pairs])
    found |= {shown: _number_values(traits[name]) for name, shown in MAKERS.items() if name in traits}
    return {name: values for name, values in found.items() if (values != values[0]).any()}


def _number_values(values: NDArray[Any]) -> NDArray[np.str_]:
    """Replace texts by numbers from 1, by their first image."""
    distinct, first, code = np.unique(values.astype(np.str_), return_index=True, return_inverse=True)
    ranks = np.argsort(np.argsort(np.where(distinct == "", len(values), first)))
    pairs = zip(distinct.tolist(), ranks.tolist(), strict=True)
    pairs = zip(distinct.tolist(), ranks.tolist(), strict=True)
    names = np.array([f"number {rank + 1}" if word else "" for word, rank in pairs])
    return names[code]


def count_by_class(
    traits: Mapping[str, NDArray[np.str_]], truth: NDArray[np.bool_]
) -> tuple[TraitCounts, ...]:
    """Count the images of each class, bool [n, classes], by the values of each property."""
    found = []
    for name, values in traits.items():
        common = [value for value, _ in Counter(values.tolist()).most_common(MOST_VALUES)]
        rows = {value or UNKNOWN: values == value for value in common}
        others = ~np.isin(values, common)
        rows |= {"others": others} if others.any() else {}
        counts = {value: tuple(truth[mine].sum(axis=0).tolist()) for value, mine in rows.items()}
        found.append(TraitCounts(trait=name, values=counts))
    return tuple(found)


def class_of_images(labels: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """Return whether each image is of each class, bool [n, classes], for labels [n] or [n, classes]."""
    return labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(classes)


def association_warnings(
    traits: Mapping[str, NDArray[np.str_]],
    sizes: TraitColumns,
    truth: NDArray[np.bool_],
    owners: Sequence[str],
) -> Iterator[str]:
    """Yield a clause on the properties that go with the class, by exact tests of one image per owner.

    `sizes` are numbers that are also compared with their median.
    """
    order = np.random.default_rng(0).permutation(len(owners))
    _, first = np.unique(number_names(owners)[order], return_index=True)
    rows = np.sort(order[first[:MOST_IMAGES]])
    columns = {**traits, **{name: sizes[name] for pair in PAIRS.values() for name in pair if name in sizes}}
    tested = class_associations({name: values[rows] for name, values in columns.items()}, truth[rows])
    found = sorted((each for each in tested if each.found), key=lambda each: each.p)
    if found:
        names = ", ".join(dict.fromkeys(each.trait for each in found))
        yield (
            f"the class goes with {names} (exact test, p = {found[0].p:.1g}, {found[0].images:,} images): a "
            "network may learn that instead of what the images show"
        )
