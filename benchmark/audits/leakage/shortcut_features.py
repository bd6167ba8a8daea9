"""Figures of an image that say nothing of what it shows: of its pixels, its subgroup, and its file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....tasks.task import Split

Figures = NDArray[np.float64]
"""[n, k]; NaN where not known."""
_Images = NDArray[np.uint8]
_Rows = Mapping[str, NDArray[np.int64]]
"""Of each split, those that are looked at."""

FEWEST_IMAGES = 10
"""Images of a value, a class or a split, below which nothing is told."""
_MOST = 50
"""Values of one text that are told apart; the others count as one."""
_SIZES = ("height", "width", "mm down", "mm right")


def feature_families(splits: Mapping[str, Split], images: _Images, rows: _Rows) -> dict[str, Figures]:
    """Return the figures of some images, of one split after the other: family -> [n, figures].

    Args:
        splits: by name.
        images: of those rows, [n, h, w(, 3)].
        rows: of each split.
    """
    return {**_pixel_features(images), **_column_features(splits, rows), **_trait_features(splits, rows)}


def _pixel_features(images: _Images) -> dict[str, Figures]:
    channels = images[..., None] if images.ndim == 3 else images
    flat = channels.reshape(len(images), -1)
    edges = (channels[:, 0], channels[:, -1], channels[:, :, 0], channels[:, :, -1])
    border = [part(edge.reshape(len(images), -1), axis=1) for edge in edges for part in (np.mean, np.std)]
    levels = [len(np.unique(image)) for image in flat]
    bits = [((flat >> bit) & 1).mean(axis=1) for bit in range(3)]
    return {
        "mean and spread": np.stack([flat.mean(axis=1), flat.std(axis=1)], axis=1),
        "border pixels": np.stack(border, axis=1),
        "lowest bits, levels, clipping": np.stack(
            [*bits, levels, (flat == 0).mean(axis=1), (flat == 255).mean(axis=1)], axis=1
        ),
    }


def _column_features(splits: Mapping[str, Split], rows: _Rows) -> dict[str, Figures]:
    """Return one family of the subgroup columns that every split has, such as scanner or site."""
    first, *others = splits.values()
    shared = [name for name in first.columns if all(name in split.columns for split in others)]
    coded = [_one_hot(np.concatenate([splits[n].columns[name][rows[n]] for n in rows])) for name in shared]
    return {"subgroup columns": np.concatenate(coded, axis=1)} if coded else {}


def _trait_features(splits: Mapping[str, Split], rows: _Rows) -> dict[str, Figures]:
    """Return the families of what the files say; that a file lacks something is a figure too."""
    names = dict.fromkeys(name for split in splits.values() for name in split.traits)
    found: dict[str, list[Figures]] = {}
    for name in names:
        values = [_trait_values(splits[split].traits.get(name), some) for split, some in rows.items()]
        found.setdefault(_family(name), []).append(_encode(values))
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def _family(trait: str) -> str:
    """Name the family; elements of a DICOM header are written with a capital, nothing else is."""
    if trait == "bytes":
        return "file size"
    if trait in _SIZES:
        return "image size"
    return "header fields" if trait[:1].isupper() else "bit depth and encoding"


def _encode(parts: list[NDArray[Any]]) -> Figures:
    """Return numbers as they are, [n, 1], and words as a column for each."""
    if any(part.dtype.kind == "U" for part in parts):
        return _one_hot(np.concatenate([_as_text(part) for part in parts]))
    return np.concatenate(parts)[:, None]


def _trait_values(values: NDArray[Any] | None, rows: NDArray[np.int64]) -> NDArray[Any]:
    return np.full(len(rows), np.nan) if values is None else np.asarray(values)[rows]


def _as_text(values: NDArray[Any]) -> NDArray[np.str_]:
    """Return text, "" where a split of numbers knows none."""
    return values if values.dtype.kind == "U" else np.where(np.isnan(values), "", values.astype(np.str_))


def _one_hot(values: NDArray[np.str_]) -> Figures:
    """Return 1 in the column of each value: [n, values], the last column for all rare ones together."""
    distinct, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:_MOST]
    common = common[counts[common] >= FEWEST_IMAGES]
    place = np.full(len(distinct), len(common))
    place[common] = np.arange(len(common))
    return (place[code][:, None] == np.arange(len(common) + 1)).astype(float)
