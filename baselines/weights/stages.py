"""The stages of a network in the order of its forward pass, by timm's `feature_info`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NetworkStage:
    """A part of a network that ends with module `name`; `tensors` are keys of `state_dict`."""

    name: str
    tensors: tuple[str, ...]


def stages(model: nn.Module) -> tuple[NetworkStage, ...]:
    """Split a network into its stages; every tensor belongs to exactly one.

    A ResNet has five (stem and four layers), an EfficientNet five, a ConvNeXt four, a ViT one per block. A
    stem that timm does not list belongs to the first stage, tensors after the last stage belong to the last.
    In a network without `feature_info` every child with tensors is a stage.
    """
    state = list(model.state_dict())
    ends = _timm_stage_ends(model) or [
        name for name, _ in model.named_children() if any(t.startswith(f"{name}.") for t in state)
    ]
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    last = [max(at for name, at in order.items() if f"{name}.".startswith(f"{end}.")) for end in ends]
    tensors: list[list[str]] = [[] for _ in ends]
    for tensor in state:
        owner = order[tensor.rpartition(".")[0]]
        tensors[next((at for at, end in enumerate(last) if owner <= end), len(ends) - 1)].append(tensor)
    return tuple(NetworkStage(name, tuple(keys)) for name, keys in zip(ends, tensors, strict=True))


def _timm_stage_ends(model: nn.Module) -> list[str]:
    """Return the modules that timm lists as ends of stages."""
    info = getattr(model, "feature_info", None) or ()
    facts = getattr(info, "info", info)  # a list, or timm's wrapper of one
    return [str(fact["module"]) for fact in facts if "module" in fact]
