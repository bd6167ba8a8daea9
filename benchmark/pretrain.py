"""The making of a MedNet: one backbone, one head per source, supervised, from random weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..baselines.archs import build_backbone
from ..baselines.init import Contract, Pretraining
from ..tasks.task import Places, Split, Task
from .augment import DRAWS, Augment
from .data import Prepare, as_bytes
from .files import claim, sha256_file, write_atomic, write_bytes
from .metrics import Scored, primary
from .network import Classifier, outputs_of, placed, probabilities
from .plan import Recipe
from .records import Point
from .subsets import one_hot
from .train import Feed, Hyper, Validation, fit, seeded

EVALUATIONS = 4
HELD_OUT, HELD_OUT_MOST = 0.05, 256
"""Share, and largest number, of a source's training images kept back to choose the best weights."""
SEED = 0

Drawn = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Whose image, and which row of that pool, stands where: both [steps, batch]."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the weights: how they were made. Also the label of every table."""

    images: dict[str, int]
    """Different images of each source that the network was trained on."""
    draws: int
    """Images shown in all, repetitions included."""
    side: int
    """Side in pixels at which they were shown."""
    scores: dict[str, float | None]
    """Primary metric on the held-out images of each source."""
    curve: tuple[Point, ...]
    seconds: float
    sha256: str

    def label(self, variant: str) -> str:
        """Return the phrase that every table shows."""
        count, names = f"{sum(self.images.values()):,}", ", ".join(self.images)
        return f"{variant.capitalize()}-MedNet pretrained here on {count} images at {self.side} px ({names})"


@dataclass(frozen=True, eq=False)
class _Pool:
    """The images of one source, resized, as bytes on the device, and its slice of the outputs."""

    task: Task
    images: Tensor
    truth: NDArray[np.bool_]
    train: NDArray[np.int64]
    held: NDArray[np.int64]
    outputs: slice


def made(weights: Path) -> Made | None:
    """Return what is known of finished weights; None where they have yet to be made."""
    try:
        return msgspec.json.decode(_facts(weights).read_bytes(), type=Made) if weights.is_file() else None
    except (OSError, msgspec.DecodeError):
        return None


def _facts(weights: Path) -> Path:
    return weights.with_suffix(".json")


def pretrain(plan: Pretraining, recipe: Recipe, places: Places, device: str, weights: Path) -> Made:
    """Make the weights, or wait for the process that is making them, or take those that are there.

    Args:
        plan: sources and architecture.
        recipe: the budget.
        places: where the sources' images are.
        device: as torch calls it.
        weights: the `.safetensors` file to write.
    """
    from safetensors.torch import save

    with claim(weights.with_suffix(".lock"), wait=True):
        if (already := made(weights)) is not None:
            return already
        started = time.perf_counter()
        pools = _load(plan, recipe, places, device)
        drawn = _drawn(pools, max(1, recipe.pretrain_images // recipe.pretrain_batch), recipe.pretrain_batch)
        model, curve = _train(plan, recipe, pools, drawn, device)
        state = {name: value.cpu().contiguous() for name, value in model.backbone.state_dict().items()}
        # one entry only: safetensors writes several in an order that changes, and the hash with it
        content = save(state, metadata={"identity": plan.identity})
        write_atomic(weights, lambda file: file.write(content))
        facts = Made(
            images=_shown(pools, drawn),
            draws=drawn[0].size,
            side=plan.input_size,
            scores=_held_out(model, pools, _prepare(plan))[0],
            curve=curve,
            seconds=time.perf_counter() - started,
            sha256=sha256_file(weights),
        )
        write_bytes(_facts(weights), msgspec.json.encode(facts))
        return facts


def _prepare(plan: Pretraining) -> Prepare:
    return Prepare(Contract(), plan.input_size)


def _load(plan: Pretraining, recipe: Recipe, places: Places, device: str) -> list[_Pool]:
    """Load the allowed splits of every source, at most as many images as the budget can show."""
    pools, first = [], 0
    for task, side in zip(plan.sources, plan.sizes, strict=True):
        splits = task.source.load(side, places)
        images = np.concatenate([splits[name].images for name in task.pretrain_splits])
        labels = np.concatenate([splits[name].labels for name in task.pretrain_splits])
        rng = np.random.default_rng([SEED, first])
        order = rng.permutation(len(images))[: recipe.pretrain_images]
        kept = Split(images[order], labels[order])
        held = min(HELD_OUT_MOST, round(len(kept) * HELD_OUT))
        rows = np.arange(len(kept))
        width = len(task.classes)
        pools.append(
            _Pool(
                task=task,
                images=_resized(as_bytes(kept, device), _prepare(plan)),
                truth=one_hot(kept.labels, width),
                train=rows[held:],
                held=rows[:held],
                outputs=slice(first, first + width),
            )
        )
        first += width
    return pools


def _resized(images: Tensor, prepare: Prepare) -> Tensor:
    """Bring all sources to one side, so that they can share a batch; still bytes."""
    return torch.cat([prepare.resize(part).round().to(torch.uint8) for part in images.split(4096)])


def _shown(pools: list[_Pool], drawn: Drawn) -> dict[str, int]:
    """Count the different images of each source that were drawn."""
    whose, rows = drawn
    return {pool.task.name: len(np.unique(rows[whose == at])) for at, pool in enumerate(pools)}


def _train(
    plan: Pretraining, recipe: Recipe, pools: list[_Pool], drawn: Drawn, device: str
) -> tuple[Classifier, tuple[Point, ...]]:
    prepare = _prepare(plan)
    steps = len(drawn[0])
    hyper = Hyper(
        lr=recipe.pretrain_lr,
        weight_decay=recipe.weight_decay,
        every=max(1, steps // EVALUATIONS),
        patience=EVALUATIONS + 1,  # never stops early: the budget is what the label says
    )
    feed = Feed(_batches(pools, drawn, prepare, device), _Loss(pools, device), steps)
    with seeded(device, SEED):
        backbone = build_backbone(plan.arch, plan.input_size)
        model = placed(Classifier(backbone, pools[-1].outputs.stop, SEED), device)
        fitted = fit(model, feed, hyper, lambda: _held_out(model, pools, prepare)[1])
    return model, fitted.curve


def _drawn(pools: list[_Pool], steps: int, batch: int) -> Drawn:
    """Draw every image of every batch: whose it is, and which row of that pool, both [steps, batch].

    Sources are drawn in proportion to the square root of their size: a large one does not drown the
    others, a small one is not repeated to death.
    """
    rng = np.random.default_rng([SEED, len(pools)])
    shares = np.sqrt([len(pool.train) for pool in pools])
    whose = rng.choice(len(pools), size=(steps, batch), p=shares / shares.sum())
    rows = np.empty_like(whose)
    for place, pool in enumerate(pools):
        rows[whose == place] = rng.choice(pool.train, size=int((whose == place).sum()))
    return whose, rows


def _batches(
    pools: list[_Pool], drawn: Drawn, prepare: Prepare, device: str
) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Lay out all batches on the device before the training starts."""
    images = torch.cat([pool.images for pool in pools])
    truth = np.zeros((len(images), pools[-1].outputs.stop + 1), np.float32)
    starts = np.cumsum([0, *(len(pool.images) for pool in pools)])
    for place, (pool, start) in enumerate(zip(pools, starts[:-1], strict=True)):
        truth[start : start + len(pool.images), pool.outputs] = pool.truth
        truth[start : start + len(pool.images), -1] = place  # the last column says whose image it is
    targets = torch.from_numpy(truth).to(device)
    whose, rows = drawn
    order = torch.from_numpy(starts[whose] + rows).to(device)
    numbers = np.random.default_rng([SEED, 1]).random((*rows.shape, DRAWS), dtype=np.float32)
    draws = torch.from_numpy(numbers).to(device)
    flips = np.array([pool.task.flips for pool in pools])
    augment = Augment(
        mirror=bool(flips[:, 0].all()),
        invert=bool(flips[:, 1].all()),
        colour=pools[0].task.variant == "color",
    )

    def batch(step: int) -> tuple[Tensor, Tensor]:
        return prepare.normalise(augment(images[order[step]].float(), draws[step])), targets[order[step]]

    return batch


class _Loss:
    """Each image is judged by its own source's outputs: cross-entropy, or BCE where that is multilabel."""

    def __init__(self, pools: list[_Pool], device: str) -> None:
        allowed = torch.zeros(len(pools), pools[-1].outputs.stop, dtype=torch.bool)
        for place, pool in enumerate(pools):
            allowed[place, pool.outputs] = True
        self.allowed = allowed.to(device)
        self.multilabel = torch.tensor([pool.task.kind == "multilabel" for pool in pools], device=device)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        truth, whose = targets[:, :-1], targets[:, -1].long()
        allowed = self.allowed[whose]  # [batch, outputs]
        log_p = logits.masked_fill(~allowed, -1e4).log_softmax(dim=1)
        single = -(log_p * truth).sum(dim=1)
        bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        several = (bce * allowed).sum(dim=1) / allowed.sum(dim=1)
        return torch.where(self.multilabel[whose], several, single).mean()


def _held_out(
    model: Classifier, pools: list[_Pool], prepare: Prepare
) -> tuple[dict[str, float | None], Validation]:
    """Score each source on its held-out images; the mean over sources decides."""
    scores: dict[str, float | None] = {}
    losses = []
    model.eval()
    for pool in pools:
        if not len(pool.held):
            scores[pool.task.name] = None
            continue
        logits = outputs_of(model, prepare, pool.images[torch.from_numpy(pool.held).to(pool.images.device)])
        scored = probabilities(logits[:, pool.outputs], pool.task.kind)
        truth = pool.truth[pool.held]
        scores[pool.task.name] = primary(Scored(pool.task.kind, truth, scored))
        losses.append(float(-np.log(np.clip(np.where(truth, scored, 1 - scored), 1e-7, 1)).mean()))
    known = [score for score in scores.values() if score is not None]
    loss = float(np.mean(losses)) if losses else 0.0
    return scores, Validation(loss, float(np.mean(known)) if known else None)
