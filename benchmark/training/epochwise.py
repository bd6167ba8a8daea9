"""Training in whole epochs with the fixed settings of a published script, in float32."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...baselines.weights.load import load_backbone
from ...baselines.weights.prepare import InputPreparation, as_floats
from .device_data import RowBatches, as_targets
from .fit import TaskTraining
from .loop import BatchSource, FitResult, OptimizerConfig, ValidationResult, fit, seed_torch
from .model import ImageClassifier, loss_of, place_model
from .protocol import EvalContext
from .published_script import PublishedScript


class Float32Classifier(ImageClassifier):
    """A classifier without autocast to bf16 on a GPU; see `full_float32`."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [batch, outputs]."""
        with torch.autocast(images.device.type, enabled=False):
            return super().forward(images)


@dataclass(frozen=True, eq=False)
class PaddedPreparation(InputPreparation):
    """The input contract with padding of zeros up to `side`, after normalization."""

    def resize(self, images: Tensor) -> Tensor:
        """Convert stored levels [batch, channels, h, w] to floats 0..255 of the same shape."""
        return as_floats(images)

    def normalize(self, images: Tensor) -> Tensor:
        """Convert floats 0..255 [batch, 1 or 3, h, w] to the network's input [batch, 3, side, side]."""
        margin = max(0, self.side - images.shape[-1])
        near, far = margin // 2, margin - margin // 2
        padded = F.pad(super().normalize(images), (near, far, near, far))
        return padded.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class ScoreValidation(ValidationResult):
    """A validation that only a higher score beats, so that the first of equal ones is kept."""

    def beats(self, other: ValidationResult | None) -> bool:
        """Whether the score is higher; an undefined one is the lowest."""
        mine, theirs = self.score, None if other is None else other.score
        return other is None or (-1.0 if mine is None else mine) > (-1.0 if theirs is None else theirs)


@dataclass(frozen=True)
class LossValidation(ValidationResult):
    """A validation that only a lower loss beats."""

    def beats(self, other: ValidationResult | None) -> bool:
        """Whether the loss is lower."""
        return other is None or self.loss < other.loss


def build_published(job: EvalContext, script: PublishedScript) -> TaskTraining:
    """Build the network of a job; random weights are initialized by PyTorch's defaults."""
    cell = job.cell
    backbone = load_backbone(job.card, cell.arch, cell.input_size, cell.seed)
    if job.card.file is None:
        _redraw(backbone.module, cell.seed)
    backbone.module.requires_grad_(not script.head_only)
    model = place_model(Float32Classifier(backbone.module, len(job.task.classes), cell.seed), job.device)
    prepare = (PaddedPreparation if script.padded else InputPreparation)(job.card.contract, cell.input_size)
    return TaskTraining(job, model, prepare, backbone.weights)


def _redraw(network: nn.Module, seed: int) -> None:
    """Draw all weights again by PyTorch's defaults, as the scripts do, instead of by timm's."""
    with seed_torch("cpu", seed):
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


@dataclass(frozen=True, eq=False)
class ScriptResult:
    """Result of a training by a script.

    Attributes:
        fitted: curve and best validation.
        kept: number of the kept epoch, from 1.
        last: test probabilities [n, classes] after the last epoch; None where patience stopped the training.
    """

    fitted: FitResult
    kept: int
    last: NDArray[np.float64] | None


def train_published(training: TaskTraining, script: PublishedScript) -> ScriptResult:
    """Train to the last epoch or the end of patience; keep the weights of the script's choice."""
    job = training.job
    batches = math.ceil(len(job.subset.train) / script.batch)
    hyper = OptimizerConfig(
        lr=script.lr,
        weight_decay=script.weight_decay,
        every=batches,
        patience=script.patience,
        schedule=lambda step: script.rate(step // batches),
    )
    kind = ScoreValidation if script.keeps == "auc" else LossValidation
    validations: list[ValidationResult] = []
    last: list[NDArray[np.float64]] = []

    def validate() -> ValidationResult:
        result = training.validate()
        validations.append(kind(result.loss, result.score))
        if len(validations) == script.epochs:
            last.append(training.predict("test"))
        return validations[-1]

    with seed_torch(job.device, job.cell.seed):
        fitted = fit(training.model, epoch_batches(training, script), hyper, validate)
    kept = 1 + next(place for place, result in enumerate(validations) if result is fitted.best)
    return ScriptResult(fitted, kept, last[0] if last else None)


def epoch_batches(training: TaskTraining, script: PublishedScript) -> BatchSource:
    """Draw the order of all epochs, one permutation each, cut into batches; no augmentation."""
    job, train = training.job, training.job.subset.train
    rng = np.random.default_rng([job.cell.seed, 1])
    cuts = range(script.batch, len(train), script.batch)
    order = [rows for _ in range(script.epochs) for rows in np.split(rng.permutation(train), cuts)]
    images = RowBatches(job.data.images("train"), order, job.device)
    targets = RowBatches(as_targets(job.data.splits["train"].labels, job.device), order, job.device)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        return training.prepare(images(step)), targets(step)

    return BatchSource(batch, loss_of(job.task.kind), len(order), job.parts, min(script.batch, len(train)))
