"""`medmnist-v2` and `medmnist-plus`: trainings of two published scripts, for parity."""

from __future__ import annotations

import math

from ..schema.plan import TrainingConfig
from ..training.protocol import PROTOCOLS, BenchProtocol, CostEstimate, EvalContext, ProtocolResult
from ..training.published_script import PublishedScript

LAST_EPOCH = "last epoch"
"""Name of the predictions after the last epoch in `ProtocolResult.beside`."""


class PublishedProtocol(BenchProtocol):
    """Training with the fixed settings of a published script."""

    def __init__(self, script: PublishedScript) -> None:
        self.script = script

    def score(self, job: EvalContext) -> ProtocolResult:
        """Train, and predict the test split with the epoch that the script keeps."""
        from ..training.epochwise import build_published, train_published
        from ..training.loop import full_float32

        with full_float32():
            training = build_published(job, self.script)
            trained = train_published(training, self.script)
            on_test, on_val = training.predict("test"), training.predict("val")
        curve, rule = trained.fitted.curve, f"by validation {self.script.keeps}"
        return ProtocolResult(
            test_scores=on_test,
            val_scores=on_val,
            weights=training.weights,
            curve=curve,
            passes=float(len(curve)),
            notes=(f"kept epoch {trained.kept} of {len(curve)}, {rule}",),
            beside={} if trained.last is None else {LAST_EPOCH: trained.last},
            model=None if self.script.padded else training.model,  # no card can say that inputs are padded
        )

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Count all epochs, each followed by a validation."""
        script, epochs = self.script, self.script.epochs
        trained, seen = epochs * train, epochs * val + val + test
        return CostEstimate(
            trained=0.0 if script.head_only else trained,
            seen=seen + trained if script.head_only else seen,
            batch=script.batch,
            validations=epochs,
            least_share=min(1.0, (1 + script.patience) / epochs),
        )


def _tenths(epoch: int) -> float:
    """Return the rate with steps to a tenth after 50 and 75 epochs."""
    return 0.1 ** ((epoch >= 50) + (epoch >= 75))


def _late_cosine(epoch: int) -> float:
    """Return timm's cosine over 100 epochs, one epoch late as in the script."""
    return 0.5 * (1 + math.cos(math.pi * max(0, epoch - 1) / 100))


# MedMNIST/experiments, MedMNIST2D/train_and_eval_pytorch.py at 8b0f553 (Yang et al. 2023).
MEDMNIST_V2 = PublishedScript(
    epochs=100, batch=128, lr=1e-3, weight_decay=0.0, rate=_tenths, keeps="auc", patience=100
)
# sdoerrich97/rethinking-model-prototyping-MedMNISTPlus, train.py and config.yaml at b34dfc5 (linear probing).
MEDMNIST_PLUS = PublishedScript(
    epochs=100, batch=64, lr=1e-4, weight_decay=0.01, rate=_late_cosine, keeps="loss", patience=5,
    head_only=True, padded=True,
)  # fmt: skip

PROTOCOLS.add("medmnist-v2", PublishedProtocol(MEDMNIST_V2))
PROTOCOLS.add("medmnist-plus", PublishedProtocol(MEDMNIST_PLUS))
