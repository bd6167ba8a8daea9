"""The rows of a corpus and the images they point to, a shard at a time."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .corpus import INDEX, SHARDS
from .images import unpng

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile


def open_index(folder: Path) -> "ParquetFile":
    """Open the index, whose row groups are the shards in order; `UserError` where it is damaged."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(folder / INDEX)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{folder / INDEX} is missing or damaged: build the corpus anew.") from error


def read_columns(folder: Path, columns: list[str]) -> "pa.Table":
    """Read some columns of all rows, `source` and `shard` as dictionaries; `UserError` as `open_index`."""
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / INDEX
    try:
        return parquet.read_table(path, columns=columns, read_dictionary=["source", "shard"])
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} is missing or damaged ({error}): build the corpus anew.") from error


def read_image(shard: BinaryIO, row: dict[str, Any]) -> NDArray[np.uint8]:
    """Read one image by its `offset` and `size`: [h, w] or [h, w, 3]."""
    return unpng(os.pread(shard.fileno(), row["size"], row["offset"]))


def images_at(folder: Path, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Read the images of some rows of the index, which are given in rising order."""
    index = open_index(folder)
    waiting = list(wanted)
    start = 0
    for number in range(index.num_row_groups):
        stop = start + index.metadata.row_group(number).num_rows
        here = [row - start for row in waiting if start <= row < stop]
        if here:
            table = index.read_row_group(number, columns=["shard", "offset", "size"])
            rows = table.take(here).to_pylist()
            with (folder / SHARDS / rows[0]["shard"]).open("rb") as shard:
                yield from (read_image(shard, row) for row in rows)
        start = stop
