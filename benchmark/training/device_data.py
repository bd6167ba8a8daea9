"""Images and labels of a task on the device, and the order in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...tasks.task import Split
from ..schema.split_overlap import SplitOverlap


@dataclass(eq=False)
class DeviceSplits:
    """The splits of one (task, size), each moved to the device at most once.

    Attributes:
        fingerprint: hash of the content.
        copies: equal images across splits; None where they were not searched for.
    """

    splits: Mapping[str, Split]
    fingerprint: str
    device: str
    copies: SplitOverlap | None = None
    _images: dict[str, Tensor] = field(default_factory=dict)

    def images(self, split: str) -> Tensor:
        """Return a whole split on the device, [n, 1 or 3, h, w]; see `as_stored`."""
        if split not in self._images:
            self._images[split] = as_stored(self.splits[split], self.device)
        return self._images[split]


def as_stored(split: Split, device: str) -> Tensor:
    """Move a split's images to the device: [n, 1 or 3, h, w], uint8, or int16 for 16-bit levels.

    torch supports few operations on uint16, so 32768 is subtracted here and added again by `as_floats`.
    """
    stored = split.images
    if stored.dtype == np.uint16:
        stored = (stored ^ np.uint16(1 << 15)).view(np.int16)
    images = _wrap_array(stored)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.contiguous().to(device)


def as_targets(labels: NDArray[np.int64], device: str) -> Tensor:
    """Move labels to the device: class indices as int64 [n], multilabel as float32 [n, classes]."""
    targets = _wrap_array(labels)
    return (targets.float() if labels.ndim == 2 else targets).to(device)


def _wrap_array(array: NDArray[Any]) -> Tensor:
    """Wrap an array without a copy unless it is read-only, of which torch warns."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def epoch_order(count: int, batches: int, batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return positions [batches, batch] in 0..count-1: permutations, cut into batches."""
    passes = -(-batches * batch // count)
    order = np.concatenate([rng.permutation(count) for _ in range(passes)])
    return order[: batches * batch].reshape(batches, batch)
