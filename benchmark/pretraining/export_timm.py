"""A MedNet as a folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` reads."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg
from torch import nn

from ...baselines.weights.archs import CIFAR_STEMS, feature_width, flexible_size
from ...baselines.weights.checkpoint import CheckpointCard
from ...core.errors import UserError
from ...core.files import open_regular, write_atomic, write_json
from .mednet_folder import FinishedMedNet

WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""Names that timm looks for."""


def write_timm(mednet: FinishedMedNet, folder: Path) -> None:
    """Write the weights and timm's configuration of a MedNet into `folder`, and load them with timm.

    Raises:
        UserError: timm cannot build this network, or it computes other features.
    """
    config = timm_config(mednet)
    with open_regular(mednet.weights) as source:
        write_atomic(folder / WEIGHTS, lambda file: shutil.copyfileobj(source, file))
    write_json(folder / CONFIG, config)
    mednet.check_features(mednet.features(_build(config, folder / WEIGHTS)), f"timm {version('timm')}")


def timm_config(mednet: FinishedMedNet) -> dict[str, Any]:
    """Return the content of timm's `config.json`; `UserError` where it cannot describe the network.

    timm scales images to 0..1 and resizes them to a square of the input size.
    """
    card = mednet.card
    if card.arch in CIFAR_STEMS:
        raise UserError(f"{card.arch} is no network of timm: take --to onnx.")
    if card.input.channels == "bgr":
        raise UserError(f"{card.name} takes BGR images, which timm does not know: take --to onnx.")
    known = timm.get_pretrained_cfg(card.arch) or PretrainedCfg()
    white = card.input.value_range
    return {
        "architecture": card.arch,
        "num_classes": 0,
        "num_features": feature_width(mednet.backbone),
        "model_args": _model_args(card, known),
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [mednet.channels, card.input_size, card.input_size],
            "fixed_input_size": known.fixed_input_size,
            "interpolation": card.input.interpolation,
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": [mean / white for mean in card.input.mean[: mednet.channels]],
            "std": [std / white for std in card.input.std[: mednet.channels]],
            "num_classes": 0,
            "first_conv": known.first_conv,
            "classifier": known.classifier,
            "license": card.license,
            "description": f"{card.name}, a network pretrained on medical images; see README.md",
        },
    }


def _model_args(card: CheckpointCard, known: PretrainedCfg) -> dict[str, Any]:
    """Return the arguments of `create_model` beside the name.

    A transformer keeps the position table of its own size, which it resamples in the forward pass as it did
    in the pretraining.
    """
    own = dict(card.arch_args)
    native = int(own.get("img_size", known.input_size[-1]))
    flexible = flexible_size(card.arch, card.input_size, native)
    return {**({"img_size": native, **flexible} if flexible else {}), **own}


def _build(config: dict[str, Any], weights: Path) -> nn.Module:
    """Build the network from its configuration, as releases before 1.0.16 (without "local-dir:") can too."""
    source = {**config["pretrained_cfg"], "file": str(weights)}
    try:
        network = timm.create_model(
            config["architecture"], pretrained=True, pretrained_cfg=source, **config["model_args"]
        )
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"timm {version('timm')} cannot build {config['architecture']} from a configuration file "
            f"({reason}): take --to onnx."
        ) from error
    return network.eval()
