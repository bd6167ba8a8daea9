"""Training by whole epochs with fixed settings, in float32, as published scripts do it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...baselines.weights.load import load_backbone
from ...baselines.weights.prepare import InputPreparation, as_floats
from .fit import TaskTraining
from .loop import BatchSource, FitResult, OptimizerConfig, ValidationResult, fit, seed_torch
from .model import ImageClassifier, loss_of, place_model
from .protocol import EvalContext
from .published_script import PublishedScript
from .tensors import as_targets


class Float32Classifier(ImageClassifier):
    """A classifier without autocast, where the harness would take bf16 on a GPU; see `full_float32`."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [batch, outputs]."""
        with torch.autocast(images.device.type, enabled=False):
            return super().forward(images)


@dataclass(frozen=True, eq=False)
class PaddedPreparation(InputPreparation):
    """The input contract for images that are surrounded by zeros, after normalization, up to the side."""

    def resize(self, images: Tensor) -> Tensor:
        """Turn stored levels [batch, channels, h, w] into floats 0..255 of the same shape."""
        return as_floats(images)

    def normalize(self, images: Tensor) -> Tensor:
        """Turn floats 0..255 [batch, 1 or 3, h, w] into the network's input [batch, 3, side, side]."""
        margin = max(0, self.side - images.shape[-1])
        near, far = margin // 2, margin - margin // 2
        padded = F.pad(super().normalize(images), (near, far, near, far))
        return padded.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class ByScore(ValidationResult):
    """A validation that only a higher score beats: of equal ones the first is kept."""

    def beats(self, other: ValidationResult | None) -> bool:
        """Whether the score is higher; an undefined one is the lowest."""
        return other is None or _or_lowest(self.score) > _or_lowest(other.score)


@dataclass(frozen=True)
class ByLoss(ValidationResult):
    """A validation that only a lower loss beats."""

    def beats(self, other: ValidationResult | None) -> bool:
        """Whether the loss is lower."""
        return other is None or self.loss < other.loss


def _or_lowest(score: float | None) -> float:
    return -1.0 if score is None else score


def build_published(job: EvalContext, script: PublishedScript) -> TaskTraining:
    """Build the network of a job; random weights are drawn by PyTorch's own defaults."""
    cell = job.cell
    backbone = load_backbone(job.card, cell.arch, cell.input_size, cell.seed)
    if job.card.file is None:
        _redraw(backbone.module, cell.seed)
    backbone.module.requires_grad_(not script.head_only)
    model = place_model(Float32Classifier(backbone.module, len(job.task.classes), cell.seed), job.device)
    prepare = (PaddedPreparation if script.padded else InputPreparation)(job.card.contract, cell.input_size)
    return TaskTraining(job, model, prepare, backbone.weights)


def _redraw(network: nn.Module, seed: int) -> None:
    """Draw all weights anew as the scripts do, which leave PyTorch's defaults alone; timm has its own."""
    with seed_torch("cpu", seed):
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


@dataclass(frozen=True, eq=False)
class ScriptResult:
    """What a training by a script leaves; the network holds the weights of the kept epoch.

    Attributes:
        fitted: curve, best validation and notes.
        kept: number of the kept epoch, from 1.
        last: probabilities [n, classes] of the test split after the last epoch; None where patience ended it.
    """

    fitted: FitResult
    kept: int
    last: NDArray[np.float64] | None


def train_published(training: TaskTraining, script: PublishedScript) -> ScriptResult:
    """Train to the last epoch or the end of patience; the network keeps the epoch that the script keeps."""
    job = training.job
    batches = math.ceil(len(job.subset.train) / script.batch)
    hyper = OptimizerConfig(
        lr=script.lr,
        weight_decay=script.weight_decay,
        every=batches,
        patience=script.patience,
        schedule=lambda step: script.rate(step // batches),
    )
    kind = ByScore if script.keeps == "auc" else ByLoss
    seen: list[ValidationResult] = []
    last: list[NDArray[np.float64]] = []

    def validate() -> ValidationResult:
        found = training.validate()
        seen.append(kind(found.loss, found.score))
        if len(seen) == script.epochs:
            last.append(training.predict("test"))
        return seen[-1]

    with seed_torch(job.device, job.cell.seed):
        fitted = fit(training.model, epoch_batches(training, script, batches), hyper, validate)
    kept = 1 + next(place for place, found in enumerate(seen) if found is fitted.best)
    return ScriptResult(fitted, kept, last[0] if last else None)


def epoch_batches(training: TaskTraining, script: PublishedScript, batches: int) -> BatchSource:
    """Lay out the order of all epochs: a permutation each, cut into `batches`, without augmentation."""
    job = training.job
    rng = np.random.default_rng([job.cell.seed, 1])
    rows = np.stack([rng.permutation(job.subset.train) for _ in range(script.epochs)])
    order = torch.from_numpy(rows).to(job.device)  # [epochs, n]
    images, targets = job.data.images("train"), as_targets(job.data.splits["train"].labels, job.device)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        epoch, place = divmod(step, batches)
        shown = order[epoch, place * script.batch : (place + 1) * script.batch]
        return training.prepare(images[shown]), targets[shown]

    steps = script.epochs * batches
    return BatchSource(
        batch, loss_of(job.task.kind), steps, job.parts, min(script.batch, len(job.subset.train))
    )
