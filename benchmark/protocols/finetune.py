"""`finetune`: training of all weights; validation chooses the learning rate and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..schema.plan import TrainingConfig
from ..schema.records import HyperparameterChoice
from ..training.protocol import (
    PROTOCOLS,
    BenchProtocol,
    CostEstimate,
    EvalContext,
    ProtocolResult,
    describe_choice,
)

if TYPE_CHECKING:
    from ..training.loop import ValidationResult


class FinetuneProtocol(BenchProtocol):
    """AdamW with warm-up and cosine over a number of steps that is equal for every init."""

    recipe_fields = ("steps", "batch_size", "lr_grid", "weight_decay", "evaluations", "patience", "augment")
    tunes = True

    def tune(self, job: EvalContext) -> HyperparameterChoice:
        """Train with the full budget at each learning rate, and compare on validation.

        Raises `DivergedError` where every learning rate failed.
        """
        from ..training.fit import TaskTraining
        from ..training.loop import DivergedError

        best: ValidationResult | None = None
        at, scores = -1, []
        failures: list[str] = []
        for place, lr in enumerate(job.recipe.lr_grid):
            try:
                result = TaskTraining.load(job).run(lr).best
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
            raise AssertionError("a finetune cell needs its tune cell")
        from ..training.cka import similarities
        from ..training.fit import TaskTraining

        training = TaskTraining.load(job)
        before = training.grams()
        fitted = training.run(job.tuned.value)
        return ProtocolResult(
            test_scores=training.predict("test"),
            val_scores=training.predict("val"),
            weights=training.weights,
            choices=(job.tuned,),
            curve=fitted.curve,
            similarity=similarities(before, training.grams()),
            parameters=sum(tensor.numel() for tensor in training.model.backbone.parameters()),
        )

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count all steps, without early stopping; the tune cell counts those of the tuning."""
        return CostEstimate(
            trained=recipe.steps * recipe.batch_size, seen=recipe.evaluations * val + val + test
        )


PROTOCOLS.add("finetune", FinetuneProtocol())
