"""`mae`: masked autoencoders in the names of the original code, which are timm's for the encoder.

Files of the pretraining hold the decoder too. Those of a fine-tuning with averaged tokens hold `fc_norm` in
place of `norm`, which are two networks: the arch argument `global_pool = "avg"` builds the second.
"""

from collections.abc import Sequence

from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, TensorSlot, excused_kinds

EXCUSED = {r"decoder_": "decoder", r"mask_token$": "mask token"}


@LAYOUTS.register("mae")
def mae_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Keep the encoder's names; the decoder and its mask token are left over."""
    if not any(name.startswith("decoder_") for name in names):
        return None
    return LayoutMap({name: TensorSlot(name) for name in names}, excused_kinds(names, EXCUSED))
