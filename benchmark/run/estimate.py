"""Estimate of a plan: counts from the cards, and time, memory and disk after a short measurement."""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from ...baselines.init import InputSpec, contract_of
from ...core.hardware import speedup
from ...core.progress import duration, show_phase
from ...tasks.catalog import format_megabytes
from ..schema.plan import Cell, PlannedCell, TrainingConfig
from ..schema.provenance import peak_memory_mb
from ..training.protocol import PROTOCOLS
from .cell_cost import CellCost, CostCounter, count_disk
from .machine_probe import MachineProbe, ProbedNetwork, network_shape
from .planner import ResolvedPlan
from .progress import describe_cell

STOP_SHARE = 0.5
"""Where trainings end on average between their earliest stop, 0, and their last step, 1."""
SLOWDOWN = 1.4
"""Observed slowdown of a shared machine against the probe."""
READ_RATE = 1.5e8
"""Bytes of pixels per second that are unpacked and hashed."""
PROBED_SHARE = 0.02
"""Largest part of a plan's own steps and forward passes that the measurement repeats."""


class SecondsRange(msgspec.Struct, frozen=True):
    """Likely range of run time in seconds: with the earliest stops, and on a shared machine without any."""

    low: float
    expected: float
    high: float


class PlanEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What the waiting cells of a plan take.

    Attributes:
        cells: number of cells by step and protocol.
        trained: images in training steps, before early stopping, like `seen`, `steps` and `validations`.
        seen: images in forward passes.
        disk: bytes by kind.
        memory_mb: of one process, on the device that computes.
        largest: the cell that takes longest.
        largest_seconds: what it is expected to take.
    """

    seconds: SecondsRange
    cells: dict[str, int]
    trained: int
    seen: int
    steps: int
    validations: int
    disk: dict[str, int]
    memory_mb: float
    largest: str
    largest_seconds: float


def describe_estimate(estimate: PlanEstimate, cells: str) -> list[str]:
    """Describe an estimate in lines: time, images, disk and memory; `cells` says which cells it is of."""
    low, expected, high = (duration(seconds) for seconds in msgspec.structs.astuple(estimate.seconds))
    kinds = ", ".join(f"{count:,} {name}" for name, count in estimate.cells.items())
    parts = (f"{name} {format_megabytes(size)}" for name, size in estimate.disk.items() if size)
    largest = f"{estimate.largest}, about {duration(estimate.largest_seconds)}"
    return [
        f"{cells}: between {low} and {high}, about {expected}",
        f"cells: {kinds}; the largest: {largest}",
        f"training, before early stopping: {estimate.trained:,} images in {estimate.steps:,} steps, with "
        f"{estimate.validations:,} validations; {estimate.seen:,} images only predicted",
        f"disk: {', '.join(parts)}; memory of a process: {format_megabytes(round(estimate.memory_mb * 1e6))}",
    ]


def estimate_plan(
    resolved: ResolvedPlan,
    waiting: Sequence[PlannedCell],
    device: str,
    jobs: int,
    probe: MachineProbe | None = None,
) -> PlanEstimate:
    """Estimate the waiting cells; measures each network among them for a few seconds."""
    networks = {resolved.network(planned.cell) for planned in waiting}
    counter = CostCounter(resolved, {network: network_shape(*network) for network in networks})
    costs = list(counter.count(waiting))
    timer = _CellTimer(counter, costs, probe or MachineProbe(device))
    with show_phase("measuring the speed of this machine for the estimate"):
        ranges = [timer.seconds(cost) for cost in costs]
    longest = max(range(len(costs)), key=lambda at: ranges[at].expected)
    least, most = speedup(device, max(1, min(jobs, len(waiting))))
    names = (cost.cell.protocol or cost.cell.step for cost in costs)
    return PlanEstimate(
        seconds=SecondsRange(
            low=sum(each.low for each in ranges) / most,
            expected=sum(each.expected for each in ranges) / math.sqrt(least * most),
            high=sum(each.high for each in ranges) / least,
        ),
        cells=dict(Counter(names)),
        trained=round(sum(cost.work.trained for cost in costs)),
        seen=round(sum(cost.work.seen for cost in costs)),
        steps=sum(cost.steps for cost in costs),
        validations=sum(cost.work.validations for cost in costs),
        disk=count_disk(counter, costs),
        memory_mb=peak_memory_mb(device) + _largest_data(counter, costs) / 1e6,
        largest=describe_cell(costs[longest].cell),
        largest_seconds=ranges[longest].expected,
    )


def _largest_data(counter: CostCounter, costs: Sequence[CellCost]) -> int:
    """Return the bytes of the largest task in memory; color images are kept in two layouts."""
    sizes = (
        (
            cost.cell.size**2 * (6 if cost.task.variant == "color" else 1),
            counter.resolved.split_sizes(cost.cell.task, cost.cell.size),
        )
        for cost in costs
        if cost.cell.step == "score"
    )
    return max((row * sum(images) for row, images in sizes), default=0)


class _CellTimer:
    """Converts costs to seconds by the measured times."""

    def __init__(self, counter: CostCounter, costs: Sequence[CellCost], probe: MachineProbe) -> None:
        self.counter, self.probe = counter, probe
        self._repeats: Counter[ProbedNetwork] = Counter()
        for cost in costs:
            per_step = max(1, cost.batch)
            self._repeats[self._probed(cost)] += math.ceil((cost.work.trained + cost.work.seen) / per_step)
        self._read: set[tuple[str, int]] = set()

    def seconds(self, cost: CellCost) -> SecondsRange:
        """Return the likely range of a cell."""
        work, fixed = cost.work, cost.work.solver_seconds + self._reading(cost)
        least, computing = work.least_share, 0.0
        if cost.trainings:
            probed = self._probed(cost)
            repeats = max(2, round(PROBED_SHARE * self._repeats[probed]))
            recipe, contract = self._recipe_and_contract(cost)
            times = self.probe.network(probed, cost.task, contract, recipe, repeats)
            computing = cost.steps * times.step + work.seen * times.image
            fixed += cost.trainings * times.start
        if cost.scored:
            fixed += self.probe.metrics(cost.task.kind, len(cost.task.classes), cost.scored)
        for part in cost.solver:
            width = self.counter.shape(cost.cell).features
            fixed += part.multiply_adds / self.probe.multiply_adds(width, part.columns)
        expected = least + STOP_SHARE * (1 - least)
        return SecondsRange(
            least * computing + fixed, expected * computing + fixed, SLOWDOWN * (computing + fixed)
        )

    def _recipe_and_contract(self, cost: CellCost) -> tuple[TrainingConfig, InputSpec]:
        cell, resolved = cost.cell, self.counter.resolved
        request = resolved.request
        if cell.step == "score":
            return request.recipe_for(cell), resolved.card(cell).contract
        plan = resolved.pretraining(cell).pretraining
        return request.recipe, contract_of(plan.start if plan else None)

    def _reading(self, cost: CellCost) -> float:
        """Return the seconds of reading a task's pixels, once."""
        place = (cost.cell.task, cost.cell.size)
        if cost.cell.step == "pretrain" or place in self._read or cost.task.generated:
            return 0.0
        self._read.add(place)
        pixels = cost.cell.size**2 * (3 if cost.task.variant == "color" else 1)
        return sum(self.counter.resolved.split_sizes(*place)) * pixels / READ_RATE

    def _probed(self, cost: CellCost) -> ProbedNetwork:
        """Return what is measured for a cell: a pretraining counts as a fine-tuning with its batch."""
        cell = cost.cell
        trains = not (cell.protocol and PROTOCOLS[cell.protocol].frozen)
        same = Cell(
            task="",
            size=cell.size,
            input_size=cell.input_size,
            arch=cell.arch,
            init="",
            protocol=cell.protocol or "finetune",
            protocol_options=cell.protocol_options,
        )
        _, _, args = self.counter.resolved.network(cell)
        return ProbedNetwork(same, cost.task.variant, cost.batch if trains else 0, args)
