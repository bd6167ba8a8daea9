"""What files say beside their pixels, as columns: whoever knows only this should tell no label."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images.reader import ReadImage

Traits = Mapping[str, float | str]
"""Of one image; see `Split.traits`."""
TraitColumns = Mapping[str, NDArray[Any]]
"""Of several: float64, NaN where not known, or text, "" where not known."""


def traits_of(path: Path, picture: ReadImage) -> Traits:
    """Return what the file of a picture says, and the facts of how it was read."""
    height, width = picture.values.shape[:2]
    down, right = picture.spacing or (math.nan, math.nan)
    size = {"bytes": float(path.stat().st_size), "height": float(height), "width": float(width)}
    return {**size, "mm down": down, "mm right": right, **picture.facts, **picture.traits}


def columns_of(traits: Sequence[Traits]) -> dict[str, NDArray[Any]]:
    """Turn a mapping per image into a column per trait; one that is ever a word is text throughout."""
    found: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for each in traits for name in each):
        values = [each.get(name) for each in traits]
        if any(isinstance(value, str) for value in values):
            found[name] = np.array(["" if value is None else str(value) for value in values], np.str_)
        else:
            found[name] = np.array([math.nan if value is None else value for value in values], np.float64)
    return found


def join_columns(parts: Iterable[tuple[int, TraitColumns]]) -> dict[str, NDArray[Any]]:
    """Join the columns of parts, each given with its number of images."""
    parts = list(parts)
    names = dict.fromkeys(name for _, columns in parts for name in columns)
    return {name: _join_column([(count, columns.get(name)) for count, columns in parts]) for name in names}


def _join_column(parts: list[tuple[int, NDArray[Any] | None]]) -> NDArray[Any]:
    text = any(part is not None and part.dtype.kind == "U" for _, part in parts)
    nothing = "" if text else math.nan
    filled = [np.full(count, nothing) if part is None else part for count, part in parts]
    if text:
        filled = [part if part.dtype.kind == "U" else _to_text(part) for part in filled]
    return np.concatenate(filled)


def _to_text(numbers: NDArray[Any]) -> NDArray[np.str_]:
    return np.array(["" if math.isnan(value) else str(value) for value in numbers.tolist()], np.str_)
