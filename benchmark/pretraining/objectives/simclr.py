"""`simclr`: two views of an image are to be more alike than views of different images; needs no labels.

SimCLR: Chen et al. 2020, arXiv 2002.05709; on medical images, Azizi et al. 2021, arXiv 2101.05224.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..heads import SourceHeads
from ..objective import OBJECTIVES, PretrainObjective

TEMPERATURE = 0.2
"""Of the similarities: between SimCLR's best for short trainings (.5) and for long ones (.1)."""
EMBEDDING = 128
"""Width of the embedding that is compared, as in the paper."""


def nt_xent(one: Tensor, two: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the normalized temperature-scaled cross-entropy of each image, [n].

    Row i of `one` and `two`, [n, width], are the views of image i. Of each view, the other view of its image
    is to be found among the 2n - 1 other views by cosine similarity; the result is the mean of both.
    """
    count = len(one)
    views = F.normalize(torch.cat([one, two]), dim=1)
    itself = torch.eye(2 * count, dtype=torch.bool, device=one.device)
    similarity = (views @ views.T / temperature).masked_fill(itself, -torch.inf)
    partner = torch.arange(2 * count, device=one.device).roll(count)
    return F.cross_entropy(similarity, partner, reduction="none").view(2, count).mean(dim=0)


def simclr_losses(outputs: Tensor, targets: Tensor, heads: SourceHeads) -> Tensor:
    """Return the loss of each image among those of this part of the batch, [batch]."""
    one, two = outputs[:, -EMBEDDING:].split(len(targets))
    return nt_xent(one, two)


OBJECTIVES.add(
    "simclr",
    PretrainObjective(
        "self-supervised SimCLR",
        simclr_losses,
        views=2,
        uses_labels=False,
        embedding=EMBEDDING,
        augmentation="strong",
    ),
)
