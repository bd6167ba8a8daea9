"""Interface of an evaluation protocol: its input, its result and its cost estimate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...baselines.init import InitCard
from ...core.registry import Registry
from ...tasks.task import Split, Task
from ..schema.plan import Cell, OptionValue, TrainingConfig
from ..schema.records import HyperparameterChoice, StageSimilarity, ValidationPoint
from .subsets import LabelSubset

if TYPE_CHECKING:
    from .device_data import DeviceSplits
    from .model import ImageClassifier


class NoProtocolOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a protocol that has none."""


@dataclass(frozen=True, eq=False)
class EvalContext:
    """Everything that decides a cell's result; the same for every protocol.

    Attributes:
        subset: the labels that the cell may use.
        card: the resolved init, whose weights are available.
        recipe: settings that are equal for every init.
        cache: folder of features that runs share.
        parts: number of parts of each training batch; above 1 where memory is short.
        cuda_graphs: whether a GPU records training steps and evaluations as CUDA graphs.
    """

    cell: Cell
    task: Task
    data: DeviceSplits
    subset: LabelSubset
    card: InitCard
    recipe: TrainingConfig
    device: str
    cache: Path
    parts: int = 1
    cuda_graphs: bool = False

    @property
    def options(self) -> Any:
        """Options of the cell, a struct of the protocol's type `options`."""
        kind = options_type(PROTOCOLS[self.cell.protocol])
        return msgspec.convert(self.cell.protocol_options or {}, kind)

    def labels(self, split: str) -> NDArray[np.int64]:
        """Return the labels of the train or val subset, or of the whole test split."""
        part: Split = self.data.splits[split]
        index = {"train": self.subset.train, "val": self.subset.val}.get(split)
        return part.labels if index is None else part.labels[index]


@dataclass(frozen=True, eq=False)
class ProtocolResult:
    """Predictions of a cell, and facts for its record.

    Attributes:
        test_scores: probabilities [n, classes] of the whole test split.
        val_scores: probabilities of the validation subset.
        weights: "sha256:..." or "random:seed" of the loaded weights.
        choices: hyper-parameters chosen on validation.
        curve: validations during training, if any.
        notes: sentences for the record.
        similarity: of the features before and after training, per stage.
        parameters: number of trained weights of the backbone; 0 where it is frozen.
        passes: of the training over the labels of the subset until it ended; 0 where nothing is trained.
        beside: test probabilities [n, classes] by further fixed rules, by name.
        model: the trained network, which `--keep-models` stores; None where there is none to keep.
    """

    test_scores: NDArray[np.float64]
    val_scores: NDArray[np.float64]
    weights: str
    choices: tuple[HyperparameterChoice, ...] = ()
    curve: tuple[ValidationPoint, ...] = ()
    notes: tuple[str, ...] = ()
    similarity: tuple[StageSimilarity, ...] = ()
    parameters: int = 0
    passes: float = 0.0
    beside: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    model: ImageClassifier | None = None


@dataclass(frozen=True)
class CostEstimate:
    """Cost of a cell: images, and what does not depend on their number."""

    trained: float = 0.0
    """Images in forward and backward passes."""
    seen: float = 0.0
    """Images in forward passes only."""
    solver_seconds: float = 0.0
    """Fixed time beside the images; work that grows with them is in `BenchProtocol.solver_work`."""
    batch: int = 0
    """Images per training step; 0 is the run's `batch_size`."""
    validations: int = 0
    """Validations during the trainings."""
    least_share: float = 1.0
    """Smallest share of the steps, which early stopping may reach."""


@dataclass(frozen=True)
class SolverProblem:
    """Size of the problem that a solver on frozen features has to solve.

    Attributes:
        outputs: models to fit: labels of a multilabel task, 1 for two classes, otherwise classes.
        features: width of the backbone's output.
    """

    train: int
    val: int
    test: int
    outputs: int
    features: int


@dataclass(frozen=True)
class SolverWork:
    """A part of a solver's work: products of a matrix [rows, features] with one [features, columns].

    Attributes:
        multiply_adds: of all products together.
        columns: width of the narrower matrix, which decides the speed.
    """

    multiply_adds: float
    columns: int


class BenchProtocol(Protocol):
    """A way to evaluate an init on a task."""

    recipe_fields: tuple[str, ...] = ()
    """Fields of the recipe that decide the result; only these enter a cell's key."""
    version: int = 1
    """Raised when new records become incomparable with the protocol's old ones; optional for a plug-in."""
    frozen: bool = False
    """Whether the backbone does not change, so that features can be shared."""
    options: type[msgspec.Struct] = NoProtocolOptions
    """Frozen struct of the options, of numbers, texts and flags with defaults; optional for a plug-in."""

    def score(self, job: EvalContext) -> ProtocolResult:
        """Choose on validation, train on the subset, and predict the test split, without test labels."""
        ...

    def work(self, recipe: TrainingConfig, train: int, val: int, test: int) -> CostEstimate:
        """Estimate the cost of one `score` cell from numbers of images."""
        ...

    def solver_work(self, recipe: TrainingConfig, problem: SolverProblem) -> tuple[SolverWork, ...]:
        """Estimate the parts of a solver's work on frozen features; optional for a plug-in."""
        return ()

    def cell_options(self, options: Any, arch: str) -> dict[str, OptionValue]:
        """Return the options that decide the result on `arch`; an empty dict leaves the key as without."""
        fields = msgspec.structs.fields(options)  # also those that `omit_defaults` leaves out of JSON
        return msgspec.to_builtins({field.encode_name: getattr(options, field.name) for field in fields})

    def check_arch(self, arch: str, input_size: int, options: Any) -> None:
        """Raise `UserError` where the options do not fit `arch`; called before the run."""


def options_type(protocol: BenchProtocol) -> type[msgspec.Struct]:
    """Return the type of a protocol's options, also of a plug-in's without that attribute."""
    return getattr(protocol, "options", NoProtocolOptions)


def version_of(protocol: BenchProtocol) -> int:
    """Return the version of a protocol, also of a plug-in's without that attribute."""
    return getattr(protocol, "version", 1)


PROTOCOL_PARTS = ("recipe_fields", "frozen", "score", "work")


def _fault(name: str, thing: object) -> str:
    """Describe what is wrong with a plug-in's protocol; "" if nothing."""
    lacking = [part for part in PROTOCOL_PARTS if not hasattr(thing, part)]
    if lacking:
        return f"gives a protocol without {', '.join(lacking)}"
    if getattr(thing, "tunes", False):  # of version 0.1
        return "gives a protocol with `tunes`, which is gone: choose in `score`, as the CHANGELOG says"
    kind = options_type(thing)  # type: ignore[arg-type]
    fits = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return "" if fits else "gives a protocol whose options are no msgspec.Struct class"


PROTOCOLS: Registry[BenchProtocol] = Registry(
    "protocol", "mednet_bench.benchmark.protocols", "mednet_bench.protocols", _fault
)


EDGE_WINS = 0.84
"""Share of draws in which an edge must beat its neighbor: one standard error of their difference."""


def describe_choice(
    name: str,
    grid: tuple[float, ...],
    scores: tuple[float | None, ...],
    best: int,
    criterion: str,
    wins: Callable[[int, int], float] | None = None,
) -> HyperparameterChoice:
    """Describe a choice from a grid; a grid of one value has no edge.

    Args:
        wins: returns how often one place of the grid beats another on other validation images, from 0 to 1,
            as `share_of_wins` does: an edge that is no better than its neighbor but for them is none.
    """
    order = sorted(range(len(grid)), key=grid.__getitem__)
    edge = len(grid) > 1 and best in (order[0], order[-1])
    if edge and wins:
        edge = wins(best, order[1] if best == order[0] else order[-2]) >= EDGE_WINS
    return HyperparameterChoice(
        name=name, value=grid[best], grid=grid, scores=scores, at_edge=edge, criterion=criterion
    )
