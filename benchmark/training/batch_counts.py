"""Numbers of batches that batch norms have seen, counted on the host."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class BatchCounts:
    """The `num_batches_tracked` of a network in training mode.

    Its batch norms would launch a kernel each, in every step, to add 1; `add` does so once for many steps.
    Running statistics are updated as ever, and `state_dict` has the same tensors.
    """

    def __init__(self, network: nn.Module) -> None:
        norms = (module for module in network.modules() if isinstance(module, _BatchNorm))
        # without a momentum the factor of the running mean is computed from the number
        self.norms = [
            norm
            for norm in norms
            if norm.training and norm.momentum is not None and norm.num_batches_tracked is not None
        ]
        self.pending = 0
        """Forward passes that are not added yet."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count a forward pass in the block on the host."""
        tensors = [norm.num_batches_tracked for norm in self.norms]
        for norm in self.norms:
            norm.num_batches_tracked = None
        try:
            yield
        finally:
            for norm, tensor in zip(self.norms, tensors, strict=True):
                norm.num_batches_tracked = tensor
        self.pending += 1

    @torch.no_grad()
    def add(self) -> None:
        """Add the pending passes to the tensors."""
        for norm in self.norms:
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += self.pending
        self.pending = 0
