"""What a layout is: a way in which published files name the tensors of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ...core.registry import Registry

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class TargetModel:
    """The network that a file is meant for.

    Attributes:
        arch: its name.
        model: without classifier; only names, shapes and settings are looked at, so it may be on "meta".
        classifier: prefixes of the tensors of its classifier, as the network with one calls them.
    """

    arch: str
    model: nn.Module
    classifier: tuple[str, ...]


class TensorLayout(Protocol):
    """Recognizes names and says what the network calls them."""

    def __call__(self, names: Sequence[str], target: TargetModel) -> dict[str, str] | None:
        """Return the network's name for every name of the file, or None where this is not the layout.

        A name that has no counterpart is returned as it stands; whoever asks accounts for it.
        """
        ...


LAYOUTS: Registry[TensorLayout] = Registry("layout", "mednet_bench.baselines.layouts")
