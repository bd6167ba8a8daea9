"""One network on its way from an init to a task: its images, its validations, its predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .metrics import Scored, primary
from .protocol import Job
from .subsets import one_hot

if TYPE_CHECKING:
    from torch import Tensor

    from ...baselines.weights.prepare import Prepare
    from .loop import Feed, Fitted, Validation
    from .model import Classifier

FEW = 50
"""Validation images below which the loss, and not the AUC, chooses the epoch and the learning rate."""


@dataclass(eq=False)
class Training:
    """One network on its way from an init to a task."""

    job: Job
    model: Classifier
    prepare: Prepare
    weights: str

    @classmethod
    def of(cls, job: Job) -> Training:
        """Load the weights and put a fresh head on them."""
        from ...baselines.weights.load import load_backbone
        from ...baselines.weights.prepare import Prepare
        from .model import Classifier, placed

        cell = job.cell
        backbone = load_backbone(job.card, cell.arch, cell.input_size, cell.seed)
        model = placed(Classifier(backbone.module, len(job.task.classes), cell.seed), job.device)
        return cls(job, model, Prepare(job.card.contract, cell.input_size), backbone.weights)

    def run(self, lr: float) -> Fitted:
        """Train to the end of the budget or of the patience."""
        from .loop import Hyper, fit, seeded

        recipe = self.job.recipe
        hyper = Hyper(
            lr=lr,
            weight_decay=recipe.weight_decay,
            every=max(1, recipe.steps // recipe.evaluations),
            patience=recipe.patience,
        )
        with seeded(self.job.device, self.job.cell.seed):
            return fit(self.model, self.feed(), hyper, self.validate)

    def feed(self) -> Feed:
        """Lay out order and augmentation of the whole training; drawn from the seed, equal for every init."""
        import torch

        from .augment import DRAWS, augment_for
        from .loop import Feed
        from .model import loss_of
        from .tensors import as_targets, epochs

        job, recipe, device = self.job, self.job.recipe, self.job.device
        rng = np.random.default_rng([job.cell.seed, 1])
        rows = job.subset.train[epochs(len(job.subset.train), recipe.steps, recipe.batch_size, rng)]
        order = torch.from_numpy(rows).to(device)
        drawn = rng.random((recipe.steps, recipe.batch_size, DRAWS), dtype=np.float32)
        draws = torch.from_numpy(drawn).to(device)
        images, targets = job.data.images("train"), as_targets(job.data.splits["train"].labels, device)
        augment = augment_for(job.task) if recipe.augment else None

        def batch(step: int) -> tuple[Tensor, Tensor]:
            pixels = self.prepare.resize(images[order[step]])
            pixels = augment(pixels, draws[step]) if augment else pixels
            return self.prepare.normalise(pixels), targets[order[step]]

        return Feed(batch, loss_of(job.task.kind), recipe.steps, job.parts, recipe.batch_size)

    def _logits(self, split: str) -> Tensor:
        """Return logits of the val subset or of the whole test split, in eval mode."""
        import torch

        from .model import outputs_of

        images = self.job.data.images(split)
        if split == "val":
            images = images[torch.from_numpy(self.job.subset.val).to(images.device)]
        return outputs_of(self.model.eval(), self.prepare, images)

    def validate(self) -> Validation:
        """Score the network on the validation labels of the cell."""
        from .loop import Validation
        from .model import loss_of, probabilities
        from .tensors import as_targets

        kind, labels = self.job.task.kind, self.job.labels("val")
        logits = self._logits("val")
        loss = float(loss_of(kind)(logits, as_targets(labels, self.job.device)))
        if not math.isfinite(loss):  # a network that overflowed is worse than any other
            return Validation(math.inf, None)
        truth = one_hot(labels, len(self.job.task.classes))
        score = primary(Scored(kind, truth, probabilities(logits, kind)))
        return Validation(loss, score, few=len(labels) < FEW)

    def grams(self) -> dict[str, NDArray[np.float64]]:
        """Return how alike each stage's features now make some validation images; see `similarity`."""
        from .cka import grams, sample

        return grams(self.model.eval().backbone, self.prepare, sample(self.job.data.images("val")))

    def predict(self, split: str) -> NDArray[np.float64]:
        """Return probabilities [n, classes]."""
        from .model import probabilities

        return probabilities(self._logits(split), self.job.task.kind)
