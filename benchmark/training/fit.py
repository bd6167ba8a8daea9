"""Training of one network on one task: its batches, its validations and its predictions."""

import math
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...baselines.weights.load import load_backbone
from ...baselines.weights.prepare import InputPreparation
from .augment import UNIFORMS_PER_IMAGE, augment_for
from .cka import Gram, gram_matrices, similarity_images
from .cuda_graph import RecordedForwards
from .device_data import RowBatches, as_targets, epoch_order
from .loop import (
    BatchSource,
    FitResult,
    OptimizerConfig,
    ValidationResult,
    autocast_precision,
    fit,
    seed_torch,
)
from .metrics import Predictions, loss_chooses, primary_value
from .model import (
    ImageClassifier,
    forward_pass,
    loss_of,
    outputs_of,
    place_model,
    to_probabilities,
)
from .protocol import EvalContext
from .subsets import one_hot

STATISTICS_IMAGES = 512
"""Most training images from which batch-norm statistics are estimated."""


@dataclass(eq=False)
class TaskTraining:
    """One network, loaded from an init, that is trained and scored on one task.

    Attributes:
        weights: "sha256:..." or "random:seed" of the loaded weights.
        layer_decay: as in `OptimizerConfig`.
    """

    job: EvalContext
    model: ImageClassifier
    prepare: InputPreparation
    weights: str
    layer_decay: float = 1.0

    @classmethod
    def load(
        cls, job: EvalContext, adapt: Callable[[nn.Module], Collection[str]] = lambda backbone: ()
    ) -> "TaskTraining":
        """Load the weights and put a fresh head on them.

        Args:
            job: the cell.
            adapt: changes the loaded backbone in place, and returns the names of its frozen tensors.
        """
        cell = job.cell
        backbone = load_backbone(job.card, cell.arch, cell.input_size, cell.seed)
        frozen = adapt(backbone.module)
        model = ImageClassifier(backbone.module, len(job.task.classes), cell.seed, frozen)
        prepare = InputPreparation(job.card.contract, cell.input_size)
        training = cls(job, place_model(model, job.device), prepare, backbone.weights)
        if frozen and job.card.random:
            training.estimate_batch_norm()
        return training

    @torch.no_grad()
    def estimate_batch_norm(self) -> None:
        """Set all batch-norm statistics from training images of the cell.

        Random weights bring none (mean 0, variance 1). Frozen, these would stay, and activations grow or
        shrink layer by layer: a handicap that no pretrained init has.
        """
        model, rows = self.model.eval(), self.job.subset.train[:STATISTICS_IMAGES]
        norms = [
            module
            for module in model.backbone.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
        ]
        if len(rows) < 2 or not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over batches
            norm.train()
        images = self.job.data.images("train")
        images = images[torch.from_numpy(rows).to(images.device)]
        for batch in images.tensor_split(math.ceil(len(rows) / self.job.recipe.batch_size)):
            batch = batch.to(self.job.device)
            with autocast_precision(batch.device):
                model.backbone(self.prepare(batch))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.eval()

    @property
    def steps(self) -> int:
        """Optimizer steps without early stopping."""
        return self.job.recipe.steps_for(len(self.job.subset.train))

    def run(self, lr: float) -> FitResult:
        """Train until the steps or the patience are used up."""
        job, recipe = self.job, self.job.recipe
        hyper = OptimizerConfig(
            lr=lr,
            weight_decay=recipe.weight_decay,
            every=recipe.steps_per_validation(len(job.subset.train), len(job.subset.val)),
            patience=recipe.patience,
            layer_decay=self.layer_decay,
        )
        with seed_torch(job.device, job.cell.seed):
            return fit(self.model, self.batch_source(), hyper, self.validate, self.graph_key)

    @property
    def graph_key(self) -> Hashable:
        """Everything that decides the kernels of this network, or None without CUDA graphs."""
        job, cell = self.job, self.job.cell
        if not job.cuda_graphs or not job.device.startswith("cuda"):
            return None
        shape = (cell.size, cell.input_size, job.task.variant, len(job.task.classes), job.task.kind)
        how = (job.recipe.batch_size, job.recipe.augment, job.parts, job.device)
        return (cell.arch, job.card.arch_args, cell.protocol_label, *shape, *how)

    @cached_property
    def _graphs(self) -> RecordedForwards | None:
        run = forward_pass(self.model, self.prepare)
        return None if self.graph_key is None else RecordedForwards(self.graph_key, run)

    def batch_source(self) -> BatchSource:
        """Draw order and augmentation of the whole training from the seed, equal for every init."""
        job, recipe, device = self.job, self.job.recipe, self.job.device
        rng = np.random.default_rng([job.cell.seed, 1])
        places = epoch_order(len(job.subset.train), self.steps, recipe.batch_size, rng)
        order = [*job.subset.train[places]]
        uniforms = rng.random((self.steps, recipe.batch_size, UNIFORMS_PER_IMAGE), dtype=np.float32)
        draws = torch.from_numpy(uniforms).to(device)
        images = RowBatches(job.data.images("train"), order, device)
        targets = RowBatches(as_targets(job.data.splits["train"].labels, device), order, device)
        augment = augment_for(job.task) if recipe.augment else None

        def stored(step: int) -> tuple[Tensor, Tensor, Tensor]:
            return images(step), draws[step], targets(step)

        def prepare(pixels: Tensor, draws: Tensor) -> Tensor:
            pixels = self.prepare.resize(pixels)
            pixels = augment(pixels, draws) if augment else pixels
            return self.prepare.normalize(pixels)

        loss = loss_of(job.task.kind)
        return BatchSource(stored, loss, self.steps, job.parts, recipe.batch_size, prepare)

    def _logits(self, split: str) -> Tensor:
        """Return logits of the val subset or of the whole test split, in eval mode."""
        images = self.job.data.images(split)
        if split == "val":
            images = images[torch.from_numpy(self.job.subset.val).to(images.device)]
        return outputs_of(self.model.eval(), self.prepare, images, self._graphs)

    def validate(self) -> ValidationResult:
        """Score the network on the validation labels of the cell."""
        kind, labels = self.job.task.kind, self.job.labels("val")
        logits = self._logits("val")
        loss = float(loss_of(kind)(logits, as_targets(labels, self.job.device)))
        if not math.isfinite(loss):  # a network that overflowed is worse than any other
            return ValidationResult(math.inf, None)
        truth = one_hot(labels, len(self.job.task.classes))
        score = primary_value(Predictions(kind, truth, to_probabilities(logits, kind)))
        return ValidationResult(loss, score, by_loss=loss_chooses(kind, truth))

    def grams(self) -> dict[str, Gram]:
        """Return the Gram matrix of each stage's features of some validation images; see `cka`."""
        data = self.job.data
        images = similarity_images(data.images("val"), data.validation_rows)
        return gram_matrices(self.model.eval().backbone, self.prepare, images)

    def predict(self, split: str) -> NDArray[np.float64]:
        """Return probabilities [n, classes]."""
        return to_probabilities(self._logits(split), self.job.task.kind)
