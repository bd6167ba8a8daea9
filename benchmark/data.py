"""Images on the device, once, as bytes; and the step from bytes to what a network was trained to see."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..baselines.init import Contract
from ..tasks.task import Split

CHANNELS = 3
"""Every timm network takes three; a grey image is repeated, and the record says so."""


@dataclass(frozen=True, eq=False)
class Prepare:
    """The input contract of an init, applied on the device.

    Attributes:
        contract: mean, std, channel order, value range, interpolation.
        side: of the square that the network sees, in pixels.
    """

    contract: Contract
    side: int

    def resize(self, images: Tensor) -> Tensor:
        """Turn bytes [batch, channels, h, w] into floats 0..255 [batch, channels, side, side]."""
        images = images.float()
        if images.shape[-2:] == (self.side, self.side):
            return images
        mode = self.contract.interpolation
        smooth = mode != "nearest"
        resized = F.interpolate(
            images,
            (self.side, self.side),
            mode=mode,
            align_corners=False if smooth else None,
            antialias=smooth and max(images.shape[-2:]) > self.side,
        )
        return resized.clamp_(0, 255) if mode == "bicubic" else resized

    def normalise(self, images: Tensor) -> Tensor:
        """Turn floats 0..255 [batch, 1 or 3, side, side] into the network's input, channels last."""
        if self.contract.channels == "bgr" and images.shape[1] == CHANNELS:
            images = images.flip(1)
        scale, shift = _affine(self.contract, images.device)
        # one multiplication and one addition; broadcasting repeats a single channel three times
        return (images * scale + shift).contiguous(memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Resize and normalise, without augmentation."""
        return self.normalise(self.resize(images))


@functools.lru_cache(maxsize=32)  # a copy to a GPU inside a step would make the step wait for it
def _affine(contract: Contract, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return scale and shift [1, 3, 1, 1] that turn 0..255 into the contract's units."""
    with torch.inference_mode(False):  # they outlive the validation that may ask for them first
        mean = torch.tensor(contract.mean).view(1, CHANNELS, 1, 1)
        std = torch.tensor(contract.std).view(1, CHANNELS, 1, 1)
        return (contract.value_range / 255 / std).to(device), (-mean / std).to(device)


def _shared(array: NDArray[Any]) -> Tensor:
    """Wrap an array without copying it, but where it is read-only: torch warns of that, for good reason."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def as_bytes(split: Split, device: str) -> Tensor:
    """Move a split's images to the device as uint8 [n, 1 or 3, h, w]."""
    images = _shared(split.images)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.contiguous().to(device)


def as_targets(labels: NDArray[np.int64], device: str) -> Tensor:
    """Move labels to the device: class indices as int64 [n], multilabel as float32 [n, classes]."""
    targets = _shared(labels)
    return (targets.float() if labels.ndim == 2 else targets).to(device)


def epochs(count: int, batches: int, batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the order in which images are shown: permutation after permutation, cut into batches.

    Args:
        count: images in the subset.
        batches: number of batches.
        batch: images per batch.
        rng: draws the permutations.

    Returns:
        Positions in 0..count-1, [batches, batch].
    """
    passes = -(-batches * batch // count)
    order = np.concatenate([rng.permutation(count) for _ in range(passes)])
    return order[: batches * batch].reshape(batches, batch)
