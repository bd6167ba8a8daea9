"""File properties beside the pixels, as columns: they should not predict the label."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images.reader import ReadImage

Traits = Mapping[str, float | str]
"""Traits of one image; see `Split.traits`."""
TraitColumns = Mapping[str, NDArray[Any]]
"""Traits of several images: float64, NaN if unknown, or text, "" if unknown."""


def traits_of(path: Path, picture: ReadImage) -> Traits:
    """Return the traits of an image that the audit searches for shortcuts.

    Properties of its file (size in bytes and pixels, spacing in mm), how it was read (such as the window),
    and fields of its header (such as the scanner).
    """
    height, width = picture.values.shape[:2]
    down, right = picture.spacing or (math.nan, math.nan)
    size = {"bytes": float(path.stat().st_size), "height": float(height), "width": float(width)}
    return {**size, "mm down": down, "mm right": right, **picture.facts, **picture.traits}


def columns_of(traits: Sequence[Traits]) -> dict[str, NDArray[Any]]:
    """Convert one mapping per image to one column per trait, text if any value is text."""
    found: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for each in traits for name in each):
        values = [each.get(name) for each in traits]
        if any(isinstance(value, str) for value in values):
            found[name] = np.array(["" if value is None else str(value) for value in values], np.str_)
        else:
            found[name] = np.array([math.nan if value is None else value for value in values], np.float64)
    return found


def join_columns(parts: Iterable[tuple[int, TraitColumns]]) -> dict[str, NDArray[Any]]:
    """Concatenate the columns of several parts, each given with its number of images."""
    parts = list(parts)
    names = dict.fromkeys(name for _, columns in parts for name in columns)
    return {name: _join_column([(count, columns.get(name)) for count, columns in parts]) for name in names}


def _join_column(parts: list[tuple[int, NDArray[Any] | None]]) -> NDArray[Any]:
    text = any(part is not None and part.dtype.kind == "U" for _, part in parts)
    empty = "" if text else math.nan
    filled = [np.full(count, empty) if part is None else part for count, part in parts]
    if text:
        filled = [part if part.dtype.kind == "U" else _to_text(part) for part in filled]
    return np.concatenate(filled)


def _to_text(numbers: NDArray[Any]) -> NDArray[np.str_]:
    return np.array(["" if math.isnan(value) else str(value) for value in numbers.tolist()], np.str_)
