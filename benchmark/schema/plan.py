"""The grid of cells, plain data, resolved and written before anything runs."""

import hashlib
import math
from pathlib import Path
from typing import Literal

import msgspec

from ...core.files import read_regular, write_json

PROTOCOL_VERSION = 1
"""Raise it whenever a change makes new records incomparable with old ones."""

PLAN_FORMAT = 2
"""1 is version 0.1."""

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


class Fold(msgspec.Struct, frozen=True, kw_only=True, tag="fold"):
    """Test images are fold `index` of a cross-validation, 0 to `folds` - 1."""

    index: int
    folds: int


class HeldOutSite(msgspec.Struct, frozen=True, kw_only=True, tag="site"):
    """Test images are those of one site, such as a hospital; training images those of the others."""

    site: str


class PlantedConfounder(msgspec.Struct, frozen=True, kw_only=True, tag="confounder"):
    """A share of the training images, 0 to 1, carries a mark that goes with the label; no test image does."""

    share: float


View = Fold | HeldOutSite | PlantedConfounder


class LabelsPerClass(msgspec.Struct, frozen=True, kw_only=True):
    """A label budget by number: so many labeled training images of each class."""

    count: int


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """The unit of work, of resume and of failure.

    Unset fields are not encoded, and a share of the labels is called `fraction` in files: so the keys of
    version 0.1 stay.
    """

    step: Step = "score"
    """score: an evaluation; tune: the choice of a learning rate; pretrain: the making of weights."""
    task: str
    """The target; of a pretraining its variant, gray or color."""
    size: int
    """Side in pixels of the images as stored."""
    input_size: int
    """Side in pixels of what the network sees."""
    arch: str
    init: str
    protocol: str = ""
    labels: float | LabelsPerClass = msgspec.field(default=1.0, name="fraction")
    """The label budget: a share of the training and validation labels in (0, 1], or a number per class."""
    seed: int = 0
    view: View | msgspec.UnsetType = msgspec.UNSET
    """How train and test were drawn; unset: as the task gives them."""
    pretraining: str | msgspec.UnsetType = msgspec.UNSET
    """Identity of the weights that a pretraining makes; unset for tune and score."""

    @property
    def fraction(self) -> float:
        """The share of the labels; NaN where the budget is a number per class."""
        return self.labels if isinstance(self.labels, (int, float)) else math.nan


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
    if cell.pretraining:  # keys of version 0.1 have the identity in the task
        task = f"{cell.task}:{cell.pretraining}"
        cell = msgspec.structs.replace(cell, task=task, pretraining=msgspec.UNSET)
    content = msgspec.json.encode([PROTOCOL_VERSION, cell, identities])
    return hashlib.sha256(content).hexdigest()[:16]


def upgrade_cell(cell: Cell) -> Cell:
    """Return a cell of a file of version 0.1 as it is written since."""
    variant, colon, identity = cell.task.partition(":")
    if cell.step != "pretrain" or not colon:
        return cell
    return msgspec.structs.replace(cell, task=variant, pretraining=identity)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The resolved grid of one invocation of `run`, as written to `plan.json`."""

    format: int = PLAN_FORMAT
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
        plan = msgspec.json.decode(read_regular(folder / "plan.json"), type=Plan)
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    cells = (msgspec.structs.replace(planned, cell=upgrade_cell(planned.cell)) for planned in plan.cells)
    return msgspec.structs.replace(plan, cells=tuple(cells)) if plan.format == 1 else plan
