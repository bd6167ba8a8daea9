"""Features of an image apart from its content: of its pixels, its subgroup, and its file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....tasks.task import Split
from ....tasks.trait_tests import FEWEST_IMAGES

Figures = NDArray[np.float64]
"""Features [n, k]; NaN where unknown."""
_Images = NDArray[np.uint8]
_Rows = Mapping[str, NDArray[np.int64]]
"""Rows of each split that are examined."""

_MOST = 50
"""Number of distinct values of a text that are used; the others count as one."""
_SIZES = ("height", "width", "mm down", "mm right")


def feature_families(splits: Mapping[str, Split], images: _Images, rows: _Rows) -> dict[str, Figures]:
    """Return the features of rows of all splits, in order: family -> [n, features].

    `images` [n, h, w(, 3)] are those of the rows.
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
    """Return one family of the subgroup columns that all splits have, such as scanner or site."""
    coded = [_one_hot(values) for values in shared_columns(splits, rows).values()]
    return {"subgroup columns": np.concatenate(coded, axis=1)} if coded else {}


def _trait_features(splits: Mapping[str, Split], rows: _Rows) -> dict[str, Figures]:
    """Return the families of the files' properties; a missing one is a feature, too."""
    found: dict[str, list[Figures]] = {}
    for name, values in file_traits(splits, rows).items():
        coded = _one_hot(values) if values.dtype.kind == "U" else values[:, None]
        found.setdefault(_family(name), []).append(coded)
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def shared_columns(splits: Mapping[str, Split], rows: _Rows) -> dict[str, NDArray[np.str_]]:
    """Return the subgroup columns that all splits have, [n] each, for rows of all splits in order."""
    first, *others = splits.values()
    shared = [name for name in first.columns if all(name in split.columns for split in others)]
    return {name: np.concatenate([splits[n].columns[name][rows[n]] for n in rows]) for name in shared}


def file_traits(splits: Mapping[str, Split], rows: _Rows) -> dict[str, NDArray[Any]]:
    """Return the files' properties, [n] each: numbers, NaN if unknown, or text, "" if unknown."""
    names = dict.fromkeys(name for split in splits.values() for name in split.traits)
    return {
        name: _join([_trait_values(splits[split].traits.get(name), some) for split, some in rows.items()])
        for name in names
    }


def _family(trait: str) -> str:
    """Name the family of a property; only elements of a DICOM header begin with a capital."""
    if trait == "bytes":
        return "file size"
    if trait in _SIZES:
        return "image size"
    return "header fields" if trait[:1].isupper() else "bit depth and encoding"


def _join(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate numbers, or texts if any part is text."""
    text = any(part.dtype.kind == "U" for part in parts)
    return np.concatenate([_as_text(part) for part in parts] if text else parts)


def _trait_values(values: NDArray[Any] | None, rows: NDArray[np.int64]) -> NDArray[Any]:
    return np.full(len(rows), np.nan) if values is None else np.asarray(values)[rows]


def _as_text(values: NDArray[Any]) -> NDArray[np.str_]:
    """Convert numbers to text, NaN to ""."""
    return values if values.dtype.kind == "U" else np.where(np.isnan(values), "", values.astype(np.str_))


def _one_hot(values: NDArray[np.str_]) -> Figures:
    """Encode texts one-hot, [n, values]; the last column is for all rare values."""
    distinct, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:_MOST]
    common = common[counts[common] >= FEWEST_IMAGES]
    place = np.full(len(distinct), len(common))
    place[common] = np.arange(len(common))
    return (place[code][:, None] == np.arange(len(common) + 1)).astype(float)
