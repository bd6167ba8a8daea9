"""One network on its way from an init to a task: its images, its validations, its predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .metrics import Predictions, primary_value
from .protocol import EvalContext
from .subsets import one_hot

if TYPE_CHECKING:
    from torch import Tensor

    from ...baselines.weights.prepare import InputPreparation
    from .loop import BatchSource, FitResult, ValidationResult
    from .model import ImageClassifier

FEW_VALIDATION = 50
"""Validation images below which the loss, and not the AUC, chooses the epoch and the learning rate."""


@dataclass(eq=False)
class TaskTraining:
    """One network on its way from an init to a task."""

    job: EvalContext
    model: ImageClassifier
    prepare: InputPreparation
    weights: str

    @classmethod
    def of(cls, job: EvalContext) -> TaskTraining:
        """Load the weights and put a fresh head on them."""
        from ...baselines.weights.load import load_backbone
        from ...baselines.weights.prepare import InputPreparation
        from .model import ImageClassifier, place_model

        cell = job.cell
        backbone = load_backbone(job.card, cell.arch, cell.input_size, cell.seed)
        model = place_model(ImageClassifier(backbone.module, len(job.task.classes), cell.seed), job.device)
        return cls(job, model, InputPreparation(job.card.contract, cell.input_size), backbone.weights)

    def run(self, lr: float) -> FitResult:
        """Train to the end of the budget or of the patience."""
        from .loop import OptimizerConfig, fit, seed_torch

        recipe = self.job.recipe
        hyper = OptimizerConfig(
            lr=lr,
            weight_decay=recipe.weight_decay,
            every=max(1, recipe.steps // recipe.evaluations),
            patience=recipe.patience,
        )
        with seed_torch(self.job.device, self.job.cell.seed):
            return fit(self.model, self.feed(), hyper, self.validate)

    def feed(self) -> BatchSource:
        """Lay out order and augmentation of the whole training; drawn from the seed, equal for every init."""
        import torch

        from .augment import UNIFORMS_PER_IMAGE, augment_for
        from .loop import BatchSource
        from .model import loss_of
        from .tensors import as_targets, epoch_order

        job, recipe, device = self.job, self.job.recipe, self.job.device
        rng = np.random.default_rng([job.cell.seed, 1])
        rows = job.subset.train[epoch_order(len(job.subset.train), recipe.steps, recipe.batch_size, rng)]
        order = torch.from_numpy(rows).to(device)
        drawn = rng.random((recipe.steps, recipe.batch_size, UNIFORMS_PER_IMAGE), dtype=np.float32)
        draws = torch.from_numpy(drawn).to(device)
        images, targets = job.data.images("train"), as_targets(job.data.splits["train"].labels, device)
        augment = augment_for(job.task) if recipe.augment else None

        def batch(step: int) -> tuple[Tensor, Tensor]:
            pixels = self.prepare.resize(images[order[step]])
            pixels = augment(pixels, draws[step]) if augment else pixels
            return self.prepare.normalize(pixels), targets[order[step]]

        return BatchSource(batch, loss_of(job.task.kind), recipe.steps, job.parts, recipe.batch_size)

    def _logits(self, split: str) -> Tensor:
        """Return logits of the val subset or of the whole test split, in eval mode."""
        import torch

        from .model import outputs_of

        images = self.job.data.images(split)
        if split == "val":
            images = images[torch.from_numpy(self.job.subset.val).to(images.device)]
        return outputs_of(self.model.eval(), self.prepare, images)

    def validate(self) -> ValidationResult:
        """Score the network on the validation labels of the cell."""
        from .loop import ValidationResult
        from .model import loss_of, to_probabilities
        from .tensors import as_targets

        kind, labels = self.job.task.kind, self.job.labels("val")
        logits = self._logits("val")
        loss = float(loss_of(kind)(logits, as_targets(labels, self.job.device)))
        if not math.isfinite(loss):  # a network that overflowed is worse than any other
            return ValidationResult(math.inf, None)
        truth = one_hot(labels, len(self.job.task.classes))
        score = primary_value(Predictions(kind, truth, to_probabilities(logits, kind)))
        return ValidationResult(loss, score, few=len(labels) < FEW_VALIDATION)

    def grams(self) -> dict[str, NDArray[np.float64]]:
        """Return how alike each stage's features now make some validation images; see `similarity`."""
        from .cka import gram_matrices, similarity_images

        return gram_matrices(
            self.model.eval().backbone, self.prepare, similarity_images(self.job.data.images("val"))
        )

    def predict(self, split: str) -> NDArray[np.float64]:
        """Return probabilities [n, classes]."""
        from .model import to_probabilities

        return to_probabilities(self._logits(split), self.job.task.kind)
