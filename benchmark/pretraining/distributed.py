"""The processes of one pretraining: one, or those that torchrun started on any nodes."""

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(minutes=10)
"""Longest wait for the other processes, after which one counts as dead; their first shards take a while."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class RankGroup:
    """This process among those that share a pretraining; only rank 0 writes files and prints."""

    device: str
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        if self.world > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace floating-point tensors by their mean over the processes; others are unchanged."""
        floats = [tensor for tensor in tensors if tensor.is_floating_point()]
        if self.world == 1 or not floats:
            return
        flat = torch.cat([tensor.flatten() for tensor in floats])
        distributed.all_reduce(flat)
        flat /= self.world
        for tensor, mean in zip(floats, flat.split([tensor.numel() for tensor in floats]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def gather(self, item: _Item) -> list[_Item]:
        """Return the items of all processes, in the order of their ranks."""
        if self.world == 1:
            return [item]
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, item)
        return found

    def wrap_model(self, network: nn.Module) -> nn.Module:
        """Wrap a network so that a backward pass averages its gradients over the processes.

        Each process keeps running statistics of batch norm of its own until they are used, then `average`
        is called: their update is linear, so that averaging after every step would give the same.
        """
        if self.world == 1:
            return network
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the oldest supported torch lacks the successor
            return DistributedDataParallel(network, broadcast_buffers=False)

    def without_sync(self, network: nn.Module, more: bool) -> AbstractContextManager[object]:
        """Do not average gradients while `more` parts of the same step follow."""
        return network.no_sync() if more and isinstance(network, DistributedDataParallel) else nullcontext()


@contextmanager
def join_ranks(device: str) -> Iterator[RankGroup]:
    """Join the processes that torchrun started, if any; each takes the GPU of its local rank."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield RankGroup(device)
        return
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield RankGroup(device, distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()
