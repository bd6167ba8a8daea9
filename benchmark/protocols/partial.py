"""`partial`: training of the last stages and the head; the stages before them are frozen.

Stages are those of `baselines.weights.stages`, to which every tensor belongs, as in the similarity per stage:
five of a ResNet or EfficientNet, of a vision transformer one per block.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import msgspec

from ...baselines.weights.stages import stages
from ...core.errors import UserError
from ..training.protocol import PROTOCOLS
from ..training.protocol_options import option_text
from ..training.tuned_training import TunedTraining

if TYPE_CHECKING:
    from torch import nn


class PartialOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `partial`."""

    stages: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="Number of last stages to train, from 1.")
    ] = 1


class PartialProtocol(TunedTraining):
    """AdamW on the last stages and the head."""

    options = PartialOptions

    def adapt_backbone(self, backbone: nn.Module, options: PartialOptions, seed: int) -> Collection[str]:
        """Freeze the stages before the last ones; `UserError` where the network has fewer."""
        found = stages(backbone)
        if options.stages > len(found):
            given = option_text("partial", "stages", options.stages)
            raise UserError(f"{given}: the network has {len(found)} stages; pass at most {len(found)}.")
        frozen = found[: len(found) - options.stages]
        return {tensor for stage in frozen for tensor in stage.tensors}


PROTOCOLS.add("partial", PartialProtocol())
