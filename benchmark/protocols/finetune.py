"""`finetune`: training of all weights; validation chooses the learning rate and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from ...core.errors import UserError
from ..schema.budget import is_vision_transformer
from ..schema.plan import OptionValue
from ..training.protocol import PROTOCOLS, EvalContext
from ..training.protocol_options import option_text
from ..training.tuned_training import TunedTraining

if TYPE_CHECKING:
    from ..training.fit import TaskTraining

VIT_LAYER_DECAY = 0.75
"""Default of BEiT (Bao et al. 2022) and MAE (He et al. 2022) for their base models, and of timm."""


class FinetuneOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `finetune`."""

    layer_decay: (
        Annotated[
            float,
            msgspec.Meta(
                gt=0,
                le=1,
                description="Factor of the learning rate from a layer to the one before it, "
                "above 0 and at most 1.",
            ),
        ]
        | None
    ) = None
    """None for `VIT_LAYER_DECAY` of vision transformers, and 1 of other networks."""


class FinetuneProtocol(TunedTraining):
    """AdamW on all weights, for vision transformers with smaller rates in early layers."""

    options = FinetuneOptions

    def cell_options(self, options: FinetuneOptions, arch: str) -> dict[str, OptionValue]:
        """Return the decay of an architecture; none where it is 1, which is plain AdamW."""
        decay = options.layer_decay
        if decay is None:
            decay = VIT_LAYER_DECAY if is_vision_transformer(arch) else 1.0
        return {} if decay == 1 else {"layer_decay": decay}

    def check_arch(self, arch: str, input_size: int, options: FinetuneOptions) -> None:
        """Raise `UserError` for a decay where timm does not list the layers."""
        from ...baselines.weights.archs import build_backbone

        decay = options.layer_decay
        if decay not in (None, 1) and not hasattr(build_backbone(arch, input_size), "group_matcher"):
            given = option_text("finetune", "layer_decay", decay)
            raise UserError(f"{arch}: {given}: timm lists no layers of this network; pass 1.")

    def build_training(self, job: EvalContext) -> TaskTraining:
        """Build the network; a cell without options has no decay."""
        training = super().build_training(job)
        training.layer_decay = job.options.layer_decay or 1.0
        return training


PROTOCOLS.add("finetune", FinetuneProtocol())
