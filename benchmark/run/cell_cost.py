"""What the cells of a plan compute and write, counted from the cards alone."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from ...tasks.catalog import missing_files
from ...tasks.task import Task
from ..pretraining.automatic import EVALUATIONS
from ..pretraining.mednet_cache import find_pretrain_facts
from ..pretraining.objective import OBJECTIVES
from ..pretraining.sources import held_out_most
from ..schema.plan import Cell, LabelsPerClass, PlannedCell
from ..training.protocol import PROTOCOLS, CostEstimate, SolverProblem, SolverWork
from ..training.subsets import subset_size
from .planner import BuiltNetwork, ResolvedPlan

SCORE_BYTES, LABEL_BYTES = 3.8, 0.6
"""Of a probability and of a label in the compressed predictions."""
RECORD_BYTES = 9_000
"""Of a record and of what the archive of its predictions adds."""
INDEX_BYTES = 6.9
"""Of an index in the manifest of a label subset."""
FEATURE_BYTES = 4


@dataclass(frozen=True)
class NetworkShape:
    """Facts of an architecture that cost depends on."""

    features: int
    """Width of its output."""
    parameters: int


@dataclass(frozen=True)
class CellCost:
    """What one cell computes.

    Attributes:
        task: the target; of a pretraining its first source.
        work: its images, before early stopping; features that another cell computes are not counted.
        batch: images per training step; 0 without a training.
        trainings: number of networks that it builds.
        solver: on frozen features, if any.
        scored: images of val and test whose metrics are computed.
    """

    planned: PlannedCell
    task: Task
    work: CostEstimate
    batch: int = 0
    trainings: int = 0
    solver: tuple[SolverWork, ...] = ()
    scored: int = 0

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.planned.cell

    @property
    def steps(self) -> int:
        """Optimizer steps, before early stopping."""
        return math.ceil(self.work.trained / self.batch) if self.batch else 0


class CostCounter:
    """Counts the costs of a plan's cells; every network's features count once."""

    def __init__(self, resolved: ResolvedPlan, shapes: dict[BuiltNetwork, NetworkShape]) -> None:
        self.resolved, self.shapes = resolved, shapes
        self.features: dict[tuple[object, ...], int] = {}
        """Bytes of the features of each (task, network, weights)."""

    def count(self, waiting: Iterable[PlannedCell]) -> Iterator[CellCost]:
        """Yield the cost of each cell."""
        for planned in waiting:
            yield self._pretrain(planned) if planned.cell.step == "pretrain" else self._score(planned)

    def shape(self, cell: Cell) -> NetworkShape:
        """Return the facts of a cell's network."""
        return self.shapes[self.resolved.network(cell)]

    def _pretrain(self, planned: PlannedCell) -> CellCost:
        card = self.resolved.pretraining(planned.cell)
        plan, recipe = card.pretraining, self.resolved.request.recipe
        if plan is None:
            raise AssertionError("a pretrain cell has a pretraining")
        if card.file and find_pretrain_facts(card.file):  # made before
            return CellCost(planned, plan.sources[0], CostEstimate())
        steps = max(1, recipe.pretrain_images // recipe.pretrain_batch)
        batch = recipe.pretrain_batch * OBJECTIVES[plan.options.objective].views
        sizes = [task.split_sizes or (0, 0, 0) for task in plan.sources]
        held_out = sum(held_out_most(size[0]) for size in sizes)
        work = CostEstimate(
            trained=steps * batch,
            seen=EVALUATIONS * held_out,
            validations=EVALUATIONS,
        )
        return CellCost(planned, plan.sources[0], work, batch, 1)

    def _score(self, planned: PlannedCell) -> CellCost:
        cell, request = planned.cell, self.resolved.request
        task, protocol = self.resolved.tasks[cell.task], PROTOCOLS[cell.protocol]
        recipe = request.recipe_for(cell)
        if cell.longer:  # at one rate, which another cell chose
            recipe = msgspec.structs.replace(recipe, lr_grid=recipe.lr_grid[:1])
        whole = self.resolved.split_sizes(cell.task, cell.size)
        train, val = (subset_size(task, size, cell.labels) for size in whole[:2])
        work, scored = protocol.work(recipe, train, val, whole[2]), val + whole[2]
        if not protocol.frozen:
            trainings = len(recipe.lr_grid) if "lr_grid" in protocol.recipe_fields else 1
            return CellCost(planned, task, work, work.batch or recipe.batch_size, trainings, (), scored)
        width = self.shape(cell).features
        outputs = 1 if task.kind == "binary" else len(task.classes)
        problem = SolverProblem(train, val, whole[2], outputs, width)
        solve = getattr(protocol, "solver_work", None)
        solver = solve(recipe, problem) if solve else ()
        card = self.resolved.card(cell)
        key = (cell.task, cell.size, cell.arch, card.identity, cell.seed if card.seeded else -1)
        first = work.seen > 0 and key not in self.features
        self.features |= {key: sum(whole) * width * FEATURE_BYTES} if first else {}
        seen = float(sum(whole)) if first else 0.0
        return CellCost(planned, task, replace(work, seen=seen), 0, int(first), solver, scored)


def count_disk(counter: CostCounter, costs: Sequence[CellCost]) -> dict[str, int]:
    """Return the bytes that cells write, by kind; downloads are upper bounds, others within a third or so."""
    resolved, scores = counter.resolved, [cost for cost in costs if cost.cell.step == "score"]
    found: Counter[str] = Counter()
    for cost in scores:
        found["records"] += RECORD_BYTES
        labels = len(cost.task.classes) if cost.task.kind == "multilabel" else 1
        row = len(cost.task.classes) * SCORE_BYTES + labels * LABEL_BYTES
        found["predictions"] += round(resolved.split_sizes(cost.cell.task, cost.cell.size)[2] * row)
    cells = (cost.cell for cost in scores)
    subsets = {(cell.task, cell.size, cell.labels, cell.seed, cell.view) for cell in cells}
    for name, size, labels, *_ in subsets:
        sizes = resolved.split_sizes(name, size)[:2]
        images = labels * sum(sizes) if isinstance(labels, (int, float)) else 0.0
        if isinstance(labels, LabelsPerClass):
            images = sum(subset_size(resolved.tasks[name], count, labels) for count in sizes)
        found["subsets"] += round(images * INDEX_BYTES)
    found["features"] = sum(counter.features.values())
    for cost in costs:
        if cost.cell.step == "pretrain" and cost.batch:
            found["weights"] += 4 * counter.shape(cost.cell).parameters
    places = replace(resolved.places, assumed=None)
    files = missing_files(resolved.tasks.values(), resolved.request.size, places)
    found["downloads"] = sum(file.bytes_at_most for file in files)
    return dict(found)
