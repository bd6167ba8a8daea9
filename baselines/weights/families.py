"""Common networks by a tensor name that only their family has."""

import re
from collections.abc import Iterable

from .archs import CIFAR_STEMS

RESNETS = ("resnet50", "resnet18", "resnet34", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2")
NETS = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2", "tf_efficientnet_lite3")
EFFICIENT = tuple(f"efficientnet_b{size}" for size in range(5))
MOBILE = ("mobilenetv2_100", "mobilenetv3_large_100", "mobilenetv3_small_100")
FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(^|\.)(layer1\.0|\d\.0)\.conv1\.weight$", (*RESNETS, *CIFAR_STEMS)),
    (r"denseblock1\.denselayer1\.", ("densenet121", "densenet169", "densenet201", "densenet161")),
    (r"(^|\.)(Mixed_5b|\d+\.branch1x1)\.", ("inception_v3",)),
    (r"(^|\.)blocks\.0\.0\.(conv_dw|conv_pw|conv)\.", (*NETS, *EFFICIENT, *MOBILE)),
    (r"(^|\.)features\.1\.0\.(block|conv)\.0\.0\.", (*EFFICIENT, "mobilenetv2_100")),
    (r"(^|\.)stages\.0\.blocks\.0\.conv_dw\.", ("convnext_tiny", "convnext_small", "convnext_base")),
    (
        r"(^|\.)(pre_layrnorm|visual\.ln_pre)\.weight$",
        tuple(
            f"vit_{size}_clip_{act}224"
            for size in ("base_patch32", "base_patch16", "large_patch14")
            for act in ("quickgelu_", "")
        ),
    ),
    (r"(^|\.)head\.probe$", ("vit_base_patch16_siglip_224", "vit_so400m_patch14_siglip_384")),
    (
        r"(^|\.)(blocks\.(\d+\.)?0\.attn\.qkv|encoder\.layers\.encoder_layer_0\.self_attention"
        r"|encoder\.layer\.0\.attention\.attention\.query)\b",
        (
            *(f"vit_{size}_patch16_224" for size in ("tiny", "small", "base", "large")),
            *("vit_small_patch32_224", "vit_base_patch32_224"),
            *(
                f"vit_{size}_patch14_{reg}dinov2"
                for size in ("small", "base", "large")
                for reg in ("", "reg4_")
            ),
        ),
    ),
    (
        r"(^|\.)layers\.0\.blocks\.0\.attn\.qkv\.",
        tuple(f"swin_{size}_patch4_window7_224" for size in ("tiny", "small", "base")),
    ),
)
"""Pattern of a tensor name that only one family has, and its archs, the likeliest first."""


def likely_archs(names: Iterable[str]) -> tuple[str, ...]:
    """Return the archs of the family that tensor names match, the likeliest first; no network is built."""
    known = list(names)
    return next((archs for pattern, archs in FAMILIES if any(re.search(pattern, name) for name in known)), ())
