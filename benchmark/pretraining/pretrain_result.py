"""Settings and result of a pretraining: weights, and all facts for their card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...baselines.init import InitCard, InputSpec, contract_of

if TYPE_CHECKING:
    from torch import Tensor


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `curve.csv`: averages since the row before, and scores if it has a validation."""

    step: int
    """Optimizer steps done."""
    seconds: float
    """Since the start, without interruptions."""
    rate: float
    """Learning rate of the last step."""
    train_loss: float
    """Mean over the images shown since the row before."""
    losses: dict[str, float | None]
    """Training loss of each source; None where none of its images was shown."""
    images_per_second: float
    data_wait: float
    """Share of the time spent waiting for images."""
    val_loss: float | None = None
    """Mean over sources on their held-out images; None without validation."""
    val_score: float | None = None
    """Mean over sources of the primary metric; None without validation."""
    scores: dict[str, float | None] = {}
    """Primary metric of each source."""


def distance_text(distance: float, start: str) -> str:
    """Write the relative distance of weights from the initial ones as a sentence."""
    return f"the weights moved {distance:.1%} from {start} (L2 distance, relative to the initial weights)"


class PretrainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides the weights but the images; named as the options of `pretrain`."""

    variant: str
    arch: str
    start: str = "scratch"
    """Value of `--from`, or the identity of the initial weights."""
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
    """Decay of the moving average of the weights, which is the result; 0 takes the last weights."""
    projection: int = 0
    """Width of the layers between backbone and heads, which are discarded; 0 has none."""
    smoothing: float = 0.0
    """Label smoothing of the single-label heads."""
    zoom: float = 0.1
    """Largest change of scale in the augmentation, as a share."""
    shift: float = 0.08
    """Largest translation in the augmentation, as a share of the side."""
    temperature: float = 2.0
    """Sources are drawn in proportion to (their size) ** (1 / temperature)."""
    seed: int = 0
    objective: str = "supervised"
    """A name in `OBJECTIVES`."""
    augmentation: str = "standard"
    """A name in `AUGMENTATIONS`."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it, for initial weights."""
    anchor: float = 0.0
    """Strength of L2-SP, the pull towards the initial weights; 0 has none."""
    freeze_norm: bool = False
    """Whether batch norm normalizes by the statistics of the initial weights, 0 and 1 of random ones."""


@dataclass(frozen=True)
class SourceUse:
    """Use of one source, and the score of the network on it.

    Attributes:
        kind: multiclass, multilabel, ordinal or binary.
        classes: names in label order.
        images: distinct images shown.
        draws: images shown, repetitions included.
        available: images to train on.
        score: primary metric (AUC) of the final weights on these; None where undefined.
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
    """Result of a pretraining.

    Attributes:
        state: tensors of the backbone by timm's names, on the CPU, contiguous.
        leave_out: names of the held-out tasks.
        left_out: sources of the corpus that were excluded because of these tasks.
        seconds: of training, over all resumed runs.
        processes: number of processes of the last run.
        commit: of this program; "" for an installed package.
        dirty: whether the checkout had uncommitted changes.
        start: the init of the initial weights; None is random.
        distance_from_start: as in `PretrainOutcome`.
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
    distance_from_start: float | None = None
    corpus: Path | None = None

    @property
    def contract(self) -> InputSpec:
        """Input specification of the network."""
        return contract_of(self.start)

    @property
    def draws(self) -> int:
        """Images shown in all, repetitions included."""
        return self.settings.steps * self.settings.batch_size
