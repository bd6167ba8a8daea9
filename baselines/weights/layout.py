"""Layouts: the ways in which published files name the tensors of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ...core.registry import Registry

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class TargetModel:
    """The network that a file is loaded into.

    Attributes:
        model: without classifier; only names, shapes and settings are used, so it may be on "meta".
        classifier: prefixes of the arch's classifier tensors.
    """

    arch: str
    model: nn.Module
    classifier: tuple[str, ...]


@dataclass(frozen=True)
class TensorSlot:
    """Where a tensor of a file goes in the network.

    Attributes:
        name: of the network's tensor; the file's own name where the network has no counterpart.
        part: position among the tensors that are joined along the first axis, as query, key and value.
        axes: number of leading axes of size 1 that the network's tensor has beside the file's.
    """

    name: str
    part: int = 0
    axes: int = 0


@dataclass(frozen=True, eq=False)
class LayoutMap:
    """What a layout makes of a file's names.

    Attributes:
        slots: for every name of the file; `layout_derive` accounts for those without counterpart.
        excused: name in the file -> what it is, such as "decoder"; left over by a rule of the layout.
    """

    slots: Mapping[str, TensorSlot]
    excused: Mapping[str, str] = field(default_factory=dict)


def rename_map(names: Mapping[str, str], excused: Mapping[str, str] | None = None) -> LayoutMap:
    """Return the map of a layout that only renames; `names` are the file's to the network's."""
    return LayoutMap({old: TensorSlot(new) for old, new in names.items()}, excused or {})


class TensorLayout(Protocol):
    """A recognizer of tensor names."""

    def __call__(self, names: Sequence[str], target: TargetModel) -> LayoutMap | None:
        """Return the network's place for every name of the file, or None for another layout."""
        ...


LAYOUTS: Registry[TensorLayout] = Registry("layout", "mednet_bench.baselines.layouts")
