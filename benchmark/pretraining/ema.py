"""An exponential moving average of the weights, kept beside them."""

import copy

import torch
from torch import nn


class AveragedModel:
    """The averaged copy of a network, batch norm's running statistics included.

    Args:
        network: what is trained.
        decay: share of the old average that each step keeps; less in the first steps, so that the random
            weights of the beginning are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        live, kept = network.state_dict(keep_vars=True), self.network.state_dict(keep_vars=True)
        pairs = [(kept[name], value) for name, value in live.items()]
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after step number `step`."""
        keep = min(self.decay, (1 + step) / (10 + step))
        kept, live = map(list, zip(*self._floats, strict=True))
        # what torch's own AveragedModel calls; that one would wait for the device at every step
        torch._foreach_lerp_(kept, live, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]
        for count, value in self._counts:
            count.copy_(value)
