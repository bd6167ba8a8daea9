"""`torchvision`: EfficientNets, MobileNetV2 by module order; ViTs, old DenseNets by rules."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torchvision.models import get_model

from ...core.errors import UserError
from ..weights.layout import LAYOUTS, LayoutMap, TargetModel, rename_by_rules, rename_map
from ..weights.layout_order import names_by_modules

BY_ORDER = {
    **{f"efficientnet_b{size}": f"efficientnet_b{size}" for size in range(8)},
    "mobilenetv2_100": "mobilenet_v2",
}
"""timm's name to torchvision's, where both build the same network from the same modules in the same order.
Pairs that differ in a setting are refused: from B5 on and in MobileNetV3, the epsilon of torchvision's batch
norm is 0.001 and timm's 1e-05."""

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""torchvision's DenseNet files of 2017 write `norm.1` for today's `norm1`."""

VIT = {
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
}
VIT_RULES = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+\.)ln_([12])\.", r"\1norm\2."),
    (r"^(blocks\.\d+\.)self_attention\.in_proj_", r"\1attn.qkv."),
    (r"^(blocks\.\d+\.)self_attention\.out_proj\.", r"\1attn.proj."),
    (r"^(blocks\.\d+\.)mlp\.(?:0|linear_1)\.", r"\1mlp.fc1."),
    (r"^(blocks\.\d+\.)mlp\.(?:3|linear_2)\.", r"\1mlp.fc2."),
    (r"^heads\.head\.", "head."),
)


@LAYOUTS.register("torchvision")
def torchvision_names(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    """Map the tensor names of torchvision's networks to timm's."""
    if any(OLD_DENSENET.search(name) for name in names):
        return rename_map({name: OLD_DENSENET.sub(r"\1\2", name) for name in names})
    if "class_token" in names and target.arch in VIT.values():
        return rename_map({name: rename_by_rules(name, VIT_RULES) for name in names})
    if target.arch in BY_ORDER and "features.0.0.weight" in names:
        return _by_order(names, target)
    return None


def _by_order(names: Sequence[str], target: TargetModel) -> LayoutMap | None:
    with torch.device("meta"):
        reference = get_model(BY_ORDER[target.arch], weights=None)
    del reference.classifier
    known = names_by_modules(reference, target.model)
    if isinstance(known, str):
        raise UserError(
            f"torchvision's {BY_ORDER[target.arch]} and timm's {target.arch} are not the same network "
            f"({known}), and with these weights it would compute something else: take some of timm's names."
        )
    return rename_map({name: known.get(name, name) for name in names})
