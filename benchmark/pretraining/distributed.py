"""The processes of one pretraining: alone, or as many as torchrun started, on any number of nodes."""

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

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others: they may be reading the first shards from a slow disk."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class RankGroup:
    """This process among those that share a pretraining.

    Attributes:
        device: of this process, as torch calls it.
        rank: number of this process; only number 0 writes and speaks.
        world: number of processes.
    """

    device: str
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        if self.world > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace floating tensors by their mean over the processes; others stay."""
        floats = [tensor for tensor in tensors if tensor.is_floating_point()]
        if self.world == 1 or not floats:
            return
        flat = torch.cat([tensor.flatten() for tensor in floats])
        distributed.all_reduce(flat)
        flat /= self.world
        for tensor, mean in zip(floats, flat.split([tensor.numel() for tensor in floats]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def gather(self, item: _Item) -> list[_Item]:
        """Return what every process gave, in the order of their numbers."""
        if self.world == 1:
            return [item]
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, item)
        return found

    def wrap_model(self, network: nn.Module) -> nn.Module:
        """Return the network so that a backward pass averages its gradients over the processes.

        Batch norm's running statistics stay each process's own until they are used, and are then averaged
        (`average`): their update is linear, so that this is what averages after every step would be.
        """
        if self.world == 1:
            return network
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its successor is unknown to the oldest torch
            return DistributedDataParallel(network, broadcast_buffers=False)

    def without_sync(self, network: nn.Module, more: bool) -> AbstractContextManager[object]:
        """Keep gradients to this process while `more` parts of the same step follow."""
        return network.no_sync() if more and isinstance(network, DistributedDataParallel) else nullcontext()


@contextmanager
def join_ranks(device: str) -> Iterator[RankGroup]:
    """Join the processes that torchrun started; alone where it started none.

    Args:
        device: as torch calls it; of several GPUs each process takes its own.
    """
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
