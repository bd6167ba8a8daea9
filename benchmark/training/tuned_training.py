"""Base of the protocols that train a network with a learning rate chosen on validation."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ..schema.plan import TrainingConfig
from ..schema.records import HyperparameterChoice
from .protocol import BenchProtocol, CostEstimate, EvalContext, ProtocolResult, describe_choice

if TYPE_CHECKING:  # importing torch takes seconds, and `ls` does not need it
    from torch import nn

    from .fit import TaskTraining
    from .loop import ValidationResult


class TunedTraining(BenchProtocol):
    """AdamW with warm-up and cosine over a number of steps that is equal for every init.

    A protocol overrides `adapt_backbone`, which is enough to freeze a part or to add layers, or
    `build_training` for any other network.
    """

    recipe_fields = ("steps", "batch_size", "lr_grid", "weight_decay", "evaluations", "patience", "augment")
    tunes = True

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

    def tune(self, job: EvalContext) -> HyperparameterChoice:
        """Train with the full budget at each learning rate, and compare on validation.

        Raises `DivergedError` where every learning rate failed.
        """
        from .loop import DivergedError

        best: ValidationResult | None = None
        at, scores = -1, []
        failures: list[str] = []
        for place, lr in enumerate(job.recipe.lr_grid):
            try:
                result = self.build_training(job).run(lr).best
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
        return describe_choice("lr", job.recipe.lr_grid, tuple(scores), at, criterion)

    def score(self, job: EvalContext) -> ProtocolResult:
        """Train with the group's learning rate, and predict the test split at the best validation."""
        if job.tuned is None:
            raise AssertionError("a score cell of a training needs its tune cell")
        from .cka import similarities

        training = self.build_training(job)
        before = training.grams()
        fitted = training.run(job.tuned.value)
        trained = (tensor for tensor in training.model.backbone.parameters() if tensor.requires_grad)
        return ProtocolResult(
            test_scores=training.predict("test"),
            val_scores=training.predict("val"),
            weights=training.weights,
            choices=(job.tuned,),
            curve=fitted.curve,
            similarity=similarities(before, training.grams()),
            parameters=sum(tensor.numel() for tensor in trained),
        )

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count all steps, without early stopping; the tune cell counts those of the tuning.

        Steps count in full where a part is frozen, too: its forward pass remains, and an adapter in the
        first layer needs the whole backward pass.
        """
        return CostEstimate(
            trained=recipe.steps * recipe.batch_size, seen=recipe.evaluations * val + val + test
        )
