"""A MedNet as an ONNX file with its input normalization built in."""

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...baselines.init import InputSpec
from ...baselines.weights.prepare import scale_and_shift
from ...core.errors import UserError
from ...core.files import write_bytes
from ...core.optional import import_extra
from .mednet_folder import FinishedMedNet

FILE, INPUT, OUTPUT = "model.onnx", "images", "features"
MOST_BYTES = 2**31 - 2**20
"""Largest size of the tensors: protobuf reads no file of 2 GiB."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class LevelFeatures(nn.Module):
    """A backbone after its normalization; it takes levels, float32 [batch, 1 or 3, side, side] of 0..255."""

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: nn.Module, contract: InputSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.flips = contract.channels == "bgr"
        scale, shift = scale_and_shift(contract, torch.device("cpu"))
        self.register_buffer("scale", scale.clone())
        self.register_buffer("shift", shift.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Return pooled features [batch, features]."""
        levels = images.flip(1) if self.flips else images
        return self.backbone(levels * self.scale + self.shift)


def require_onnx() -> None:
    """Raise `UserError` where a package of the extra is missing."""
    for package in PACKAGES:
        import_extra(package, "onnx", "Exporting to ONNX")


def write_onnx(mednet: FinishedMedNet, folder: Path) -> None:
    """Write the network into `folder` as `model.onnx`, and run it with onnxruntime.

    Raises:
        UserError: a package is missing, ONNX cannot hold the network, or onnxruntime computes other features.
    """
    onnx = import_extra("onnx", "onnx", "Exporting to ONNX")
    size = sum(tensor.nbytes for tensor in mednet.backbone.state_dict().values())
    if size > MOST_BYTES:
        raise UserError(
            f"{mednet.card.name} has {size / 1e9:.1f} GB, and an ONNX file 2 at most: take --to timm."
        )
    model = _convert(LevelFeatures(mednet.backbone, mednet.card.contract).eval(), mednet)
    onnx.helper.set_model_props(model, _metadata(mednet))
    write_bytes(folder / FILE, model.SerializeToString())
    found = _run(folder / FILE, mednet.probe_levels())
    mednet.check_features(found, f"onnxruntime {version('onnxruntime')}")


def _convert(network: LevelFeatures, mednet: FinishedMedNet) -> Any:
    """Return the network as an `onnx.ModelProto` for batches of any size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on how the exporter itself is built
            program = torch.onnx.export(
                network,
                (mednet.probe_levels(),),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"torch.onnx cannot export {mednet.card.arch} ({reason}): take --to timm.") from error
    assert program is not None  # it is None for the exporter of TorchScript only
    return program.model_proto


def input_text(mednet: FinishedMedNet) -> str:
    """Return one sentence on the input of the ONNX file."""
    side, channels = mednet.card.input_size, mednet.channels
    color = "gray" if channels == 1 else "RGB (a gray image three times)"
    return (
        f"`{INPUT}` is float32 [batch, {channels}, {side}, {side}], {color}, with levels from 0 (black) to "
        "255 (white); mean and standard deviation are built in."
    )


def _metadata(mednet: FinishedMedNet) -> dict[str, str]:
    """Return the metadata of the file: input, sources, license, weights."""
    card = mednet.card
    sources = (
        f"{each.id} ({each.images} images, {each.license or 'license unknown'})" for each in card.corpus
    )
    return {
        "name": card.name,
        "input": input_text(mednet),
        "sources": "; ".join(sources),
        "seen": ", ".join(card.corpora),
        "left_out": ", ".join(card.leave_out),
        "license": card.license,
        "sha256_of_weights": card.sha256,
    }


def _run(path: Path, levels: Tensor) -> Tensor:
    """Return the features of levels [batch, 1 or 3, side, side], [batch, features], by onnxruntime."""
    runtime = import_extra("onnxruntime", "onnx", "Exporting to ONNX")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([OUTPUT], {INPUT: levels.numpy()})[0])
