"""What is to be trained, what happens beside the training, and what comes out of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...baselines.init import InitCard, InputSpec, contract_of
from .distributed import RankGroup
from .pretrain_result import CurvePoint, PretrainSettings, SourceUse
from .sources import ImageLoader, SourcePool


@dataclass(frozen=True, eq=False)
class PretrainConfig:
    """What is to be trained.

    Attributes:
        settings: hyper-parameters.
        pools: the sources; each has images to train on.
        images: their pixels, at the side of the settings.
        ranks: this process among those that share the work.
        start: the init to begin with; None is random weights.
    """

    settings: PretrainSettings
    pools: Sequence[SourcePool]
    images: ImageLoader
    ranks: RankGroup
    start: InitCard | None = None

    @property
    def contract(self) -> InputSpec:
        """How the network wants its images."""
        return contract_of(self.start)


@dataclass(frozen=True)
class PretrainCallbacks:
    """What happens beside the training; none of it changes the weights.

    Attributes:
        folder: of the checkpoints; None keeps none.
        checkpoint_every: steps between two of them; 0 writes one only when it is asked to stop.
        evaluate_every: steps between two validations; one is always at the end.
        should_stop: whether it is asked to stop.
        on_reading: is told at every reading, in the first process only: the point holds what happened since the
            last row of the curve.
        on_row: is given the whole curve when it has a new row, likewise.
    """

    folder: Path | None = None
    checkpoint_every: int = 0
    evaluate_every: int = sys.maxsize
    should_stop: Callable[[], bool] = lambda: False
    on_reading: Callable[[CurvePoint], None] = lambda point: None
    on_row: Callable[[Sequence[CurvePoint]], None] = lambda curve: None


@dataclass(frozen=True, eq=False)
class PretrainOutcome:
    """A training's outcome.

    Attributes:
        state: tensors of the backbone on the CPU: the moving average's where there is one.
        sources: what each source gave.
        curve: the last row is the validation of these weights.
        seconds: spent, interruptions left out.
    """

    state: dict[str, Tensor]
    sources: tuple[SourceUse, ...]
    curve: tuple[CurvePoint, ...]
    seconds: float


class StoppedAtError(Exception):
    """The training was asked to stop and did, after the step that it names; a checkpoint is written."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step
