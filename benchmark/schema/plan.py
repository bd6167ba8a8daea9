"""The plan of a run as plain data, written before anything is computed."""

import hashlib
import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ...core.config_fields import described
from ...core.files import read_regular, write_json

PROTOCOL_VERSION = 1
"""Raised when a change makes new records incomparable with old ones."""
PLAN_FORMAT = 2
"""1 is version 0.1."""
Step = Literal["pretrain", "tune", "score"]
OptionValue = int | float | str | bool | None
"""Value of an option of a protocol."""


TRAINING = "Training"
"""Heading of these options in the help."""
Rates = tuple[Annotated[float, Meta(gt=0)], ...]


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyper-parameters of training, equal for every init; part of every cell's key."""

    steps: Annotated[
        int,
        described(
            TRAINING, "Maximum optimizer steps of a fine-tuning; early stopping may end it before.", ge=1
        ),
    ] = 200
    batch_size: Annotated[int, described(TRAINING, "Images per optimizer step.", ge=1)] = 32
    lr_grid: Annotated[
        Rates, described(TRAINING, "AdamW learning rates to try, comma-separated.", min_length=1)
    ] = (3e-4, 1e-3, 3e-3)
    weight_decay: Annotated[float, described(TRAINING, "AdamW weight decay.", ge=0)] = 0.01
    evaluations: Annotated[int, described(TRAINING, "Validations per fine-tuning.", ge=1)] = 10
    patience: Annotated[int, described(TRAINING, "Validations without improvement to stop.", ge=1)] = 5
    augment: Annotated[bool, described(TRAINING, "Augment training images, by modality.")] = True
    l2_grid: Annotated[
        Rates, described(TRAINING, "L2 penalties of `linear` to try, comma-separated.", min_length=1)
    ] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0, 100.0)
    """Per image: ``lambda = 1 / (C n)``."""
    k_grid: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        described(TRAINING, "Numbers of neighbors of `knn` to try, comma-separated.", min_length=1),
    ] = (1, 5, 20, 50)
    pretrain_images: Annotated[
        int,
        described(TRAINING, "Images seen in total by a `mednet` init that is pretrained here.", ge=1),
    ] = 16_000
    """With repetition."""
    pretrain_lr: Annotated[float, described(TRAINING, "Learning rate of a `mednet` pretraining.", gt=0)] = (
        1e-3
    )
    pretrain_batch: Annotated[int, described(TRAINING, "Batch size of a `mednet` pretraining.", ge=1)] = 64


class Fold(msgspec.Struct, frozen=True, kw_only=True, tag="fold"):
    """Cross-validation: the test images are fold `index`, 0 to `folds` - 1."""

    index: int
    folds: int


class HeldOutSite(msgspec.Struct, frozen=True, kw_only=True, tag="site"):
    """Held-out site, such as a hospital: test on its images, train on all others."""

    site: str


class PlantedConfounder(msgspec.Struct, frozen=True, kw_only=True, tag="confounder"):
    """Mark, correlated with the label, on a share (0 to 1) of the training images only."""

    share: float


View = Fold | HeldOutSite | PlantedConfounder


class LabelsPerClass(msgspec.Struct, frozen=True, kw_only=True):
    """Label budget as a number of labeled training images per class."""

    count: int


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Unit of work, of resume and of failure.

    Unset fields are not encoded, and files call the label budget `fraction`: the keys of version 0.1 stay.
    """

    step: Step = "score"
    """score: evaluate; pretrain: train weights; tune: only in older plans, choice of a learning rate."""
    task: str
    """Target task; for a pretraining its variant, gray or color."""
    size: int
    """Side of the stored images in pixels."""
    input_size: int
    """Side of the network's input in pixels."""
    arch: str
    init: str
    protocol: str = ""
    labels: float | LabelsPerClass = msgspec.field(default=1.0, name="fraction")
    """Label budget: share of the training and validation labels in (0, 1], or a number per class."""
    seed: int = 0
    view: View | msgspec.UnsetType = msgspec.UNSET
    """How train and test are split; unset: the task's own splits."""
    pretraining: str | msgspec.UnsetType = msgspec.UNSET
    """Identity of the pretrained weights; unset for score."""
    protocol_options: dict[str, OptionValue] | msgspec.UnsetType = msgspec.UNSET
    """Options of the protocol with their values, defaults included; unset for a protocol without options."""

    def __hash__(self) -> int:  # a dict has no hash
        return hash((self.step, self.task, self.arch, self.init, self.protocol, self.labels, self.seed))

    @property
    def protocol_label(self) -> str:
        """Protocol with its options, as reports show it: "partial (stages=2)"."""
        if not self.protocol_options:
            return self.protocol
        values = (f"{name}={_option_text(value)}" for name, value in self.protocol_options.items())
        return f"{self.protocol} ({' '.join(values)})"

    @property
    def fraction(self) -> float:
        """Share of the labels; NaN where the budget is a number per class."""
        return self.labels if isinstance(self.labels, (int, float)) else math.nan


def _option_text(value: OptionValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class PlannedCell(msgspec.Struct, frozen=True, kw_only=True):
    """Cell with the key of its record and the keys of the cells that it depends on."""

    cell: Cell
    key: str
    needs: tuple[str, ...] = ()


def key_of(cell: Cell, *identities: str) -> str:
    """Return a cell's key, 16 hexadecimal digits.

    Args:
        cell: the cell.
        identities: all else that decides the result: fingerprint of the data, identity of the weights,
            the fields of the training configuration that apply.
    """
    if cell.pretraining:  # as version 0.1 did
        task = f"{cell.task}:{cell.pretraining}"
        cell = msgspec.structs.replace(cell, task=task, pretraining=msgspec.UNSET)
    content = msgspec.json.encode([PROTOCOL_VERSION, cell, identities])
    return hashlib.sha256(content).hexdigest()[:16]


def upgrade_cell(cell: Cell) -> Cell:
    """Convert a cell of version 0.1, which wrote a pretraining's identity into its task."""
    variant, colon, identity = cell.task.partition(":")
    if cell.step != "pretrain" or not colon:
        return cell
    return msgspec.structs.replace(cell, task=variant, pretraining=identity)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Cells of one invocation of `run`, as written to `plan.json`."""

    format: int = PLAN_FORMAT
    protocol_version: int = PROTOCOL_VERSION
    request: dict[str, object]
    """Resolved options by their names on the command line."""
    recipe: TrainingConfig
    cells: tuple[PlannedCell, ...]
    generated: tuple[str, ...] = ()
    """Tasks whose images a program made."""

    def write(self, folder: Path) -> None:
        """Write `plan.json` into the run directory `folder`."""
        write_json(folder / "plan.json", self)


def read_plan(folder: Path) -> Plan | None:
    """Read the plan of a run directory; None where it is missing or damaged."""
    try:
        plan = msgspec.json.decode(read_regular(folder / "plan.json"), type=Plan)
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    cells = (msgspec.structs.replace(planned, cell=upgrade_cell(planned.cell)) for planned in plan.cells)
    if plan.format != 1:
        return plan
    cells = tuple(cells)
    generated = sorted({planned.cell.task for planned in cells if planned.cell.task.startswith("phantom")})
    return msgspec.structs.replace(plan, cells=cells, generated=tuple(generated))
