"""The stages of a network, in the order in which images pass them: what timm's `feature_info` names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NetworkStage:
    """A stretch of a network, from the end of the stage before to the end of one module.

    Attributes:
        name: of the module whose output is the stage's, as in `named_modules`.
        tensors: names of its weights and statistics, as in `state_dict`.
    """

    name: str
    tensors: tuple[str, ...]


def stages(model: nn.Module) -> tuple[NetworkStage, ...]:
    """Cut a network into its stages; every tensor belongs to exactly one.

    A ResNet has five (stem and four layers), an EfficientNet five, a ConvNeXt four, a ViT one per block. The
    stem belongs to the first stage where timm names none, what follows the last one belongs to the last. Of a
    network without `feature_info` every child that holds tensors is a stage.
    """
    state = list(model.state_dict())
    ends = _named(model) or [
        name for name, _ in model.named_children() if any(t.startswith(f"{name}.") for t in state)
    ]
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    last = [max(at for name, at in order.items() if f"{name}.".startswith(f"{end}.")) for end in ends]
    held: list[list[str]] = [[] for _ in ends]
    for tensor in state:
        owner = order[tensor.rpartition(".")[0]]
        held[next((at for at, end in enumerate(last) if owner <= end), len(ends) - 1)].append(tensor)
    return tuple(NetworkStage(name, tuple(tensors)) for name, tensors in zip(ends, held, strict=True))


def _named(model: nn.Module) -> list[str]:
    """Return the modules that timm names as ends of stages; none where it names none."""
    info = getattr(model, "feature_info", None) or ()
    facts = getattr(info, "info", info)  # a list, or timm's own holder of one
    return [str(fact["module"]) for fact in facts if "module" in fact]
