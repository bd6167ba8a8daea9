"""What a pretraining minimizes: the interface of the modules in `objectives`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from .heads import SourceHeads


@dataclass(frozen=True)
class PretrainObjective:
    """An objective; the network has what it needs and nothing else.

    Attributes:
        label: for cards and reports, in the words of public weights, such as "self-supervised DINO".
        losses: (outputs, targets, heads) -> loss of each image, [batch]. Outputs are float32
            [views * batch, logits + embedding], view by view; targets as `SourceHeads.targets` returns them.
            Images are compared within this part of the batch only, so that the loss does not depend on the
            number of processes.
        views: augmented views of each image.
        uses_labels: whether the network has the sources' classification heads.
        embedding: width of an embedding after the logits; 0 has none, and images need labels.
        augmentation: default, a name in `AUGMENTATIONS`.
    """

    label: str
    losses: Callable[[Tensor, Tensor, SourceHeads], Tensor]
    views: int = 1
    uses_labels: bool = True
    embedding: int = 0
    augmentation: Literal["standard", "strong"] = "standard"

    @property
    def takes_unlabeled(self) -> bool:
        """Whether it learns from images without labels."""
        return self.embedding > 0


OBJECTIVES: Registry[PretrainObjective] = Registry(
    "objective", "mednet_bench.benchmark.pretraining.objectives"
)
