"""Maps of tensor names by the order of modules of equal type, settings and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor, nn

SETTINGS = ("kernel_size", "stride", "padding", "dilation", "groups", "eps", "normalized_shape")
"""Attributes of a module that decide its output beside its tensors."""


def names_by_modules(reference: nn.Module, network: nn.Module) -> dict[str, str] | str:
    """Match the modules of two networks in order.

    Returns the network's name for every tensor of the reference, or the first difference in words.
    """
    ours, theirs = list(_modules_with_tensors(network)), list(_modules_with_tensors(reference))
    if len(ours) != len(theirs):
        return f"{len(theirs)} modules with weights against {len(ours)}"
    found: dict[str, str] = {}
    for (name, module), (other_name, other) in zip(ours, theirs, strict=True):
        if difference := _difference(other, module):
            return f"{other_name} and {name} differ in {difference}"
        found |= {f"{other_name}.{leaf}": f"{name}.{leaf}" for leaf in _tensors(module)}
    return found


def _modules_with_tensors(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the modules that hold tensors themselves."""
    return ((name, module) for name, module in network.named_modules() if _tensors(module))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    state = module.state_dict()
    return {name: tensor for name, tensor in state.items() if "." not in name}


def _difference(one: nn.Module, other: nn.Module) -> str:
    """Describe a difference in type, settings or shapes; "" if two modules compute the same."""
    if _family(one) != _family(other):
        return f"type ({type(one).__name__}, {type(other).__name__})"
    for setting in SETTINGS:
        values = getattr(one, setting, None), getattr(other, setting, None)
        if values[0] != values[1]:
            return f"{setting} ({values[0]}, {values[1]})"
    shapes = [{name: tuple(t.shape) for name, t in _tensors(module).items()} for module in (one, other)]
    return "" if shapes[0] == shapes[1] else f"tensors ({shapes[0]}, {shapes[1]})"


def _family(module: nn.Module) -> str:
    """Return the type of a module; timm's subclasses (batch norm with activation) count as base."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.LayerNorm, nn.GroupNorm)
    return next((kind.__name__ for kind in kinds if isinstance(module, kind)), type(module).__name__)


def names_by_order(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, str] | str:
    """Match tensors in order by the last part of their names and their shapes.

    Two neighbors of one shape could still be swapped, so this is used only on request of a card. Returns the
    network's name for every tensor, or the first difference in words.
    """
    if len(tensors) != len(own):
        return f"{len(tensors)} tensors against {len(own)}"
    for (name, tensor), (wanted, other) in zip(tensors.items(), own.items(), strict=True):
        if name.rpartition(".")[2] != wanted.rpartition(".")[2] or tensor.shape != other.shape:
            return f"{name} {tuple(tensor.shape)} against {wanted} {tuple(other.shape)}"
    return dict(zip(tensors, own, strict=True))
