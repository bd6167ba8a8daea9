"""Short measurement of this machine: training steps, forward passes, matrix products and metrics."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from ...baselines.init import ArchArg, InitCard, InputSpec
from ...baselines.weights.archs import build_backbone, feature_width
from ...tasks.task import SPLITS, Split, Task
from ..schema.plan import Cell, TrainingConfig
from ..training import model
from ..training.device_data import DeviceSplits
from ..training.fit import TaskTraining
from ..training.loop import OptimizerConfig, ValidationResult, fit, retry_in_parts
from ..training.metrics import Predictions, compute_metrics
from ..training.protocol import PROTOCOLS, EvalContext
from ..training.subsets import LabelSubset
from ..training.tuned_training import TunedTraining
from .cell_cost import NetworkShape

PROBE_SECONDS = 1.0
"""Duration of a measurement after its warm-up, if two repetitions take less."""
MOST_REPEATS = 200
FEW_IMAGES = 32
"""Images of a first forward pass, which tells whether a whole evaluation batch takes too long."""
SOLVER_ROWS = 4096
"""Rows of the matrix products that are timed."""
METRIC_IMAGES = 1000
"""Images whose metrics are timed."""


@dataclass(frozen=True)
class ProbedNetwork:
    """What is measured: a network with the images, the batch and the protocol of real cells.

    Attributes:
        cell: one cell, with seed 0 and all labels.
        variant: gray or color.
        batch: images per step.
        arch_args: arguments of timm that the init's card adds.
    """

    cell: Cell
    variant: str
    batch: int
    arch_args: tuple[tuple[str, ArchArg], ...] = ()


@dataclass(frozen=True)
class NetworkTimes:
    """Measured times in seconds: of a training step, a forward pass per image, and loading a network."""

    step: float
    image: float
    start: float


def network_shape(arch: str, input_size: int, args: tuple[tuple[str, ArchArg], ...] = ()) -> NetworkShape:
    """Return the facts of an architecture, without memory for its weights."""
    with torch.device("meta"):
        network = build_backbone(arch, input_size, args=dict(args))
    return NetworkShape(feature_width(network), sum(tensor.numel() for tensor in network.parameters()))


@dataclass
class MachineProbe:
    """Measures each network, each shape of a product and the metrics of each kind of task once.

    Attributes:
        device: torch device.
        clock: returns seconds; tests pass their own.
    """

    device: str
    clock: Callable[[], float] = time.perf_counter
    _networks: dict[ProbedNetwork, NetworkTimes] = field(default_factory=dict)
    _products: dict[tuple[int, int], float] = field(default_factory=dict)
    _metrics: dict[tuple[str, int], float] = field(default_factory=dict)

    def network(
        self, probed: ProbedNetwork, task: Task, contract: InputSpec, recipe: TrainingConfig, repeats: int
    ) -> NetworkTimes:
        """Time a network as cells use it, on noise.

        Args:
            probed: the network; its batch is 0 where nothing is trained.
            task: with its classes and augmentation.
            contract: preprocessing of the weights.
            recipe: of the cells.
            repeats: most training steps and forward passes; a short plan is not worth a long measurement.
        """
        if probed not in self._networks:
            job = self._job(probed, task, contract, recipe)
            times, _ = retry_in_parts(lambda parts: self._measure(replace(job, parts=parts), probed, repeats))
            self._networks[probed] = times
        return self._networks[probed]

    def multiply_adds(self, features: int, columns: int) -> float:
        """Return multiply-adds per second of products [rows, features] x [features, columns]."""
        columns = min(columns, SOLVER_ROWS)
        if (features, columns) not in self._products:
            rows, weights = torch.randn(SOLVER_ROWS, features), torch.randn(features, columns)
            rows, weights = rows.to(self.device), weights.to(self.device)

            def multiply(count: int) -> None:
                last = weights
                for _ in range(count):
                    last = rows.T @ (rows @ weights)
                last.sum().item()  # waits for the device

            seconds = self._time(multiply, MOST_REPEATS)
            self._products[features, columns] = 2 * SOLVER_ROWS * features * columns / seconds
        return self._products[features, columns]

    def metrics(self, kind: str, classes: int, images: int) -> float:
        """Return the seconds of all metrics of a cell that predicts so many images of val and test."""
        if (kind, classes) not in self._metrics:
            rng = np.random.default_rng(0)
            truth = rng.random((METRIC_IMAGES, classes)) < 0.5
            if kind != "multilabel":
                truth = np.eye(classes, dtype=bool)[rng.integers(0, classes, METRIC_IMAGES)]
            scores = rng.dirichlet(np.ones(classes), METRIC_IMAGES)
            names = tuple(map(str, range(classes)))
            compute_metrics(Predictions(kind, truth, scores), names)  # imports what it needs
            started = self.clock()
            compute_metrics(Predictions(kind, truth, scores), names)
            self._metrics[kind, classes] = (self.clock() - started) / METRIC_IMAGES
        return self._metrics[kind, classes] * images

    def _measure(self, job: EvalContext, probed: ProbedNetwork, repeats: int) -> NetworkTimes:
        protocol = PROTOCOLS[probed.cell.protocol]
        build = protocol.build_training if isinstance(protocol, TunedTraining) else TaskTraining.load
        started = self.clock()
        training = build(job)
        start = self.clock() - started
        image = self._time_image(training, repeats)
        feed = training.batch_source()

        def train(steps: int) -> None:
            hyper = OptimizerConfig(lr=1e-4, weight_decay=0.01, every=steps, patience=1)
            fit(training.model, replace(feed, steps=steps), hyper, lambda: ValidationResult(0.0, None))

        step = self._time(train, min(MOST_REPEATS, repeats)) if probed.batch else 0.0
        return NetworkTimes(step, image, start)

    def _time_image(self, training: TaskTraining, repeats: int) -> float:
        """Return the seconds of a forward pass per image, at the evaluation batch unless it takes long."""
        images = training.job.data.images("test")
        network = training.model.eval()

        def predict(count: int) -> None:
            for _ in range(count):
                model.outputs_of(network, training.prepare, images[:size]).sum().item()

        size = min(FEW_IMAGES, len(images))
        seconds = self._time(predict, 2)
        if seconds * len(images) / size < PROBE_SECONDS:
            size = len(images)
            seconds = self._time(predict, max(2, min(MOST_REPEATS, repeats)))
        return seconds / size

    def _time(self, action: Callable[[int], object], most: int) -> float:
        """Return the seconds per repetition, without what a call costs independently of their number."""
        action(1)  # warm-up: allocations and kernel choices
        started = self.clock()
        action(2)
        two = self.clock() - started
        repeats = min(most, int(2 * PROBE_SECONDS / max(two, 1e-6)))
        if repeats <= 2:
            return two / 2
        started = self.clock()
        action(2 + repeats)
        many = self.clock() - started
        return max((many - two) / repeats, many / (2 + repeats) / 2)

    def _job(
        self, probed: ProbedNetwork, task: Task, contract: InputSpec, recipe: TrainingConfig
    ) -> EvalContext:
        """Return a cell on noise with the shapes of a task, all of whose splits are one evaluation batch."""
        cell, rng = probed.cell, np.random.default_rng(0)
        count = max(model.eval_batch(torch.device(self.device), cell.input_size), probed.batch)
        shape = (count, cell.size, cell.size, *((3,) if probed.variant == "color" else ()))
        several = task.kind == "multilabel"
        labels = rng.integers(0, 2 if several else len(task.classes), (count, len(task.classes)))
        split = Split(rng.integers(0, 256, shape, np.uint8), labels if several else labels[:, 0])
        facts: dict[str, Any] = {"lr_grid": recipe.lr_grid[:1], "batch_size": probed.batch or FEW_IMAGES}
        return EvalContext(
            cell=cell,
            task=task,
            data=DeviceSplits(dict.fromkeys(SPLITS, split), "noise", self.device),
            subset=LabelSubset(np.arange(count), np.arange(count), "noise"),
            card=InitCard("scratch", "noise", "noise", contract, seeded=True, arch_args=probed.arch_args),
            recipe=msgspec.structs.replace(recipe, steps=(2 + MOST_REPEATS,) * 2, **facts),
            device=self.device,
            cache=Path(),
        )
