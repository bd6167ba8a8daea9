"""`mixed`: the sum of `supervised`, for images with labels, and `simclr`, for all images."""

import torch
from torch import Tensor

from ..heads import SourceHeads
from ..objective import OBJECTIVES, PretrainObjective
from .simclr import EMBEDDING, simclr_losses
from .supervised import supervised_losses


def mixed_losses(outputs: Tensor, targets: Tensor, heads: SourceHeads) -> Tensor:
    """Return the sum of both losses of each image, [batch]; the supervised one is the mean over views."""
    views = outputs.split(len(targets))
    supervised = torch.stack([supervised_losses(view, targets, heads) for view in views]).mean(dim=0)
    return supervised + simclr_losses(outputs, targets, heads)


OBJECTIVES.add(
    "mixed",
    PretrainObjective(
        "supervised + self-supervised SimCLR",
        mixed_losses,
        views=2,
        embedding=EMBEDDING,
        augmentation="strong",
    ),
)
