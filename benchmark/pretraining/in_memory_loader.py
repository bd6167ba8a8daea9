"""Loader of images that are all in memory on the device."""

from collections.abc import Generator, Iterable

import torch
from torch import Tensor

from .sources import _Rows


class MemoryImages:
    """An `ImageLoader` of a tensor on the device, uint8 [n, 1 or 3, side, side], by pool."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def batches(self, rows: Iterable[_Rows]) -> Generator[Tensor]:
        """Yield the images of each array of rows."""
        for each in rows:
            yield self.images[to_device(torch.from_numpy(each), self.images.device)]


def to_device(values: Tensor, device: torch.device | str) -> Tensor:
    """Copy values from the host to the device, without waiting for a GPU."""
    if torch.device(device).type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
