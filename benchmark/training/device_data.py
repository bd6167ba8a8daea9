"""Images and labels of a task on the device, and the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...tasks.task import SPLITS, Split
from ..schema.split_overlap import SplitOverlap
from .folds import FoldRows, hide_test_labels

HELD_SHARE = 0.5
"""Share of a GPU's free memory that the images of a split may take; more stay in host memory."""


@dataclass(eq=False)
class DeviceSplits:
    """The splits of one (task, size), each moved to the device at most once.

    Attributes:
        fingerprint: hash of the content.
        copies: equal images across splits; None where they were not searched for.
        processes: number of processes that share a GPU.
    """

    splits: Mapping[str, Split]
    fingerprint: str
    device: str
    copies: SplitOverlap | None = None
    processes: int = 1
    _images: dict[str, Tensor] = field(default_factory=dict)

    def images(self, split: str) -> Tensor:
        """Return a whole split, [n, 1 or 3, h, w]; see `as_stored`.

        It is on the device, or in host memory where the device has too little: see `RowBatches`.
        """
        if split not in self._images:
            stored = self.splits[split]
            device = holding_device(stored.images.nbytes, self.device, self.processes)
            self._images[split] = as_stored(stored, device)
        return self._images[split]

    @property
    def validation_rows(self) -> NDArray[np.int64]:
        """Rows of `images("val")` that are validation images, with or without a label in the cell."""
        return np.arange(len(self.splits["val"]))


@dataclass(eq=False)
class PooledSplits(DeviceSplits):
    """The splits of a cross-validated task: one tensor on the device, of which `images` are views."""

    @cached_property
    def pool(self) -> Tensor:
        """Images of train, val and test, in this order, as `images` returns them."""
        parts = [self.splits[name] for name in SPLITS]
        pool, start = None, 0
        for part in parts:
            images = as_stored(part, "cpu")
            if pool is None:
                count = sum(map(len, parts))
                device = holding_device(
                    sum(part.images.nbytes for part in parts), self.device, self.processes
                )
                pool = torch.empty((count, *images.shape[1:]), dtype=images.dtype, device=device)
            pool[start : start + len(part)] = images
            start += len(part)
        assert pool is not None
        return pool

    def images(self, split: str) -> Tensor:
        """Return the images of one of the task's own splits."""
        place = SPLITS.index(split)
        start = sum(len(self.splits[name]) for name in SPLITS[:place])
        return self.pool[start : start + len(self.splits[split])]


@dataclass(eq=False, kw_only=True)
class FoldSplits(DeviceSplits):
    """The splits of one fold, without a copy of the pool.

    `train` and `val` are both the whole pool, of which a cell's `LabelSubset` selects rows; labels of test
    images are -1 there. `test` is the test images alone. No split has pixels in memory.

    Attributes:
        whole: the task, which all folds share.
        rows: of the pool.
    """

    whole: PooledSplits
    rows: FoldRows

    @classmethod
    def from_pool(cls, whole: PooledSplits, pool: Split, rows: FoldRows, copies: SplitOverlap) -> FoldSplits:
        """Describe a fold of `pool`, which is the pool without pixels."""
        hidden = hide_test_labels(pool, rows)
        splits = {"train": hidden, "val": hidden, "test": pool.at(rows.test)}
        return cls(splits, whole.fingerprint, whole.device, copies, whole=whole, rows=rows)

    def images(self, split: str) -> Tensor:
        """Return the pool for train and val, and the gathered test images, which are not kept."""
        pool = self.whole.pool
        return pool[torch.from_numpy(self.rows.test).to(pool.device)] if split == "test" else pool

    @property
    def validation_rows(self) -> NDArray[np.int64]:
        """Rows of the pool that are validation images of the fold."""
        return self.rows.val


def holding_device(count: int, device: str, processes: int = 1) -> str:
    """Return where to keep `count` bytes of images: on the device, or on "cpu" if they are too many."""
    if not device.startswith("cuda"):
        return device
    free, _ = torch.cuda.mem_get_info(device)
    return device if count <= HELD_SHARE * free / processes else "cpu"


class RowBatches:
    """The images, or targets, of every step of a training, by step.

    Images in host memory are gathered there and copied to the device one step ahead of their use.

    Args:
        images: [n, ...], on the device or in host memory.
        order: rows of each step: [steps, batch], or arrays of different lengths.
    """

    def __init__(self, images: Tensor, order: Sequence[NDArray[np.int64]], device: str) -> None:
        self.images, self.copies = images, HostCopies(torch.device(device))
        self.resident = images.device.type == self.copies.device.type
        sizes = [len(rows) for rows in order]
        self.order = torch.from_numpy(np.concatenate(order)).to(images.device).split(sizes)
        self._ahead: dict[int, Tensor] = {}

    def __call__(self, step: int) -> Tensor:
        """Return those of a step on the device, [batch, ...]."""
        if self.resident:
            return self.images[self.order[step]]
        batch = self._ahead.pop(step) if step in self._ahead else self._copy(step)
        self._ahead = {step + 1: self._copy(step + 1)} if step + 1 < len(self.order) else {}
        return self.copies.ready(batch)

    def _copy(self, step: int) -> Tensor:
        return self.copies.start(gather_rows(self.images, self.order[step], self.copies.pinned))


def gather_rows(images: Tensor, rows: Tensor, pinned: bool) -> Tensor:
    """Gather rows of images in host memory, in pinned memory if wanted, from which a GPU copies by itself."""
    batch = torch.empty((len(rows), *images.shape[1:]), dtype=images.dtype, pin_memory=pinned)
    return torch.index_select(images, 0, rows, out=batch)


def copied_ahead(batches: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield batches in host memory on the device; each is copied while the one before it is used."""
    copies, ahead = HostCopies(device), None
    for batch in batches:
        copy = copies.start(batch.pin_memory() if copies.pinned else batch)
        if ahead is not None:
            yield copies.ready(ahead)
        ahead = copy
    if ahead is not None:
        yield copies.ready(ahead)


class HostCopies:
    """Copies from host memory to a device, on a stream of their own on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.pinned = device, device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None

    def start(self, batch: Tensor) -> Tensor:
        """Start to copy a batch, which is in pinned memory for a GPU; use the copy after `ready`."""
        if not self.pinned:
            return batch.to(self.device)
        self._stream = self._stream or torch.cuda.Stream(self.device)
        with torch.cuda.stream(self._stream):
            return batch.to(self.device, non_blocking=True)

    def ready(self, copy: Tensor) -> Tensor:
        """Let the present stream, not the host, wait for all copies started before."""
        if self._stream:
            present = torch.cuda.current_stream(self.device)
            present.wait_stream(self._stream)
            copy.record_stream(present)
        return copy


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
