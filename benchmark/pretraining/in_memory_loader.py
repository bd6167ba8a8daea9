"""Loader of images that are all in memory, on the device or on the host."""

from collections.abc import Generator, Iterable

import torch
from torch import Tensor

from ..training.device_data import copied_ahead, gather_rows
from .sources import _Rows


class MemoryImages:
    """An `ImageLoader` of a tensor, uint8 [n, 1 or 3, side, side], by pool.

    Args:
        images: on the device, or in host memory.
        device: where batches are needed; that of the images by default.
    """

    def __init__(self, images: Tensor, device: str = "") -> None:
        self.images, self.device = images, torch.device(device or images.device)

    def batches(self, rows: Iterable[_Rows]) -> Generator[Tensor]:
        """Yield the images of each array of rows on the device; from the host one batch ahead."""
        places = map(torch.from_numpy, rows)
        if self.images.device.type == self.device.type:
            for each in places:
                yield self.images[to_device(each, self.images.device)]
        else:
            pinned = self.device.type == "cuda"
            yield from copied_ahead((gather_rows(self.images, each, pinned) for each in places), self.device)


def to_device(values: Tensor, device: torch.device | str) -> Tensor:
    """Copy values from the host to the device, without waiting for a GPU."""
    if torch.device(device).type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
