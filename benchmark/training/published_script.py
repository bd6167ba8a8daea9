"""Settings of a published training script, as plain data without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PublishedScript:
    """Settings of a published training script, which no option changes.

    Attributes:
        epochs: at most; each shows every image once, with a smaller last batch.
        batch: images per step.
        lr: initial learning rate of AdamW, which without decay is Adam.
        rate: maps an epoch, from 0, to the rate in units of `lr`.
        keeps: "auc" keeps the first epoch with the highest validation AUC, "loss" that with the lowest loss.
        patience: epochs without improvement before the training stops.
        head_only: the backbone is frozen, except for its batch-norm statistics.
        padded: small images are padded with zeros (after normalization) instead of being resized.
    """

    epochs: int
    batch: int
    lr: float
    weight_decay: float
    rate: Callable[[int], float]
    keeps: Literal["auc", "loss"]
    patience: int
    head_only: bool = False
    padded: bool = False
