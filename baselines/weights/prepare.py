"""Conversion of stored images to a network's input by the input contract, on the device."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate

from ...core.errors import UserError
from ..init import InputSpec

if TYPE_CHECKING:  # importing torch takes seconds, and `ls` does not need it
    import torch
    from torch import Tensor

CHANNELS = 3
"""Of networks, but for those of gray images alone; a gray image is repeated, which the record notes."""


@dataclass(frozen=True, eq=False)
class InputPreparation:
    """The input contract of an init for a square input of `side` pixels."""

    contract: InputSpec
    side: int

    def resize(self, images: Tensor) -> Tensor:
        """Resize levels [batch, channels, h, w] to floats 0..255 [batch, channels, side, side]."""
        images = as_floats(images)
        if images.shape[-2:] == (self.side, self.side):
            return images
        mode = self.contract.interpolation
        smooth = mode != "nearest"
        resized = interpolate(
            images,
            (self.side, self.side),
            mode=mode,
            align_corners=False if smooth else None,
            antialias=smooth and max(images.shape[-2:]) > self.side,
        )
        return resized.clamp_(0, 255) if mode == "bicubic" else resized

    def normalize(self, images: Tensor) -> Tensor:
        """Convert floats 0..255 [batch, 1 or 3, side, side] to the network's input, channels last.

        Raises:
            UserError: color images for a network with one input channel.
        """
        if images.shape[1] == CHANNELS and self.contract.channels != "rgb":
            if self.contract.channels == "gray":
                raise UserError("The network takes gray images only: take another init for color tasks.")
            images = images.flip(1)
        scale, shift = scale_and_shift(self.contract, images.device)
        # broadcasting repeats a single channel three times
        return (images * scale + shift).contiguous(memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Resize and normalize, without augmentation."""
        return self.normalize(self.resize(images))


def as_floats(images: Tensor) -> Tensor:
    """Convert levels of any shape, uint8 or 16 bits less 32768 as int16, to floats 0..255."""
    return images.float().add_(32768).div_(257) if images.dtype == torch.int16 else images.float()


@functools.lru_cache(maxsize=32)  # a copy to a GPU inside a step would make the step wait for it
def scale_and_shift(contract: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return scale and shift [1, 1 or 3, 1, 1] from 0..255 to the contract's units."""
    count = 1 if contract.channels == "gray" else CHANNELS
    # cached tensors may be created in a validation, and are used in training
    with torch.inference_mode(False):
        mean = torch.tensor(contract.mean[:count]).view(1, count, 1, 1)
        std = torch.tensor(contract.std[:count]).view(1, count, 1, 1)
        return (contract.value_range / 255 / std).to(device), (-mean / std).to(device)
