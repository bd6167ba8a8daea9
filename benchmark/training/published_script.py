"""The settings of a published training script, as plain data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PublishedScript:
    """The settings of a published training script; they are facts, so no option changes them.

    Attributes:
        epochs: at most; each shows every image once, and its last batch is what is left.
        batch: images per step.
        lr: initial learning rate of AdamW, which without decay is Adam.
        weight_decay: decoupled.
        rate: maps an epoch, from 0, to the rate in units of `lr`.
        keeps: "auc" keeps the first epoch with the highest validation AUC, "loss" that with the lowest loss.
        patience: epochs without a better one before it stops.
        head_only: the backbone's weights stay, though its batch normalization sees training batches.
        padded: small images are surrounded by zeros (after normalization) instead of being resized.
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
