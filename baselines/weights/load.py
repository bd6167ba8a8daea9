"""Loading of an init's weights into a network, with every tensor checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ...core.errors import UserError
from ...core.files import sha256_file
from ..init import ArchArg, InitCard
from .archs import build_backbone, classifier_names
from .fingerprint import check_fingerprint
from .layout import TargetModel
from .load_state_dict import check_weight_values, load_total, read_tensors, rename_by_order
from .position_table import match_file, resampling_note
from .transform import transform_weights

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedBackbone:
    """A network without classifier, and the identity of its weights.

    Attributes:
        module: maps [batch, 3, side, side], or 1 channel for a "gray" contract, to pooled features
            [batch, features]; on the CPU.
        weights: "sha256:..." of the checkpoint, or "random:seed".
        notes: clauses on what was adapted in loading, such as a resampled position table.
    """

    module: nn.Module
    weights: str
    notes: tuple[str, ...] = ()


def load_backbone(card: InitCard, arch: str, input_size: int, seed: int) -> LoadedBackbone:
    """Build `arch` and load the weights that `card` names.

    Args:
        card: a resolved init, whose pretraining is finished.
        arch: timm architecture.
        input_size: in pixels, of the network's square input.
        seed: of random weights and random transforms.

    Raises:
        UserError: the file is absent, damaged, or does not fit; or its hash or fingerprint is not the card's.
    """
    args = dict(card.arch_args)
    model = _build_seeded(arch, input_size, args, seed)
    if card.file is None:
        return LoadedBackbone(model, f"random:{seed}")
    if not card.file.is_file():
        raise UserError(f"The weights of {card.name} are not at {card.file}: run the same command again.")
    _LOG.debug(f"reading the weights of {card.name} from {card.file}")
    found = sha256_file(card.file)
    if card.sha256 and found != card.sha256:
        cure = (
            "run the same command again to make it anew"
            if card.pretraining
            else "fetch it again or correct the card"
        )
        raise UserError(
            f"{card.file} is not the file that the card of {card.name} describes "
            f"(sha256 {found[:12]}... instead of {card.sha256[:12]}...): {cure}."
        )
    tensors = read_tensors(card.file, card.state_dict)
    if card.rename == "order":
        names = build_backbone(arch, input_size, 1000, args).state_dict()
        tensors = rename_by_order(tensors, names, card.name)
    origin = f"{card.name} ({card.file})"
    target = TargetModel(arch, model, classifier_names(arch))

    def build(size: int) -> nn.Module:
        return _build_seeded(arch, input_size, {**args, "img_size": size}, seed)

    rebuild = None if "img_size" in args else build
    target, names, size = match_file(tensors, target, rebuild, card.excused, card.layout, origin)
    model, notes = target.model, ()
    if size:
        card = replace(card, arch_args=(*card.arch_args, ("img_size", size)))
        notes = tuple(filter(None, [resampling_note(model, size, input_size)]))
    random = {name: tensor.clone() for name, tensor in model.state_dict().items()} if card.transform else {}
    check_weight_values(tensors, names.slots, origin)
    load_total(model, names.convert(tensors), (), origin)
    if card.fingerprint:
        _check_fingerprint(card, arch, input_size, model, origin)
    if card.transform:
        transform_weights(card.transform, model, random, arch, seed)
    return LoadedBackbone(model, f"sha256:{found}", notes)


def _build_seeded(arch: str, input_size: int, args: Mapping[str, ArchArg], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_backbone(arch, input_size, args=args)


def _check_fingerprint(card: InitCard, arch: str, input_size: int, model: nn.Module, origin: str) -> None:
    """Check the card's fingerprint at its own input size; `UserError` where it differs."""
    if card.fingerprint_size != input_size:  # some networks take only the size that they are built for
        native = build_backbone(arch, card.fingerprint_size, args=dict(card.arch_args))
        native.load_state_dict(model.state_dict())
        model = native
    check_fingerprint(model, card.contract, card.fingerprint_size, card.fingerprint, origin)
