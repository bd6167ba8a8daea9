"""Find images of a corpus that equal an image of an excluded source."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import UserError
from .corpus import DUPLICATES
from .index import read_index_columns

if TYPE_CHECKING:
    import pyarrow as pa


def rows_without(folder: Path, sources: Collection[str], table: pa.Table) -> pa.Table:
    """Filter `table`, columns of the whole index with `source`, by source.

    Rows of these sources and copies of their images are dropped; errors as `copies_in_other_sources`.
    """
    if not sources:
        return table
    keep = ~np.isin(table["source"].to_numpy(), list(sources))
    if copies := copies_in_other_sources(folder, sources):
        keep &= ~np.isin(read_index_columns(folder, ["key"])["key"].to_numpy(), list(copies))
    return table.filter(keep)


def copies_in_other_sources(folder: Path, sources: Collection[str]) -> frozenset[str]:
    """Return the keys of images of other sources that equal an image of these sources.

    A corpus keeps only the first source's copy of equal images: to exclude a source, its images that are
    stored under another source must be excluded too.

    Raises:
        UserError: the corpus's list of duplicates is missing or cannot be read.
    """
    if not sources:
        return frozenset()
    path = folder / DUPLICATES
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return frozenset(
            row["of key"] for row in rows if row["source"] in sources and row["of source"] not in sources
        )
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise UserError(
            f"{path} cannot be read ({error}), so that copies of excluded images cannot be found: build the "
            "corpus anew."
        ) from error
