"""Estimate of a plan's run time from a short timing probe."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import torch

from ...baselines.weights.archs import build_backbone
from ...core.hardware import speedup
from ..schema.plan import Cell, Fold, PlannedCell
from ..training.loop import BatchSource, OptimizerConfig, ValidationResult, fit, retry_in_parts
from ..training.model import ImageClassifier, place_model
from ..training.protocol import PROTOCOLS, CostEstimate
from .planner import ResolvedPlan

PROBE_SECONDS = 2.0
PROBE_BATCH = 32
EARLY_STOP_SHARE = 0.45
"""Smallest share of its steps that a fine-tuning takes in practice, due to early stopping."""
SLOWDOWN = 1.4
"""Observed slowdown of a shared machine against the probe."""
DEFAULT_SPLIT_SIZES = (1000, 100, 500)


@dataclass(frozen=True)
class SecondsRange:
    """Likely range of run time, in seconds."""

    low: float
    high: float


@dataclass(frozen=True)
class ImageRates:
    """Images per second of one architecture at one input size."""

    train: float
    infer: float


def estimate_seconds(
    resolved: ResolvedPlan, waiting: list[PlannedCell], device: str, jobs: int
) -> SecondsRange:
    """Estimate the run time of the waiting cells; probes every (arch, input size) among them."""
    rates = {
        (arch, input_size): probe_rates(arch, input_size, device)
        for arch, input_size in sorted({(planned.cell.arch, planned.cell.input_size) for planned in waiting})
    }
    low = high = 0.0
    cached: set[object] = set()
    for planned in waiting:
        rate = rates[planned.cell.arch, planned.cell.input_size]
        work, early = _cell_cost(resolved, planned.cell, cached)
        trained = work.trained / rate.train
        rest = work.seen / rate.infer + work.solver_seconds
        low += trained * (EARLY_STOP_SHARE if early else 1.0) + rest
        high += (trained + rest) * SLOWDOWN
    least, most = speedup(device, max(1, min(jobs, len(waiting))))
    return SecondsRange(low / most, high / least)


def _cell_cost(resolved: ResolvedPlan, cell: Cell, cached: set[object]) -> tuple[CostEstimate, bool]:
    """Return a cell's cost, and whether it may stop early; features count once per weights."""
    recipe = resolved.request.recipe_for(cell)
    if cell.longer:  # at one rate, which another cell chose
        recipe = msgspec.structs.replace(recipe, lr_grid=recipe.lr_grid[:1])
    if cell.step == "pretrain":
        plan = resolved.pretraining(cell).pretraining
        return CostEstimate(trained=(plan.images if plan else 0) or recipe.pretrain_images), False
    protocol = PROTOCOLS[cell.protocol]
    train, val, test = resolved.tasks[cell.task].split_sizes or DEFAULT_SPLIT_SIZES
    if isinstance(cell.view, Fold):
        train, val, test = resolved.fold_sizes(cell.task, cell.size)
    work = protocol.work(recipe, round(train * cell.fraction), round(val * cell.fraction), test)
    if not protocol.frozen:
        return work, True
    card = resolved.card(cell)
    key = (cell.task, cell.arch, card.identity, cell.seed if card.seeded else -1)
    seen = 0.0 if key in cached else float(train + val + test)
    cached.add(key)
    return CostEstimate(seen=seen, solver_seconds=work.solver_seconds), False


def probe_rates(arch: str, input_size: int, device: str) -> ImageRates:
    """Time training and inference on noise for about `PROBE_SECONDS` each."""
    model = place_model(ImageClassifier(build_backbone(arch, input_size), 2, 0), device)
    images = torch.randn(PROBE_BATCH, 3, input_size, input_size, device=device).contiguous(
        memory_format=torch.channels_last
    )
    targets = torch.zeros(PROBE_BATCH, dtype=torch.long, device=device)

    def train(steps: int) -> None:
        loss = torch.nn.functional.cross_entropy

        def fit_in(parts: int) -> None:
            feed = BatchSource(lambda step: (images, targets), loss, steps, parts, PROBE_BATCH)
            fit(model, feed, OptimizerConfig(1e-4, 0.0, steps, 1), lambda: ValidationResult(0.0, None))

        retry_in_parts(fit_in)

    def infer(steps: int) -> None:
        with torch.inference_mode():
            sums = [model(images).sum() for _ in range(steps)]
            torch.stack(sums).tolist()  # waits for the device

    return ImageRates(*(_images_per_second(action) for action in (train, infer)))


def _images_per_second(action: Callable[[int], None]) -> float:
    action(2)  # warm-up
    started = time.perf_counter()
    action(2)
    steps = max(2, min(200, round(PROBE_SECONDS / max(1e-4, (time.perf_counter() - started) / 2))))
    started = time.perf_counter()
    action(steps)
    return PROBE_BATCH * steps / (time.perf_counter() - started)
