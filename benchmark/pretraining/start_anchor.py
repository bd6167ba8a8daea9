"""The initial weights of a continued pretraining: the pull towards them, and the distance moved."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class StartAnchor:
    """L2-SP (Li et al. 2018, arXiv 1802.01483): the loss gets strength / 2 * |w - start|^2.

    Weights are those of the backbone, without running statistics. The heads are new and are not pulled.

    Args:
        backbone: with the initial weights, on the device.
        strength: 0 only measures.
    """

    def __init__(self, backbone: nn.Module, strength: float) -> None:
        self.strength = strength
        self._weights = list(backbone.parameters())
        self._start = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the gradients of the penalty to those of the loss; nothing waits for the device."""
        pairs = zip(self._weights, self._start, strict=True)
        pulled = [(weight.grad, weight, start) for weight, start in pairs if weight.grad is not None]
        if not self.strength or not pulled:
            return
        gradients, weights, starts = map(list, zip(*pulled, strict=True))
        # as torch's own optimizers do, in few kernels
        offsets = torch._foreach_sub(weights, starts)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_add_(gradients, offsets, alpha=self.strength)  # pyright: ignore[reportPrivateImportUsage]

    def relative_distance(self, backbone: nn.Module) -> float:
        """Return the L2 distance of a network's weights from the initial ones, relative to their norm."""
        moved = _squared_norm(
            weight.detach().cpu().double() - start.cpu().double()
            for weight, start in zip(backbone.parameters(), self._start, strict=True)
        )
        return math.sqrt(moved / _squared_norm(start.cpu().double() for start in self._start))


def _squared_norm(tensors: Iterable[Tensor]) -> float:
    return sum(float(tensor.square().sum()) for tensor in tensors)
