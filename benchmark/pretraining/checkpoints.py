"""Checkpoints of a pretraining: atomic, the last two are kept, without pickled code."""

import contextlib
import re
from pathlib import Path
from typing import Any

import msgspec
import torch

from ...core.files import write_atomic
from .pretrain_result import CurvePoint

KEPT_CHECKPOINTS = 2
"""The last one may be damaged after a crash; the one before it is the fallback."""


class TrainingState(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a training, apart from its tensors."""

    step: int
    """Optimizer steps done, and the number of the next one."""
    seconds: float
    """Time spent so far, without interruptions."""
    waited: float
    """Seconds of waiting for images since the last row of the curve."""
    since: float
    """Seconds since the last row of the curve."""
    curve: tuple[CurvePoint, ...]


Tensors = dict[str, Any]
"""Nested mappings and lists of tensors and numbers."""


def save_checkpoint(folder: Path, progress: TrainingState, tensors: Tensors) -> None:
    """Write the checkpoint of a step and remove all but the last `KEPT_CHECKPOINTS`."""
    content = {"progressed": msgspec.json.encode(progress).decode(), "tensors": tensors}
    write_atomic(folder / f"step-{progress.step:09}.pt", lambda file: torch.save(content, file))
    for old in list_checkpoints(folder)[:-KEPT_CHECKPOINTS]:
        old.unlink(missing_ok=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if re.fullmatch(r"step-\d+", path.stem))


def newest_checkpoint(folder: Path) -> tuple[TrainingState, Tensors] | None:
    """Return the last complete checkpoint; None if there is none."""
    for path in reversed(list_checkpoints(folder)):
        # torch.load raises anything on damaged bytes: fall back to the checkpoint before
        with contextlib.suppress(Exception):
            content = torch.load(path, map_location="cpu", weights_only=True)
            return msgspec.json.decode(content["progressed"], type=TrainingState), content["tensors"]
    return None
