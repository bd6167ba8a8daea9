"""Classifier of a backbone and a fresh head, with its loss and predictions."""

from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...baselines.weights.archs import feature_width
from ...baselines.weights.prepare import InputPreparation
from ...core.hardware import keep_freed_memory
from ...core.progress import track
from .cuda_graph import RecordedForwards
from .device_data import copied_ahead
from .loop import autocast_precision, free_memory, is_short_memory, seed_torch

EVAL_BATCH = 256
"""Images of a batch in evaluation."""
GPU_EVAL_PIXELS, CPU_EVAL_PIXELS = 2048 * 64**2, 256 * 64**2
"""Pixels of a batch in evaluation: at least so many on a GPU, which small batches would leave idle; at most
so many on a CPU, whose caches and memory larger batches leave."""

Module = TypeVar("Module", bound=nn.Module)


class PartlyFrozen(nn.Module):
    """A network some of whose modules, `frozen_modules`, stay in eval mode; see `freeze_tensors`."""

    frozen_modules: tuple[nn.Module, ...] = ()

    def train(self, mode: bool = True) -> "PartlyFrozen":
        """Set training mode, in which frozen modules stay in eval mode."""
        super().train(mode)
        for module in self.frozen_modules:
            module.eval()
        return self


class ImageClassifier(PartlyFrozen):
    """A backbone from [batch, 3, side, side] to [batch, features], and a linear head.

    The head depends on the seed only, so that it is the same for every init. The tensors of the backbone
    named in `frozen`, keys of its `state_dict`, are not trained: neither weights nor batch-norm statistics.
    """

    def __init__(self, backbone: nn.Module, outputs: int, seed: int, frozen: Collection[str] = ()) -> None:
        super().__init__()
        self.backbone = backbone
        self.frozen_modules = freeze_tensors(backbone, frozen)
        with seed_torch("cpu", seed):
            self.head = nn.Linear(feature_width(backbone), outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [batch, outputs]."""
        return self.head(self.backbone(images))


def freeze_tensors(network: nn.Module, names: Collection[str]) -> tuple[nn.Module, ...]:
    """Exclude tensors from training, and return the modules that must stay in eval mode for it.

    These are the modules all of whose tensors are frozen, and batch norm with frozen statistics.

    Args:
        network: changed in place.
        names: keys of its `state_dict`, parameters and buffers.
    """
    names = set(names)
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if name in names:
            parameter.requires_grad_(False)
    holders: dict[bool, set[str]] = {True: set(), False: set()}  # by whether a tensor in it is frozen
    for name in network.state_dict():
        parts = name.split(".")[:-1]
        holders[name in names] |= {".".join(parts[:depth]) for depth in range(len(parts) + 1)}
    still = holders[True] - holders[False]
    still |= {name.removesuffix(".running_mean") for name in names if name.endswith(".running_mean")}
    return tuple(module for name, module in network.named_modules() if name in still)


def loss_of(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of a kind of task: BCE for multilabel, unsmoothed cross-entropy otherwise."""
    return F.binary_cross_entropy_with_logits if kind == "multilabel" else F.cross_entropy


def place_model(module: Module, device: str) -> Module:
    """Move a network to the device in channels last, on CPU up to 4 times faster if depthwise.

    On a CPU the process then keeps the memory that steps and batches free for the next ones.
    """
    if device == "cpu":
        keep_freed_memory()
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    module.to(torch.device(device))
    return module


def eval_batch(device: torch.device, input_size: int) -> int:
    """Return the images of a batch in evaluation, at the input size in pixels."""
    if device.type == "cuda":
        return max(EVAL_BATCH, GPU_EVAL_PIXELS // input_size**2)
    return max(1, min(EVAL_BATCH, CPU_EVAL_PIXELS // input_size**2))


@torch.inference_mode()
def outputs_of(
    model: nn.Module, prepare: InputPreparation, images: Tensor, graphs: RecordedForwards | None = None
) -> Tensor:
    """Return the outputs of `model` in eval mode, float32 [n, width] on the device.

    `images` are as stored, [n, 1 or 3, h, w], on the device or in host memory. Where memory is short the
    batch is halved.

    Args:
        graphs: forward passes of `model`, see `forward_pass`, as CUDA graphs.
    """
    device = next(model.parameters(), images).device
    size, run = eval_batch(device, prepare.side), graphs or forward_pass(model, prepare)
    while True:
        batches: Iterable[Tensor] = images.split(size)
        if images.device.type != device.type:
            batches = copied_ahead(batches, device)
        try:
            parts = []
            with track("predicting", len(images), "images") as advance:
                for batch in batches:
                    parts.append(run(batch))
                    advance(len(batch))
            return torch.cat(parts)
        except RuntimeError as error:
            if size == 1 or not is_short_memory(error):
                raise
        size, run = size // 2, forward_pass(model, prepare)
        free_memory()  # only here: see `retry_in_parts`


def forward_pass(model: nn.Module, prepare: InputPreparation) -> Callable[[Tensor], Tensor]:
    """Return the function from a batch of stored images to the outputs of a network, float32."""

    def run(batch: Tensor) -> Tensor:
        with autocast_precision(batch.device):
            return model(prepare(batch)).float()

    return run


def to_probabilities(logits: Tensor, kind: str) -> NDArray[np.float64]:
    """Return probabilities [n, classes] of logits, as float64 on the CPU."""
    logits = logits.cpu().double()  # in this order: not every device has float64
    return (logits.sigmoid() if kind == "multilabel" else logits.softmax(dim=1)).numpy()
