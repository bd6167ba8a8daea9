"""A finished MedNet, read from its folder, and the features that every export of it must repeat."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...baselines.weights.checkpoint import CheckpointCard, init_from_card, read_checkpoint_card
from ...baselines.weights.load import load_backbone
from ...baselines.weights.prepare import CHANNELS, InputPreparation
from ...baselines.weights.probe_images import probes_for
from ...core.errors import UserError
from .modelcard import CARD

PROBES = 4
FEATURE_TOLERANCE = 1e-5
"""Largest difference of a feature, as a share of the largest feature if that is above 1."""


@dataclass(frozen=True, eq=False)
class FinishedMedNet:
    """Card, weights file and network of a MedNet; `backbone` is in eval mode, on the CPU."""

    card: CheckpointCard
    weights: Path
    backbone: nn.Module

    @property
    def channels(self) -> int:
        """Number of the network's input channels, 1 or 3."""
        return 1 if self.card.contract.channels == "gray" else CHANNELS

    def probe_levels(self) -> Tensor:
        """Return generated images of the network's size, float32 [4, channels, side, side] of 0..255."""
        images = probes_for(self.card.contract.channels, PROBES, self.card.input_size)
        return torch.from_numpy(images).float()

    @torch.inference_mode()
    def features(self, network: nn.Module) -> Tensor:
        """Return what `network`, with this MedNet's input, computes of the probes, [4, features]."""
        prepare = InputPreparation(self.card.contract, self.card.input_size)
        return network(prepare(self.probe_levels()))

    def check_features(self, found: Tensor, program: str) -> None:
        """Raise `UserError` where features of the probes, [4, features], are not those of the MedNet.

        `program` is the name of what computed them, for the error.
        """
        wanted = self.features(self.backbone)
        limit = FEATURE_TOLERANCE * max(1.0, float(wanted.abs().max()))
        error = float((found - wanted).abs().max()) if found.shape == wanted.shape else float("inf")
        if not error <= limit:  # NaN too
            raise UserError(
                f"{program} computes other features from the export of {self.card.name} (they differ by "
                f"{error:.2g}, {limit:.2g} is allowed): export to another format, or install another release."
            )


def read_mednet(folder: Path) -> FinishedMedNet:
    """Read the folder of a finished `pretrain`; hash, tensors and fingerprint are checked.

    Raises:
        UserError: it is another folder, or its files are damaged or do not belong together.
    """
    path = folder / CARD
    cure = "name the --out folder of a finished `mednet-bench pretrain`."
    if not path.is_file():
        raise UserError(f"{folder} is no MedNet folder, as it has no {CARD}: {cure}")
    card = read_checkpoint_card(path)
    if not (card.input_size and "steps" in card.training):
        raise UserError(f"{path} was not written by a pretraining: {cure}")
    weights = folder / card.path
    if not weights.is_file():
        raise UserError(f"{path} names the weights {weights}, which are not there: {cure}")
    init = init_from_card(card, card.name, weights, card.sha256.lower())
    backbone = load_backbone(init, card.arch, card.input_size, seed=0)
    return FinishedMedNet(card, weights, backbone.module.eval())
