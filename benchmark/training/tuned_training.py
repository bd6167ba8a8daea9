"""Base of the protocols that train a network with a learning rate chosen on validation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.progress import track_each
from ..schema.plan import FORWARD_COST, VALIDATION_SHARE, TrainingConfig
from ..schema.records import HyperparameterChoice
from .metrics import share_of_wins
from .protocol import BenchProtocol, CostEstimate, EvalContext, ProtocolResult, describe_choice
from .subsets import one_hot

if TYPE_CHECKING:  # importing torch takes seconds, and `ls` does not need it
    from torch import nn

    from .cka import Gram
    from .fit import TaskTraining
    from .loop import FitResult


@dataclass(frozen=True, eq=False)
class BestTraining:
    """The training of a cell that validation chose."""

    training: TaskTraining
    fitted: FitResult
    choice: HyperparameterChoice
    before: dict[str, Gram]
    """Of the features of each stage before the training."""
    val_scores: NDArray[np.float64]
    """Probabilities [n, classes] of the validation subset."""


class TunedTraining(BenchProtocol):
    """AdamW with warm-up and cosine over passes of the labels, whose number is equal for every init.

    A protocol overrides `adapt_backbone`, which is enough to freeze a part or to add layers, or
    `build_training` for any other network.
    """

    recipe_fields = (
        "passes",
        "steps",
        "batch_size",
        "lr_grid",
        "weight_decay",
        "evaluations",
        "patience",
        "augment",
    )

    def adapt_backbone(self, backbone: nn.Module, options: Any, seed: int) -> Collection[str]:
        """Change a loaded backbone in place, and return the keys of its `state_dict` to freeze.

        A frozen tensor keeps its value: batch norm with frozen statistics stays in eval mode, as do modules
        all of whose tensors are frozen.

        Raises:
            UserError: the options do not fit the network.
        """
        return ()

    def build_training(self, job: EvalContext) -> TaskTraining:
        """Build the network of a cell with its loaded weights."""
        from .fit import TaskTraining

        return TaskTraining.load(job, lambda net: self.adapt_backbone(net, job.options, job.cell.seed))

    def check_arch(self, arch: str, input_size: int, options: Any) -> None:
        """Adapt a network with random weights."""
        from ...baselines.weights.archs import build_backbone

        try:
            self.adapt_backbone(build_backbone(arch, input_size), options, seed=0)
        except UserError as error:
            raise UserError(f"{arch}: {error}") from error

    def score(self, job: EvalContext) -> ProtocolResult:
        """Train with the full budget at each learning rate; the best on validation predicts the test split.

        Raises:
            DivergedError: every learning rate failed.
        """
        from .cka import similarities

        best = self._train_best(job)
        training = best.training
        trained = (tensor for tensor in training.model.backbone.parameters() if tensor.requires_grad)
        return ProtocolResult(
            test_scores=training.predict("test"),
            val_scores=best.val_scores,
            weights=training.weights,
            choices=(best.choice,),
            curve=best.fitted.curve,
            notes=(*_validation_note(job), *best.fitted.notes),
            passes=best.fitted.curve[-1].step * job.recipe.batch_size / len(job.subset.train),
            similarity=similarities(best.before, training.grams()),
            parameters=sum(tensor.numel() for tensor in trained),
            model=training.model,
        )

    def _train_best(self, job: EvalContext) -> BestTraining:
        """Train at each rate with the cell's own labels and draws; keep the best network."""
        from .loop import DivergedError

        kept: tuple[int, TaskTraining, FitResult, NDArray[np.float64]] | None = None
        before: dict[str, Gram] | None = None
        scores: list[float | None] = []
        predicted: list[NDArray[np.float64] | None] = []
        failures: list[str] = []
        for place, lr in enumerate(track_each("learning rate", job.recipe.lr_grid)):
            training = self.build_training(job)
            before = training.grams() if before is None else before  # every rate starts from these weights
            try:
                fitted = training.run(lr)
            except DivergedError as failure:
                scores.append(None)
                predicted.append(None)
                failures.append(str(failure))
                continue
            scores.append(-fitted.best.loss if fitted.best.by_loss else fitted.best.score)
            on_val = training.predict("val")
            predicted.append(on_val)
            if kept is None or fitted.best.beats(kept[2].best):
                kept = place, training, fitted, on_val
        if kept is None or before is None:
            raise DivergedError("; ".join(failures))
        at, training, fitted, on_val = kept

        def wins(a: int, b: int) -> float:
            one, two = predicted[a], predicted[b]
            if one is None or two is None:  # it diverged
                return float(two is None)
            truth = one_hot(job.labels("val"), len(job.task.classes))
            return share_of_wins(job.task.kind, truth, one, two, fitted.best.by_loss)

        by_auc = "validation AUC, then validation loss"
        criterion = "negative validation loss" if fitted.best.by_loss else by_auc
        choice = describe_choice("lr", job.recipe.lr_grid, tuple(scores), at, criterion, wins)
        return BestTraining(training, fitted, choice, before, on_val)

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count the work at every learning rate, before early stopping, and one pass over the test split.

        Each rate takes all steps and validations, and predicts the validation subset once more at the end.
        Steps count in full where a part is frozen, too: its forward pass remains, and an adapter in the
        first layer needs the whole backward pass.
        """
        rates, validations = len(recipe.lr_grid), recipe.validations_for(train, val)
        return CostEstimate(
            trained=rates * recipe.steps_for(train) * recipe.batch_size,
            seen=rates * (validations + 1) * val + test,
            validations=rates * validations,
            least_share=_earliest_stop(recipe, train, val),
        )


def _earliest_stop(recipe: TrainingConfig, train: int, val: int) -> float:
    """Return the share of the steps after which a training ends that never improves on its first score."""
    from .loop import OptimizerConfig

    steps, every = recipe.steps_for(train), recipe.steps_per_validation(train, val)
    warm = OptimizerConfig(1.0, 0.0, every, recipe.patience).warmup_steps(steps)
    return min(1.0, (max(1, warm // every) + recipe.patience) * every / steps)


def _validation_note(job: EvalContext) -> tuple[str, ...]:
    """Say where so many validation images make even the fewest validations expensive."""
    train, val = len(job.subset.train), len(job.subset.val)
    trained = job.recipe.steps_for(train) * job.recipe.batch_size
    share = FORWARD_COST * job.recipe.validations_for(train, val) * val / trained
    if share <= VALIDATION_SHARE:
        return ()
    return (f"validation cost {share:.0%} of a training, since it has at least two",)
