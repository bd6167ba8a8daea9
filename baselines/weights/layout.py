"""Layouts: the ways in which published files name the tensors of a network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from ...core.registry import Registry

if TYPE_CHECKING:
    from torch import nn

TensorCut = Literal["", "query", "key and value", "class position", "grid positions"]
"""The part of a file's tensor that a tensor of the network takes: all of it; the first third of the rows of a
joined attention, or the others; the first token of a position table [1, tokens, width], or the others."""


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
        cut: what the network's tensor takes of the file's; a class position is added to the class token.
    """

    name: str
    part: int = 0
    axes: int = 0
    cut: TensorCut = ""


@dataclass(frozen=True, eq=False)
class LayoutMap:
    """What a layout makes of a file's names.

    Attributes:
        slots: for every name of the file; `layout_derive` accounts for those without counterpart.
        excused: name in the file -> what it is, such as "decoder"; left over by a rule of the layout.
        second: name in the file -> second place, for a tensor that holds two of the network's.
    """

    slots: Mapping[str, TensorSlot]
    excused: Mapping[str, str] = field(default_factory=dict)
    second: Mapping[str, TensorSlot] = field(default_factory=dict)


def rename_map(names: Mapping[str, str], excused: Mapping[str, str] | None = None) -> LayoutMap:
    """Return the map of a layout that only renames; `names` are the file's to the network's."""
    return LayoutMap({old: TensorSlot(new) for old, new in names.items()}, excused or {})


def rename_by_rules(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """Return a name after all replacements of patterns, in order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def excused_kinds(names: Iterable[str], rules: Mapping[str, str]) -> dict[str, str]:
    """Return the names that a rule excuses, and what they are; a rule is a pattern of a name's start."""
    return {
        name: kind
        for name in names
        if (kind := next((kind for pattern, kind in rules.items() if re.match(pattern, name)), ""))
    }


class TensorLayout(Protocol):
    """A recognizer of tensor names."""

    def __call__(self, names: Sequence[str], target: TargetModel) -> LayoutMap | None:
        """Return the network's place for every name of the file, or None for another layout."""
        ...


LAYOUTS: Registry[TensorLayout] = Registry("layout", "mednet_bench.baselines.layouts")
