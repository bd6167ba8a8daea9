"""Configuration, callbacks and outcome of a pretraining."""

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
    """Configuration of a pretraining.

    Attributes:
        pools: the sources; each has images to train on.
        images: their pixels, at the settings' input size.
        start: the initial weights; None is random.
        cuda_graphs: record the step as a CUDA graph on a GPU; only for batches in one part on one process.
    """

    settings: PretrainSettings
    pools: Sequence[SourcePool]
    images: ImageLoader
    ranks: RankGroup
    start: InitCard | None = None
    cuda_graphs: bool = False

    @property
    def contract(self) -> InputSpec:
        """Input specification of the network."""
        return contract_of(self.start)


@dataclass(frozen=True)
class PretrainCallbacks:
    """Checkpoints, validations and callbacks; none of them changes the weights.

    Attributes:
        folder: of the checkpoints; None writes none.
        checkpoint_every: steps between checkpoints; 0 writes one only on a request to stop.
        evaluate_every: steps between validations; the last step is always validated.
        should_stop: returns whether a stop was requested.
        on_reading: called at every reading of the losses, in the first process only, with the averages
            since the last row of the curve.
        on_row: called with the whole curve at every new row, in the first process only.
    """

    folder: Path | None = None
    checkpoint_every: int = 0
    evaluate_every: int = sys.maxsize
    should_stop: Callable[[], bool] = lambda: False
    on_reading: Callable[[CurvePoint], None] = lambda point: None
    on_row: Callable[[Sequence[CurvePoint]], None] = lambda curve: None


@dataclass(frozen=True, eq=False)
class PretrainOutcome:
    """Outcome of a pretraining.

    Attributes:
        state: tensors of the backbone on the CPU, of the moving average where there is one.
        curve: the last row validates these weights.
        seconds: spent, without interruptions.
        notes: sentences for a record.
        distance_from_start: L2 distance of the weights from the initial ones, relative to these; None for
            random ones.
    """

    state: dict[str, Tensor]
    sources: tuple[SourceUse, ...]
    curve: tuple[CurvePoint, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    distance_from_start: float | None = None


class StoppedAtError(Exception):
    """The training stopped on request after a step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step
