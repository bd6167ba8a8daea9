"""`supervised`: classification of each source's images by a head of its own."""

from torch import Tensor

from ..heads import SourceHeads
from ..objective import OBJECTIVES, PretrainObjective


def supervised_losses(outputs: Tensor, targets: Tensor, heads: SourceHeads) -> Tensor:
    """Return each image's loss in the head of its source, [batch]; 0 for an image without a label."""
    return heads.losses(outputs[:, : heads.outputs], targets)


OBJECTIVES.add("supervised", PretrainObjective("supervised", supervised_losses))
