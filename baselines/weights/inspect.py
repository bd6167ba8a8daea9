"""Inspection of a checkpoint from the file alone, and a draft of its card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import timm

from ...core.errors import UserError
from ...core.files import sha256_file
from ..init import ArchArg, InputSpec
from .archs import build_backbone, classifier_names
from .checkpoint import CheckpointCard
from .fingerprint import fingerprint
from .input_spec import COMMON, InputEvidence, check_input_spec, common_contracts
from .layout import TargetModel
from .layout_derive import ArchFit, KeyMap, compare_archs, refuse_keras
from .load_state_dict import (
    check_weight_values,
    choose_state_dict,
    load_total,
    network_names,
    read_state_dicts,
)
from .position_table import match_file

if TYPE_CHECKING:
    from torch import nn

FINGERPRINT_SIDE = 96
"""In pixels, for the fingerprint of a draft: enough for networks of any input size, and a check at every load
takes a fraction of a second."""


@dataclass(frozen=True, eq=False)
class InspectedCheckpoint:
    """Facts found in a checkpoint.

    Attributes:
        one_channel: whether the network has one input channel.
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
    one_channel: bool
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

    @property
    def arch_args(self) -> dict[str, ArchArg]:
        """Arguments of timm that the tensors show."""
        channels: dict[str, ArchArg] = {"in_chans": 1} if self.one_channel else {}
        return channels | ({"img_size": self.image_size} if self.image_size else {})

    def draft(self) -> CheckpointCard:
        """Return a card for these weights without the facts that only their author knows."""
        return CheckpointCard(
            name=self.file.stem,
            path=self.file.name,
            sha256=self.sha256,
            arch=self.arch,
            arch_args=self.arch_args,
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
    ranked = compare_archs(tensors, excused, (arch,) if arch else ())
    if not ranked:
        raise UserError(
            f"The names in {file} ({', '.join(list(tensors)[:3])}, ...) are no common network's: pass --arch."
        )
    chosen = ranked[0]
    side, model = _build_model(chosen)
    target = TargetModel(chosen.arch, model, classifier_names(chosen.arch))
    target, names, image_size = match_file(
        tensors, target, partial(_build_for_table, chosen, side), excused, layout, str(file)
    )
    model = target.model.eval()
    check_weight_values(tensors, names.slots, str(file))
    load_total(model, names.convert(tensors), (), str(file))
    channels = ("gray",) if chosen.one_channel else ("rgb", "bgr")
    possible = tuple(_possible_contracts(model, side, channels))
    fallback = msgspec.convert({**COMMON[0], "channels": channels[0]}, InputSpec)
    contract = possible[0][0] if possible else fallback
    return InspectedCheckpoint(
        file=file,
        sha256=sha256_file(file),
        arch=chosen.arch,
        one_channel=chosen.one_channel,
        others=(*(each.arch for each in ranked[1:] if not each.faults), *_padding_twins(chosen.arch, names)),
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


def _build_for_table(fit: ArchFit, side: int, image_size: int) -> nn.Module:
    return build_backbone(fit.arch, side, args={**fit.args, "img_size": image_size})


def _build_model(fit: ArchFit) -> tuple[int, nn.Module]:
    """Return input size and network: `FINGERPRINT_SIDE`, or the only size that it takes."""
    arch = fit.arch
    try:
        return FINGERPRINT_SIDE, build_backbone(arch, FINGERPRINT_SIDE, args=fit.args).eval()
    except UserError:
        cfg = timm.get_pretrained_cfg(arch) if timm.is_model(arch) else None
        if cfg is None:
            raise
        return cfg.input_size[-1], build_backbone(arch, cfg.input_size[-1], args=fit.args).eval()


def _padding_twins(arch: str, names: KeyMap) -> tuple[str, ...]:
    """Return the arch that differs only in padding and epsilon, which no tensor shows."""
    twin = arch.removeprefix("tf_") if arch.startswith("tf_") else f"tf_{arch}"
    return (twin,) if names.layout == "timm" and timm.is_model(twin) else ()


def _possible_contracts(
    model: nn.Module, side: int, orders: tuple[str, ...]
) -> list[tuple[InputSpec, float]]:
    """Return the common contracts without warnings, and their contrasts, nearest to 1 first."""
    found = []
    for facts in common_contracts(orders[0]):
        for channels in orders:
            contract = msgspec.convert({**facts, "channels": channels}, InputSpec)
            evidence = check_input_spec(model, contract, side)
            if evidence.checked and not evidence.warnings:
                found.append((contract, evidence.contrast))
                break  # "bgr" only where "rgb" has a warning
    return sorted(found, key=lambda pair: abs(math.log(pair[1])))
