"""Pretraining of the MedNet that `run` needs, from sources in memory, with cached weights."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...baselines.init import PretrainPlan, contract_of
from ...baselines.weights.load_state_dict import write_tensors
from ...baselines.weights.prepare import InputPreparation
from ...core.files import sha256_file, write_bytes
from ...core.leases import claim_lock
from ...core.progress import log_progress, track_each
from ...tasks.task import DataLocations, Split
from ..schema.plan import TrainingConfig
from ..schema.records import ValidationPoint
from ..training.device_data import as_stored, holding_device
from ..training.loop import catch_short_memory, retry_in_parts
from .config import PretrainCallbacks, PretrainConfig, PretrainOutcome
from .distributed import RankGroup
from .in_memory_loader import MemoryImages
from .mednet_cache import PretrainFacts, facts_path, read_pretrain_facts
from .nested_images import PRETRAIN_SEED, draw_rows, join_splits, nested_pools
from .objective import OBJECTIVES
from .pretrain_result import PretrainSettings, distance_text
from .progress import PretrainDisplay
from .sources import SourcePool
from .train_loop import run_training as train

EVALUATIONS = 4


def pretrain_automatic(
    plan: PretrainPlan,
    recipe: TrainingConfig,
    places: DataLocations,
    device: str,
    weights: Path,
    check: Callable[[], object] = lambda: None,
    cuda_graphs: bool = False,
) -> PretrainFacts:
    """Pretrain, or wait for the process that does, unless the weights exist already.

    Args:
        weights: the `.safetensors` file to write.
        check: called once the images have been read; if it raises, no weights are written.
        cuda_graphs: as in `PretrainConfig`.
    """
    with claim_lock(weights.with_suffix(".lock"), wait=True) as lease:
        if (existing := read_pretrain_facts(weights)) is not None:
            return existing
        started = time.perf_counter()
        result, parts = _train_in_parts(plan, recipe, places, device, check, cuda_graphs)
        if lease and not lease.is_mine():  # stopped for so long that another process took over
            return pretrain_automatic(plan, recipe, places, device, weights, check, cuda_graphs)
        write_tensors(weights, result.state, ("identity", plan.identity))
        facts = PretrainFacts(
            images={source.name: source.images for source in result.sources},
            draws=sum(source.draws for source in result.sources),
            side=plan.input_size,
            scores={source.name: source.score for source in result.sources},
            curve=tuple(_validation_points(result)),
            seconds=time.perf_counter() - started,
            sha256=sha256_file(weights),
            start=plan.start.name if plan.start else "",
            objective=OBJECTIVES[plan.options.objective].label,
            augmentation=_augmentation_of(plan),
            distance_from_start=result.distance_from_start,
            parts=parts,
            notes=(*result.notes, *_options_note(plan), *_distance_note(plan, result)),
        )
        write_bytes(facts_path(weights), msgspec.json.encode(facts))
        return facts


def _augmentation_of(plan: PretrainPlan) -> str:
    return plan.options.augmentation or OBJECTIVES[plan.options.objective].augmentation


def _options_note(plan: PretrainPlan) -> tuple[str, ...]:
    """Return a sentence of the options that are not the defaults of the command `pretrain`, if any."""
    changes = sorted(plan.options.changes.items())
    named = ", ".join(f"{name}={msgspec.json.encode(value).decode()}" for name, value in changes)
    return (f"pretraining options: {named}",) if named else ()


def _distance_note(plan: PretrainPlan, result: PretrainOutcome) -> tuple[str, ...]:
    """Return how far the weights moved from the initial ones, and log it; empty for random ones."""
    if plan.start is None or result.distance_from_start is None:
        return ()
    text = distance_text(result.distance_from_start, plan.start.name)
    log_progress(text)
    return (text,)


def _validation_points(result: PretrainOutcome) -> list[ValidationPoint]:
    """Return the rows of the curve with a validation."""
    names = ("step", "seconds", "train_loss", "val_loss", "val_score")
    points = (point for point in result.curve if point.val_loss is not None)
    return [ValidationPoint(**{name: getattr(point, name) for name in names}) for point in points]


def _train_in_parts(
    plan: PretrainPlan,
    recipe: TrainingConfig,
    places: DataLocations,
    device: str,
    check: Callable[[], object],
    cuda_graphs: bool = False,
) -> tuple[PretrainOutcome, int]:
    """Train; if memory is short, start over with twice as many parts; returns their number, too."""
    pools, images = _load_pools(plan, recipe, places, device)
    check()
    settings = PretrainSettings(
        variant=plan.variant,
        arch=plan.arch,
        start=plan.start.identity if plan.start else "scratch",
        steps=max(1, recipe.pretrain_images // recipe.pretrain_batch),
        batch_size=recipe.pretrain_batch,
        input_size=plan.input_size,
        lr=plan.options.lr or recipe.pretrain_lr,
        weight_decay=recipe.weight_decay,
        ema=plan.options.ema,
        seed=PRETRAIN_SEED,
        objective=plan.options.objective,
        augmentation=_augmentation_of(plan),
        layer_decay=plan.options.layer_decay,
        anchor=plan.options.anchor,
        freeze_norm=plan.options.freeze_norm,
    )

    def attempt(parts: int) -> PretrainOutcome:
        cut = msgspec.structs.replace(settings, accumulate=parts)
        ranks, loader = RankGroup(device), MemoryImages(images, device)
        config = PretrainConfig(cut, pools, loader, ranks, plan.start, cuda_graphs)
        display = PretrainDisplay(cut.steps)
        callbacks = PretrainCallbacks(evaluate_every=-(-cut.steps // EVALUATIONS), on_reading=display.show)
        with catch_short_memory(parts, cut.batch_size), display.show_live():
            return train(config, callbacks)

    return retry_in_parts(attempt)


def _load_pools(
    plan: PretrainPlan, recipe: TrainingConfig, places: DataLocations, device: str
) -> tuple[list[SourcePool], Tensor]:
    """Load the allowed splits of every source, up to the budget's images, as pools and uint8.

    The images are in host memory where the device has too little.
    """
    pools: list[SourcePool] = []
    images: list[Tensor] = []
    groups: list[NDArray[np.int64]] = []
    prepare = InputPreparation(contract_of(plan.start), plan.input_size)
    for task, side in track_each("reading source", list(zip(plan.sources, plan.sizes, strict=True))):
        splits = task.source.load(side, places)
        whole = join_splits([splits[name] for name in task.pretrain_splits])
        rows, train, held_out = draw_rows(whole, recipe.pretrain_images, PRETRAIN_SEED, len(pools))
        groups.append(np.full(len(rows), -1) if whole.groups is None else whole.groups[rows])
        pools.append(
            SourcePool(task.name, task.kind, task.classes, task.flips, whole.labels[rows], train, held_out)
        )
        stored = as_stored(Split(whole.images[rows], whole.labels[rows]), "cpu")
        images.append(_resize_images(stored, prepare, device))
    if plan.images:
        pools = nested_pools(pools, groups, plan.images, PRETRAIN_SEED)
    together = torch.cat(images)
    return pools, together.to(holding_device(together.nbytes, device))


def _resize_images(images: Tensor, prepare: InputPreparation, device: str) -> Tensor:
    """Resize images in host memory on the device to the network's input size, as uint8 on the host."""
    parts = (prepare.resize(part.to(device)).round() for part in images.split(4096))
    return torch.cat([part.to(torch.uint8).cpu() for part in parts])
