"""Inspection of a checkpoint from the file alone, and a draft of its card."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import timm
import torch

from ...core.errors import UserError
from ...core.files import sha256_file
from ..init import InputSpec
from .archs import CIFAR_STEMS, build_backbone, classifier_names
from .checkpoint import CheckpointCard
from .fingerprint import fingerprint
from .input_spec import COMMON, InputEvidence, check_input_spec
from .layout import TargetModel
from .layout_derive import KeyMap, candidate_maps, refuse_keras
from .load_state_dict import (
    check_weight_values,
    choose_state_dict,
    load_total,
    network_names,
    read_state_dicts,
)
from .position_table import match_file, stored_image_size

if TYPE_CHECKING:
    from torch import Tensor, nn

FINGERPRINT_SIDE = 96
"""In pixels, for the fingerprint of a draft: enough for networks of any input size, and a check at every load
takes a fraction of a second."""
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


@dataclass(frozen=True, eq=False)
class InspectedCheckpoint:
    """Facts found in a checkpoint.

    Attributes:
        others: further archs whose tensors fit as well.
        state_dict: name of the state dict that was read; "" where the file's tensors are bare.
        ignored: names of the other state dicts.
        names: map from the file's tensors to the network's.
        parameters: number of trained parameters without the classifier.
        contract: the likeliest input contract.
        possible: every common contract without warnings, and its contrast.
        side: in pixels, at which evidence and fingerprint were computed.
        fingerprint: of the network under `contract`.
        image_size: of the position table in pixels, where it is not the arch's own; else 0.
    """

    file: Path
    sha256: str
    arch: str
    others: tuple[str, ...]
    state_dict: str
    ignored: tuple[str, ...]
    names: KeyMap
    shapes: dict[str, tuple[int, ...]]
    parameters: int
    contract: InputSpec
    evidence: InputEvidence
    possible: tuple[tuple[InputSpec, float], ...]
    side: int
    fingerprint: tuple[float, ...]
    image_size: int = 0

    def draft(self) -> CheckpointCard:
        """Return a card for these weights without the facts that only their author knows."""
        return CheckpointCard(
            name=self.file.stem,
            path=self.file.name,
            sha256=self.sha256,
            arch=self.arch,
            arch_args={"img_size": self.image_size} if self.image_size else {},
            input=self.contract,
            corpora=(),
            state_dict=self.state_dict if self.ignored else "",
            layout=self.names.layout,
            input_size=self.side,
            fingerprint=self.fingerprint,
        )


def inspect_checkpoint(
    file: Path, arch: str = "", layout: str = "", excused: tuple[str, ...] = (), state_dict: str = ""
) -> InspectedCheckpoint:
    """Find network, tensor names and input contract of a checkpoint, running no code from it.

    Args:
        file: the weights.
        arch: the network, or "" to try the common ones.
        layout: the only one to try, or "" for all.
        excused: prefixes of tensors that may be left over, as named in the file.
        state_dict: which of several in the file.

    Raises:
        UserError: the file cannot be read, no network fits totally, or it is a port from Keras.
    """
    found = read_state_dicts(file)
    state_dict, tensors = choose_state_dict(found, state_dict, file)
    refuse_keras(tensors, str(file))
    fits = [] if arch else _fitting_archs(tensors, excused)
    chosen = arch or next(iter((*fits, *_likely_archs(tensors))), "")
    if not chosen:
        raise UserError(
            f"The names in {file} ({', '.join(list(tensors)[:3])}, ...) are no common network's: pass --arch."
        )
    side, model = _build_model(chosen)
    target = TargetModel(chosen, model, classifier_names(chosen))
    target, names, image_size = match_file(
        tensors, target, partial(_build_for_table, chosen, side), excused, layout, str(file)
    )
    model = target.model.eval()
    check_weight_values(tensors, names.slots, str(file))
    load_total(model, names.convert(tensors), (), str(file))
    possible = tuple(_possible_contracts(model, side))
    contract = possible[0][0] if possible else InputSpec(**COMMON[0])  # type: ignore[arg-type]
    return InspectedCheckpoint(
        file=file,
        sha256=sha256_file(file),
        arch=chosen,
        others=(*fits[1:], *_padding_twins(chosen, names)),
        state_dict=state_dict,
        ignored=tuple(name for name in network_names(found) if name != state_dict),
        names=names,
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        contract=contract,
        evidence=check_input_spec(model, contract, side),
        possible=possible,
        side=side,
        fingerprint=fingerprint(model, contract, side),
        image_size=image_size,
    )


def _build_for_table(arch: str, side: int, image_size: int) -> nn.Module:
    return build_backbone(arch, side, args={"img_size": image_size})


def _likely_archs(names: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the archs of the family that tensor names match; no network is built."""
    return next((archs for pattern, archs in FAMILIES if any(re.search(pattern, name) for name in names)), ())


def _fitting_archs(tensors: Mapping[str, Tensor], excused: tuple[str, ...]) -> list[str]:
    """Return the likely archs that the tensors fit totally, then those with another position table.

    Archs that differ only in padding or epsilon (timm's `tf_` names) fit alike.
    """
    found, resized = [], []
    for arch in _likely_archs(tensors):
        try:
            with torch.device("meta"):  # names, shapes and settings without memory for weights
                target = TargetModel(arch, build_backbone(arch, 224), classifier_names(arch))
            maps = list(candidate_maps(tensors, target, excused))  # each may refuse
            if not all(names.account.faults for names in maps):
                found.append(arch)
            elif stored_image_size(maps, tensors, target.model):
                resized.append(arch)
        except UserError:  # torchvision's network differs in a setting
            continue
    return [*found, *resized]


def _build_model(arch: str) -> tuple[int, nn.Module]:
    """Return input size and network: `FINGERPRINT_SIDE`, or the only size that it takes."""
    try:
        return FINGERPRINT_SIDE, build_backbone(arch, FINGERPRINT_SIDE).eval()
    except UserError:
        cfg = timm.get_pretrained_cfg(arch) if timm.is_model(arch) else None
        if cfg is None:
            raise
        return cfg.input_size[-1], build_backbone(arch, cfg.input_size[-1]).eval()


def _padding_twins(arch: str, names: KeyMap) -> tuple[str, ...]:
    """Return the arch that differs only in padding and epsilon, which no tensor shows."""
    twin = arch.removeprefix("tf_") if arch.startswith("tf_") else f"tf_{arch}"
    return (twin,) if names.layout == "timm" and timm.is_model(twin) else ()


def _possible_contracts(model: nn.Module, side: int) -> list[tuple[InputSpec, float]]:
    """Return the common contracts without warnings, and their contrasts, nearest to 1 first."""
    found = []
    for facts in COMMON:
        for channels in ("rgb", "bgr"):
            contract = msgspec.convert({**facts, "channels": channels}, InputSpec)
            evidence = check_input_spec(model, contract, side)
            if evidence.checked and not evidence.warnings:
                found.append((contract, evidence.contrast))
                break  # "bgr" only where "rgb" has a warning
    return sorted(found, key=lambda pair: abs(math.log(pair[1])))
