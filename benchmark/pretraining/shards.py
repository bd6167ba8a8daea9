"""Read and decode images of a corpus's shards, one positioned read each, in any process."""

from __future__ import annotations

import os
import struct
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...baselines.init import InputSpec
from ...baselines.weights.prepare import InputPreparation
from ..corpus.images import decode_png
from .sources import _Rows

OPEN_MOST = 256
"""Open shards per process; systems allow 1,024 files, some of which the workers need."""


@dataclass(frozen=True, eq=False)
class PngOffsets:
    """Location of the PNG of each row; arrays, so that forked workers share their memory.

    Attributes:
        shards: files.
        shard: number of the row's file, int32 [n].
        offset: of the first byte in that file, int64 [n].
        size: in bytes, int32 [n].
    """

    shards: tuple[Path, ...]
    shard: NDArray[np.int32]
    offset: NDArray[np.int64]
    size: NDArray[np.int32]

    def select(self, rows: _Rows) -> PngOffsets:
        """Return the locations of some rows, in their order."""
        return PngOffsets(self.shards, self.shard[rows], self.offset[rows], self.size[rows])


@dataclass(frozen=True)
class DamagedBatch:
    """Result of a worker in place of a batch: an exception would lose its type on the way."""

    row: int
    reason: str


@dataclass(eq=False)
class BatchDecoder:
    """Map-style data set of whole batches for `torch.utils.data.DataLoader`.

    Attributes:
        channels: 1 or 3.
        contract: interpolation of the resizing.
        side: of the images that are returned, in pixels.
    """

    places: PngOffsets
    channels: int
    contract: InputSpec
    side: int
    _open: OrderedDict[int, int] = field(default_factory=OrderedDict)

    def __getitem__(self, rows: _Rows) -> Tensor | DamagedBatch:
        """Return the images of `rows`, uint8 [b, channels, side, side], in their order."""
        batch = torch.empty(len(rows), self.channels, self.side, self.side, dtype=torch.uint8)
        prepare = InputPreparation(self.contract, self.side)
        places = self.places
        by_shape: dict[tuple[int, ...], list[tuple[int, Tensor]]] = {}
        for at in np.lexsort((places.offset[rows], places.shard[rows])):  # in the order of the disk
            try:
                image = self.image(int(rows[at]))
            except (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error) as error:
                return DamagedBatch(int(rows[at]), f"{type(error).__name__}: {error}")
            by_shape.setdefault(image.shape, []).append((int(at), image))
        for images in by_shape.values():  # images of one shape are resized together, as those in memory
            where = torch.tensor([at for at, _ in images])
            stacked = torch.stack([image for _, image in images])
            batch[where] = prepare.resize(stacked).round().to(torch.uint8)
        return batch

    def image(self, row: int) -> Tensor:
        """Return one stored image, uint8 [channels, h, w]; raises errors of PIL or the system."""
        size = int(self.places.size[row])
        content = os.pread(self._descriptor(int(self.places.shard[row])), size, int(self.places.offset[row]))
        if len(content) != size:
            raise ValueError("the shard ends before the image does")
        pixels = (
            np.array(decode_png(content), ndmin=3)
            if self.channels == 1
            else decode_png(content).transpose(2, 0, 1)
        )
        if len(pixels) != self.channels:
            raise ValueError(f"the image has another number of channels than {self.channels}")
        return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))

    def _descriptor(self, shard: int) -> int:
        """Return the open file of a shard; closes the least recently used one if too many are open."""
        if shard not in self._open:
            if len(self._open) >= OPEN_MOST:
                os.close(self._open.popitem(last=False)[1])
            self._open[shard] = os.open(self.places.shards[shard], os.O_RDONLY)
        self._open.move_to_end(shard)
        return self._open[shard]

    def close(self) -> None:
        """Close the files of this process."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": OrderedDict()}  # workers that are not forked open files themselves
