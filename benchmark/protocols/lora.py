"""`lora`: training of low-rank updates and the head; the weights of the init are frozen (Hu et al. 2021).

A weight W [out, in] of a linear layer or of a 1x1 convolution becomes W + alpha / rank * up @ down, with
up [out, rank] and down [rank, in]. Depthwise, grouped and larger convolutions stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import msgspec

from ...core.errors import UserError
from ..training.protocol import PROTOCOLS
from ..training.tuned_training import TunedTraining

if TYPE_CHECKING:
    from torch import Tensor, nn


class LoraOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `lora`."""

    rank: Annotated[int, msgspec.Meta(ge=1, le=1024, description="Rank of each update, from 1 to 1024.")] = 8
    alpha: Annotated[float, msgspec.Meta(gt=0, description="Scale of the updates, times rank; above 0.")] = 16


class LoraProtocol(TunedTraining):
    """AdamW on low-rank updates and the head."""

    options = LoraOptions

    def adapt_backbone(self, backbone: nn.Module, options: LoraOptions, seed: int) -> Collection[str]:
        """Add the updates, and freeze all else; `UserError` where no layer takes one."""
        from ..training.loop import seed_torch

        with seed_torch("cpu", seed):
            trained = add_low_rank_updates(backbone, options.rank, options.alpha / options.rank)
        if not trained:
            raise UserError("lora: the network has no linear layer and no 1x1 convolution to adapt.")
        return backbone.state_dict().keys() - trained


def add_low_rank_updates(network: nn.Module, rank: int, scale: float) -> set[str]:
    """Add updates that start at 0 to a network, and return the names of their tensors."""
    from torch import nn
    from torch.nn.utils.parametrize import register_parametrization

    class LowRankUpdate(nn.Module):
        def __init__(self, weight: Tensor) -> None:
            super().__init__()
            self.down = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
            self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as peft and torch's own linear layers

        def forward(self, weight: Tensor) -> Tensor:
            return weight + scale * (self.up @ self.down).view_as(weight)

    def takes_update(module: nn.Module) -> bool:
        if isinstance(module, nn.Conv2d):
            return module.kernel_size == (1, 1) and module.groups == 1
        return isinstance(module, nn.Linear)

    for module in [module for module in network.modules() if takes_update(module)]:
        weight = module.get_parameter("weight")
        register_parametrization(module, "weight", LowRankUpdate(weight))
    updates = [name for name, module in network.named_modules() if isinstance(module, LowRankUpdate)]
    return {f"{name}.{part}" for name in updates for part in ("down", "up")}


PROTOCOLS.add("lora", LoraProtocol())
