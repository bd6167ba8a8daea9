"""Checkpoints of a pretraining: whole or absent, the last two kept, and no code in them."""

import contextlib
import re
from pathlib import Path
from typing import Any

import msgspec
import torch

from ...core.files import write_atomic
from .pretrain_result import CurvePoint

KEPT_CHECKPOINTS = 2
"""The last may be on a disk that lost it; the one before it is still there."""


class TrainingState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a training is, apart from its tensors."""

    step: int
    """Optimizer steps done: the next one's number."""
    seconds: float
    """Spent so far, interruptions left out."""
    waited: float
    """Seconds without images since the last row of the curve."""
    since: float
    """Seconds since the last row of the curve."""
    curve: tuple[CurvePoint, ...]


Tensors = dict[str, Any]
"""Nested mappings and lists of tensors and numbers."""


def save_checkpoint(folder: Path, progress: TrainingState, tensors: Tensors) -> None:
    """Write the checkpoint of a step and remove all but the last `KEPT_CHECKPOINTS`.

    Args:
        folder: of the checkpoints.
        progress: how far the training is.
        tensors: everything else that decides how it goes on.
    """
    content = {"progressed": msgspec.json.encode(progress).decode(), "tensors": tensors}
    write_atomic(folder / f"step-{progress.step:09}.pt", lambda file: torch.save(content, file))
    for old in list_checkpoints(folder)[:-KEPT_CHECKPOINTS]:
        old.unlink(missing_ok=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if re.fullmatch(r"step-\d+", path.stem))


def newest_checkpoint(folder: Path) -> tuple[TrainingState, Tensors] | None:
    """Return the last checkpoint that can be read whole; None where there is none."""
    for path in reversed(list_checkpoints(folder)):
        # bytes that are no checkpoint can break the reader in any way: the one before it counts then
        with contextlib.suppress(Exception):
            content = torch.load(path, map_location="cpu", weights_only=True)
            return msgspec.json.decode(content["progressed"], type=TrainingState), content["tensors"]
    return None
