"""Images and labels on the device, once, as they are stored; and the order in which they are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...tasks.task import Split


def _shared(array: NDArray[Any]) -> Tensor:
    """Wrap an array without copying it, but where it is read-only: torch warns of that, for good reason."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def as_stored(split: Split, device: str) -> Tensor:
    """Move a split's images to the device: [n, 1 or 3, h, w], uint8, or int16 for levels of 16 bits.

    torch hardly computes with uint16, so that what is 0 there becomes -32768, as `Prepare` knows.
    """
    stored = split.images
    if stored.dtype == np.uint16:
        stored = (stored ^ np.uint16(1 << 15)).view(np.int16)
    images = _shared(stored)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.contiguous().to(device)


def as_targets(labels: NDArray[np.int64], device: str) -> Tensor:
    """Move labels to the device: class indices as int64 [n], multilabel as float32 [n, classes]."""
    targets = _shared(labels)
    return (targets.float() if labels.ndim == 2 else targets).to(device)


def epoch_order(count: int, batches: int, batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
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
