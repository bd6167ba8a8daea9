"""Votes of the exact nearest neighbors by cosine similarity, one matrix product per block, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .logistic_regression import wide_type

CPU_BLOCK, GPU_BLOCK = 2**25, 2**29
"""Similarities per block: 128 MiB and 2 GiB of float32."""


def neighbor_shares(queries: Tensor, train: Tensor, labels: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Return weighted shares of the labels among the k nearest, [queries, classes] per k of `counts`.

    A neighbor's weight is 1 + cosine, which is never negative.

    Args:
        queries: float32 [queries, features].
        train: float32 [n, features].
        labels: 0 or 1, [n, classes].
        counts: numbers of neighbors k, from 1 to n.
    """
    train, labels = F.normalize(train), labels.to(wide_type(train))
    size = max(1, (CPU_BLOCK if train.device.type == "cpu" else GPU_BLOCK) // len(train))
    blocks = [block_shares(block, train, labels, counts) for block in F.normalize(queries).split(size)]
    return [torch.cat(parts) for parts in zip(*blocks, strict=True)]


def block_shares(queries: Tensor, train: Tensor, labels: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Do as `neighbor_shares`, for unit vectors whose similarities fit into memory."""
    cosines, index = (queries @ train.T).topk(max(counts), dim=1)  # sorted: the nearest first
    weights = (1 + cosines.to(labels.dtype)).clamp(min=1e-6)
    votes = weights[:, :, None] * labels[index]  # [block, k, classes]
    return [votes[:, :k].sum(1) / weights[:, :k].sum(1, keepdim=True) for k in counts]


def neighbor_multiply_adds(train: int, queries: int, width: int) -> float:
    """Return the multiply-adds of a search of `queries` images in `train` images with `width` features."""
    return float(train) * queries * width
