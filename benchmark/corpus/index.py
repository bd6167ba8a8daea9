"""Read the index of a corpus and the images that its rows point to."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from .arrow import pa, parquet
from .corpus import INDEX, SHARDS
from .images import decode_png

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile


def open_index(folder: Path) -> "ParquetFile":
    """Open the index, with one row group per shard, in order; `UserError` where it is damaged."""
    try:
        return parquet.ParquetFile(folder / INDEX)
    except (OSError, LookupError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{folder / INDEX} is missing or damaged: build the corpus anew.") from error


def read_index_columns(folder: Path, columns: list[str]) -> "pa.Table":
    """Read columns of all rows, `source` and `shard` as dictionaries; errors as `open_index`."""
    path = folder / INDEX
    try:
        return parquet.read_table(path, columns=columns, read_dictionary=["source", "shard"])
    except (OSError, LookupError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} is missing or damaged ({error}): build the corpus anew.") from error


def read_image(shard: BinaryIO, row: dict[str, Any]) -> NDArray[np.uint8]:
    """Read one image by its `offset` and `size`: [h, w] or [h, w, 3]."""
    return decode_png(os.pread(shard.fileno(), row["size"], row["offset"]))


@contextmanager
def _damage_as_error(path: Path) -> Iterator[None]:
    """Convert any error of the block to a `UserError` that calls the file missing or damaged."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Pillow and Arrow raise anything on foreign bytes
        raise UserError(f"{path} is missing or damaged: build the corpus anew.") from error


def images_at(folder: Path, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of ascending rows of the index; `UserError` where one is damaged."""
    index = open_index(folder)
    start = 0
    for number in range(index.num_row_groups):
        stop = start + index.metadata.row_group(number).num_rows
        here = [row - start for row in wanted if start <= row < stop]
        if here:
            with _damage_as_error(folder / INDEX):
                table = index.read_row_group(number, columns=["shard", "offset", "size"])
                rows = table.take(here).to_pylist()
                path = folder / SHARDS / rows[0]["shard"]
            with _damage_as_error(path), path.open("rb") as shard:
                yield from (read_image(shard, row) for row in rows)
        start = stop
