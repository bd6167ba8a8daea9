"""`finetune`: all weights are trained; the learning rate is chosen per cell group, the best epoch kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..metrics import Scored, primary
from ..plan import Recipe
from ..protocol import PROTOCOLS, Job, Outcome, Work, chosen
from ..records import Choice
from ..subsets import one_hot

if TYPE_CHECKING:
    from torch import Tensor

    from ..data import Prepare
    from ..network import Classifier
    from ..train import Feed, Fitted, Validation


FEW = 50
"""Validation images below which the loss, and not the AUC, chooses the epoch and the learning rate."""


class Finetune:
    """AdamW with warm-up and cosine; the budget is a number of steps, equal for every init."""

    recipe_fields: tuple[str, ...] = (
        "steps",
        "batch_size",
        "lr_grid",
        "weight_decay",
        "evaluations",
        "patience",
        "augment",
    )
    tunes = True
    frozen = False

    def tune(self, job: Job) -> Choice:
        """Train once per learning rate with the full budget and compare on validation.

        Raises:
            DivergedError: every learning rate failed.
        """
        from ..train import DivergedError

        best: Validation | None = None
        at, scores = -1, []
        failures: list[str] = []
        for place, lr in enumerate(job.recipe.lr_grid):
            try:
                result = Training.of(job).run(lr).best
            except DivergedError as failure:
                scores.append(None)
                failures.append(str(failure))
                continue
            scores.append(-result.loss if result.few else result.score)
            if result.beats(best):
                best, at = result, place
        if best is None:
            raise DivergedError("; ".join(failures))
        criterion = "negative validation loss" if best.few else "validation AUC, then validation loss"
        return chosen("lr", job.recipe.lr_grid, tuple(scores), at, criterion)

    def score(self, job: Job) -> Outcome:
        """Train with the group's learning rate; predict the test split with the best validation epoch."""
        if job.tuned is None:
            raise AssertionError("a finetune cell needs its tune cell")
        from ..similarity import similarities

        training = Training.of(job)
        before = training.grams()
        fitted = training.run(job.tuned.value)
        return Outcome(
            test_scores=training.predict("test"),
            val_scores=training.predict("val"),
            weights=training.weights,
            choices=(job.tuned,),
            curve=fitted.curve,
            notes=fitted.notes,
            similarity=similarities(before, training.grams()),
            parameters=sum(tensor.numel() for tensor in training.model.backbone.parameters()),
        )

    def work(self, recipe: Recipe, train: int, val: int, test: int) -> Work:
        """A cell trains all steps at most; its group's share of the tuning is counted by the tune cell."""
        return Work(trained=recipe.steps * recipe.batch_size, seen=recipe.evaluations * val + val + test)


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
        from ...baselines.load import load_backbone
        from ..data import Prepare
        from ..network import Classifier, placed

        cell = job.cell
        backbone = load_backbone(job.card, cell.arch, cell.input_size, cell.seed)
        model = placed(Classifier(backbone.module, len(job.task.classes), cell.seed), job.device)
        return cls(job, model, Prepare(job.card.contract, cell.input_size), backbone.weights)

    def run(self, lr: float) -> Fitted:
        """Train to the end of the budget or of the patience."""
        from ..train import Hyper, fit, seeded

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

        from ..augment import DRAWS, augment_for
        from ..data import as_targets, epochs
        from ..network import loss_of
        from ..train import Feed

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

        return Feed(batch, loss_of(job.task.kind), recipe.steps)

    def _logits(self, split: str) -> Tensor:
        """Return logits of the val subset or of the whole test split, in eval mode."""
        import torch

        from ..network import outputs_of

        images = self.job.data.images(split)
        if split == "val":
            images = images[torch.from_numpy(self.job.subset.val).to(images.device)]
        return outputs_of(self.model.eval(), self.prepare, images)

    def validate(self) -> Validation:
        """Score the network on the validation labels of the cell."""
        from ..data import as_targets
        from ..network import loss_of, probabilities
        from ..train import Validation

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
        from ..similarity import grams, sample

        return grams(self.model.eval().backbone, self.prepare, sample(self.job.data.images("val")))

    def predict(self, split: str) -> NDArray[np.float64]:
        """Return probabilities [n, classes]."""
        from ..network import probabilities

        return probabilities(self._logits(split), self.job.task.kind)


PROTOCOLS.add("finetune", Finetune())
