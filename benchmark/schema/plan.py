"""The plan of a run as plain data, written before anything is computed."""

import hashlib
import math
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...core.config_fields import field_meta, write_number
from ...core.errors import UserError
from ...core.files import read_regular, write_json
from .budget import BUDGETS, STANDARD

PROTOCOL_VERSION = 1
"""Raised when a change makes new records of all protocols incomparable with old ones; see also
`BenchProtocol.version`."""
PLAN_FORMAT = 2
"""1 is version 0.1."""
Step = Literal["pretrain", "tune", "score"]
OptionValue = int | float | str | bool | None
"""Value of an option of a protocol."""


TRAINING = "Training"
"""Heading of these options in the help."""
Rates = tuple[Annotated[float, Meta(gt=0)], ...]


VALIDATION_SHARE = 0.3
"""Largest cost of all validations of a training, in costs of its steps."""
FORWARD_COST = 1 / 3
"""Cost of a forward pass, in costs of a training step: the backward pass costs two."""
BY_BUDGET: Any = None
"""Default of an option that the budget sets: after `__post_init__` the field holds the budget's value."""


def parse_steps(value: object) -> tuple[int, int]:
    """Parse `200`, a fixed number of steps, or `1000..20000`, the least and the most."""
    ends = value if isinstance(value, (tuple, list)) else str(value).split("..")
    try:
        least, most = [int(str(end)) for end in ends] * (3 - len(ends))
        if not 1 <= least <= most:
            raise ValueError
    except ValueError:
        said = f"--steps {value}: pass a whole number of at least 1, or a range like 1000..20000."
        raise UserError(said) from None
    return least, most


def steps_text(steps: tuple[int, int]) -> str:
    """Write limits of the steps as `--steps` takes them."""
    return "..".join(map(str, dict.fromkeys(steps)))


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyper-parameters of training, equal for every init; part of every cell's key."""

    passes: Annotated[
        float, field_meta(TRAINING, "Passes of a fine-tuning over the training labels of its cell.", gt=0)
    ] = BY_BUDGET
    steps: Annotated[
        tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]],
        field_meta(
            TRAINING,
            "Optimizer steps of a fine-tuning: limits of those of --passes, like 1000..20000, or a number.",
            parse=parse_steps,
            write=steps_text,
            metavar="STEPS",
        ),
    ] = BY_BUDGET
    batch_size: Annotated[int, field_meta(TRAINING, "Images per optimizer step.", ge=1)] = 32
    lr_grid: Annotated[
        Rates,
        field_meta(
            TRAINING,
            "AdamW learning rates to try, comma-separated; those of --budget are a tenth for ViTs.",
            min_length=1,
        ),
    ] = BY_BUDGET
    weight_decay: Annotated[float, field_meta(TRAINING, "AdamW weight decay.", ge=0)] = 0.01
    evaluations: Annotated[int, field_meta(TRAINING, "Most validations per fine-tuning.", ge=1)] = 10
    patience: Annotated[int, field_meta(TRAINING, "Validations without improvement to stop.", ge=1)] = 5
    augment: Annotated[bool, field_meta(TRAINING, "Augment training images, by modality.")] = True
    l2_grid: Annotated[
        Rates, field_meta(TRAINING, "L2 penalties of `linear` to try, comma-separated.", min_length=1)
    ] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0, 100.0)
    """Per image: ``lambda = 1 / (C n)``."""
    k_grid: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        field_meta(TRAINING, "Numbers of neighbors of `knn` to try, comma-separated.", min_length=1),
    ] = (1, 5, 20, 50)
    pretrain_images: Annotated[
        int,
        field_meta(
            TRAINING,
            "Images, with repetition, that a `mednet` pretraining shows; mednet@N: N different ones.",
            ge=1,
        ),
    ] = BY_BUDGET
    """With repetition."""
    pretrain_lr: Annotated[float, field_meta(TRAINING, "Learning rate of a `mednet` pretraining.", gt=0)] = (
        1e-3
    )
    pretrain_batch: Annotated[int, field_meta(TRAINING, "Batch size of a `mednet` pretraining.", ge=1)] = 64

    def __post_init__(self) -> None:
        fill_by_budget(self, STANDARD)

    def steps_for(self, n_train: int) -> int:
        """Return the optimizer steps of a training on `n_train` labels, without early stopping."""
        least, most = self.steps
        return min(max(math.ceil(self.passes * n_train / self.batch_size), least), most)

    def extended(self, factor: float) -> "TrainingConfig":
        """Return the configuration with `factor` times the passes and limits of the steps."""
        least, most = (math.ceil(factor * steps) for steps in self.steps)
        return msgspec.structs.replace(self, passes=factor * self.passes, steps=(least, most))

    def validations_for(self, n_train: int, n_val: int) -> int:
        """Return the number of validations of a training; beyond two, within `VALIDATION_SHARE`."""
        trained = self.steps_for(n_train) * self.batch_size
        affordable = VALIDATION_SHARE * trained / (FORWARD_COST * max(1, n_val))
        return min(self.evaluations, max(2, int(affordable)))

    def steps_per_validation(self, n_train: int, n_val: int) -> int:
        """Return the optimizer steps between two validations."""
        return -(-self.steps_for(n_train) // self.validations_for(n_train, n_val))


def fill_by_budget(config: msgspec.Struct, budget: str) -> None:
    """Set the fields of a new frozen struct that are None to the values of a budget."""
    for name, value in msgspec.structs.asdict(BUDGETS[budget]).items():
        if getattr(config, name, value) is None:
            msgspec.structs.force_setattr(config, name, value)


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
    """Label budget as a number of training labels, and as many validation labels, per class."""

    count: Annotated[int, Meta(ge=1)]


LabelBudget = float | LabelsPerClass
"""Share of the training and validation labels in (0, 1], or a number of each per class."""


def shots_of(fraction: float) -> int:
    """Return the labels per class of a budget written as one number (`Cell.fraction`); 0 for a share."""
    return round(-1 / fraction) if fraction < 0 else 0


def budget_text(fraction: float) -> str:
    """Write a budget: "0.1", or "5 per class"."""
    return f"{shots} per class" if (shots := shots_of(fraction)) else f"{fraction:g}"


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
    labels: LabelBudget = msgspec.field(default=1.0, name="fraction")
    """Label budget: share of the training and validation labels in (0, 1], or a number per class."""
    seed: int = 0
    view: View | msgspec.UnsetType = msgspec.UNSET
    """How train and test are split; unset: the task's own splits."""
    pretraining: str | msgspec.UnsetType = msgspec.UNSET
    """Identity of the pretrained weights; unset for score."""
    protocol_options: dict[str, OptionValue] | msgspec.UnsetType = msgspec.UNSET
    """Options of the protocol with their values, defaults included; unset for a protocol without options."""
    longer: float | msgspec.UnsetType = msgspec.UNSET
    """Factor of the passes of a control of random weights, left out of averages; unset for other cells."""
    resampled: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether the seed trains on a resample of the training and validation images; unset if not."""

    def __hash__(self) -> int:  # a dict has no hash
        return hash((self.step, self.task, self.arch, self.init, self.protocol, self.labels, self.seed))

    @property
    def protocol_label(self) -> str:
        """Protocol as reports show it, with options, resampling and folds: "partial (stages=2 folds=5)"."""
        values = [f"{name}={_option_text(value)}" for name, value in (self.protocol_options or {}).items()]
        values += ["resampled"] if self.resampled else []
        values += [f"folds={self.view.folds}"] if isinstance(self.view, Fold) else []
        return f"{self.protocol} ({' '.join(values)})" if values else self.protocol

    @property
    def fraction(self) -> float:
        """Share of the labels; of n per class -1/n, which sorts below every share as it does among others."""
        return -1 / self.labels.count if isinstance(self.labels, LabelsPerClass) else self.labels


def _option_text(value: OptionValue) -> str:
    """Write a value so that no other reads alike: texts that are no plain word stand in quotes."""
    if isinstance(value, str):
        return value if value.isidentifier() and not iskeyword(value) else repr(value)
    return write_number(value) if isinstance(value, float) else str(value)


class PlannedCell(msgspec.Struct, frozen=True, kw_only=True):
    """Cell with the key of its record and the keys of the cells that it depends on."""

    cell: Cell
    key: str
    needs: tuple[str, ...] = ()


def record_version(protocol_version: int = 1) -> int:
    """Return the version of a protocol's records; it rises with either version."""
    return PROTOCOL_VERSION + protocol_version - 1


def key_of(cell: Cell, *identities: str, protocol_version: int = 1) -> str:
    """Return a cell's key, 16 hexadecimal digits.

    Args:
        cell: the cell.
        identities: all else that decides the result: fingerprint of the data, identity of the weights,
            the fields of the training configuration that apply.
        protocol_version: `BenchProtocol.version`.
    """
    if cell.pretraining:  # as version 0.1 did
        task = f"{cell.task}:{cell.pretraining}"
        cell = msgspec.structs.replace(cell, task=task, pretraining=msgspec.UNSET)
    content = msgspec.json.encode([record_version(protocol_version), cell, identities])
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
        plan = _decode_plan(read_regular(folder / "plan.json"))
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    cells = (msgspec.structs.replace(planned, cell=upgrade_cell(planned.cell)) for planned in plan.cells)
    if plan.format != 1:
        return plan
    cells = tuple(cells)
    generated = sorted({planned.cell.task for planned in cells if planned.cell.task.startswith("phantom")})
    return msgspec.structs.replace(plan, cells=cells, generated=tuple(generated))


def _decode_plan(content: bytes) -> Plan:
    """Decode a plan; one from before there were budgets has a fixed number of steps."""
    try:
        return msgspec.json.decode(content, type=Plan)
    except msgspec.ValidationError:
        plan = msgspec.json.decode(content, type=dict[str, Any])
        recipe = msgspec.convert(plan.get("recipe"), dict[str, Any])
        return msgspec.convert(plan | {"recipe": recipe | {"steps": [recipe.get("steps")] * 2}}, Plan)
