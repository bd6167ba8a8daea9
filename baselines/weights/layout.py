"""Layouts: the ways in which published files name the tensors of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


class TensorLayout(Protocol):
    """A recognizer of tensor names."""

    def __call__(self, names: Sequence[str], target: TargetModel) -> dict[str, str] | None:
        """Return the network's name for every name of the file, or None for another layout.

        A name without counterpart maps to itself; `layout_derive` accounts for it.
        """
        ...


LAYOUTS: Registry[TensorLayout] = Registry("layout", "mednet_bench.baselines.layouts")
