"""What a finished pretraining leaves behind: weights, and everything that a card must say of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...baselines.init import InitCard, InputSpec, contract_of

if TYPE_CHECKING:
    from torch import Tensor


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `curve.csv`: what happened since the row before, and the scores where it was validated."""

    step: int
    """Optimizer steps done."""
    seconds: float
    """Since the start, interruptions left out."""
    rate: float
    """Learning rate of the last step."""
    train_loss: float
    """Mean over the images shown since the row before."""
    losses: dict[str, float | None]
    """The same per source; None where none of its images was shown."""
    images_per_second: float
    data_wait: float
    """Share of the time that was spent waiting for images."""
    val_loss: float | None = None
    """Mean over sources on their held-out images; None where this row has no validation."""
    val_score: float | None = None
    """Mean over sources of the primary metric, likewise."""
    scores: dict[str, float | None] = {}
    """The same per source."""


class PretrainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides the weights, apart from the images; on the command line by these names."""

    variant: str
    arch: str
    start: str = "scratch"
    """What stood behind `--from`, or the identity of the weights it began with."""
    steps: int
    batch_size: int
    """Images of one optimizer step, over all processes."""
    accumulate: int = 1
    """Parts that a batch is cut into; the processes share them, and batch norm sees one part at a time."""
    input_size: int
    lr: float
    weight_decay: float
    warmup: float = 0.1
    """Share of the steps during which the rate rises."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is kept in the end; 0 keeps the last weights."""
    projection: int = 0
    """Width of the layers between the backbone and the heads, which are thrown away; 0 has none."""
    smoothing: float = 0.0
    """Label smoothing of the single-label heads."""
    zoom: float = 0.1
    """Largest change of scale of the augmentation, as a share."""
    shift: float = 0.08
    """Its largest translation, as a share of the side."""
    temperature: float = 2.0
    """Sources are drawn in proportion to (their size) ** (1 / temperature)."""
    seed: int = 0


@dataclass(frozen=True)
class SourceUse:
    """What one source gave, and how well the network learned it.

    Attributes:
        name: of the source.
        kind: multiclass, multilabel, ordinal or binary.
        classes: names in label order.
        images: different images of it that were shown.
        draws: images of it that were shown, repetitions included.
        available: images of it that could be shown.
        held_out: images kept back to score on.
        score: primary metric (AUC) on these by the final weights, or None where it is undefined.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    images: int
    draws: int
    available: int
    held_out: int
    score: float | None


@dataclass(frozen=True, eq=False)
class PretrainResult:
    """The result of a pretraining.

    Attributes:
        state: tensors of the backbone by timm's names, on the CPU, contiguous.
        settings: hyper-parameters; architecture, input size and variant among them.
        sources: what each source gave.
        curve: rows of `curve.csv`.
        leave_out: tasks whose images, and relatives, the corpus may not hold.
        left_out: sources of the corpus that were not read because of these tasks.
        seconds: of training, over all its continuations.
        processes: that shared the work in the end.
        device: as torch calls it.
        commit: of this program; "" for an installed one.
        dirty: whether the checkout had changes.
        start: the init that it began with; None is random weights.
        corpus: folder of the corpus; None where the sources are tasks in memory.
    """

    state: "Mapping[str, Tensor]"
    settings: PretrainSettings
    sources: tuple[SourceUse, ...]
    curve: tuple[CurvePoint, ...]
    leave_out: tuple[str, ...]
    left_out: tuple[str, ...]
    seconds: float
    processes: int
    device: str
    commit: str
    dirty: bool
    start: InitCard | None = None
    corpus: Path | None = None

    @property
    def contract(self) -> InputSpec:
        """How the network wants its images."""
        return contract_of(self.start)

    @property
    def draws(self) -> int:
        """Images shown in all, repetitions included."""
        return self.settings.steps * self.settings.batch_size
