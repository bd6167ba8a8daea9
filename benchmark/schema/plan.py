"""The grid of cells, plain data, resolved and written before anything runs."""

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from ...core.files import read_regular, write_json

PROTOCOL_VERSION = 1
"""Raise it whenever a change makes new records incomparable with old ones."""

Step = Literal["pretrain", "tune", "score"]


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a cell is trained; equal for every init, and part of every cell's key."""

    steps: int = 200
    """Optimizer steps of a fine-tuning (upper bound; early stopping may end it before)."""
    batch_size: int = 32
    """Images per optimizer step."""
    lr_grid: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """AdamW learning rates from which validation chooses, per cell group."""
    weight_decay: float = 0.01
    evaluations: int = 10
    """How often a fine-tuning is validated."""
    patience: int = 5
    """Evaluations without a better validation score before it stops."""
    augment: bool = True
    l2_grid: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0, 100.0)
    """Strengths of the penalty of the linear probe, per image: ``lambda = 1 / (C n)``."""
    k_grid: tuple[int, ...] = (1, 5, 20, 50)
    """Numbers of neighbors from which validation chooses for `knn`."""
    pretrain_images: int = 16_000
    """Images that an automatic MedNet pretraining sees, with repetition."""
    pretrain_lr: float = 1e-3
    pretrain_batch: int = 64


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """The unit of work, of resume and of failure."""

    step: Step = "score"
    """score: an evaluation; tune: the choice of a learning rate; pretrain: the making of weights."""
    task: str
    """The target; of a pretraining, the target that it leaves out first (others may share it)."""
    size: int
    """Side in pixels of the images as stored."""
    input_size: int
    """Side in pixels of what the network sees."""
    arch: str
    init: str
    protocol: str = ""
    fraction: float = 1.0
    seed: int = 0


class PlannedCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell, the key under which its record is kept, and the keys of what must be done before."""

    cell: Cell
    key: str
    needs: tuple[str, ...] = ()


def key_of(cell: Cell, *identities: str) -> str:
    """Return the 16 hexadecimal digits under which a record is kept.

    Args:
        cell: the cell.
        identities: everything else that decides the result: data fingerprint, identity of the
            weights, the part of the recipe that applies.
    """
    content = msgspec.json.encode([PROTOCOL_VERSION, cell, identities])
    return hashlib.sha256(content).hexdigest()[:16]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The resolved grid of one invocation of `run`, as it stands in `plan.json`."""

    format: int = 1
    protocol_version: int = PROTOCOL_VERSION
    request: dict[str, object]
    """The resolved options, by the names of the command line."""
    recipe: TrainingConfig
    cells: tuple[PlannedCell, ...]

    def write(self, folder: Path) -> None:
        """Write `plan.json` into the run directory `folder`."""
        write_json(folder / "plan.json", self)


def read_plan(folder: Path) -> Plan | None:
    """Return the plan of a run directory; None where there is none that can be read whole."""
    try:
        return msgspec.json.decode(read_regular(folder / "plan.json"), type=Plan)
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
