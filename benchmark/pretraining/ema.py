"""Exponential moving average of the weights."""

import copy

import torch
from torch import nn


class AveragedModel:
    """Averaged copy of a network, running statistics of batch norm included.

    Each step keeps `decay` of the old average, less in the first steps, to forget the initial weights soon.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        live, average = network.state_dict(keep_vars=True), self.network.state_dict(keep_vars=True)
        pairs = [(average[name], value) for name, value in live.items()]
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after step number `step`."""
        keep = min(self.decay, (1 + step) / (10 + step))
        average, live = map(list, zip(*self._floats, strict=True))
        # as torch's own AveragedModel, which would wait for the device at every step
        torch._foreach_lerp_(average, live, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def copy_counts(self) -> None:
        """Copy the tensors that have no average, the numbers of batches."""
        for count, value in self._counts:
            count.copy_(value)
