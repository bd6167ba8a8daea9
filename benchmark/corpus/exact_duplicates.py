"""Which images of a corpus equal one of a source that shall not be used, though another source holds them."""

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
    """Return the rows of a corpus's index that are neither of these sources nor equal to an image of theirs.

    Args:
        folder: of the corpus.
        sources: names; without any, the table as it is.
        table: columns of the whole index, with `source`.

    Raises:
        UserError: as `copies_in_other_sources`.
    """
    if not sources:
        return table
    kept = ~np.isin(table["source"].to_numpy(), list(sources))
    if twins := copies_in_other_sources(folder, sources):
        kept &= ~np.isin(read_index_columns(folder, ["key"])["key"].to_numpy(), list(twins))
    return table.filter(kept)


def copies_in_other_sources(folder: Path, sources: Collection[str]) -> frozenset[str]:
    """Return the keys of the images that stayed of other sources and equal one that these sources held.

    Of equal images a corpus keeps the first source's. Without a source, what it shared with others must be
    left out too: the labels and the names say nothing of it.

    Args:
        folder: of the corpus.
        sources: names; without any, nothing is read.

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
            f"{path} cannot be read ({error}), so that copies of what is left out cannot be told: build the "
            "corpus anew."
        ) from error
