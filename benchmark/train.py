"""The one training loop, for CPU and GPU: no Python per sample, no synchronisation between validations."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .records import Point


class DivergedError(RuntimeError):
    """The loss was not a number; the message names the step and the learning rate."""


@dataclass(frozen=True, eq=False)
class Feed:
    """What the loop trains on, complete before it starts.

    Attributes:
        batch: returns the network's input [batch, 3, side, side] and the targets of a step.
        loss: maps outputs and targets to the mean loss over the images given.
        steps: optimiser steps.
    """

    batch: Callable[[int], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    steps: int


@dataclass(frozen=True)
class Hyper:
    """How the optimiser moves.

    Attributes:
        lr: peak learning rate of AdamW.
        weight_decay: decoupled.
        every: steps between two validations.
        patience: validations without improvement before the loop stops.
        warmup: share of the steps during which the rate rises linearly; it then falls as a cosine.
        schedule: maps a step to the rate in units of the peak, instead of warm-up and cosine.
    """

    lr: float
    weight_decay: float
    every: int
    patience: int
    warmup: float = 0.1
    schedule: Callable[[int], float] | None = None

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step among `steps`."""
        return self.lr * (self.schedule(step) if self.schedule else _schedule(step, steps, self.warmup))


@dataclass(frozen=True)
class Validation:
    """The outcome of one validation: loss, and the primary metric or None where it is undefined."""

    loss: float
    score: float | None
    few: bool = False
    """So few images that the loss is the steadier judge: an AUC over 2 and 6 images has 13 values."""

    def beats(self, other: "Validation | None") -> bool:
        """Whether this is better: by the score, and by the loss where scores tie, are undefined or coarse."""
        if other is None:
            return True
        if (
            not self.few
            and self.score is not None
            and other.score is not None
            and abs(self.score - other.score) > 1e-9
        ):
            return self.score > other.score
        return self.loss < other.loss


@dataclass(frozen=True)
class Fitted:
    """What a training leaves: the network holds the weights of the best validation."""

    curve: tuple[Point, ...]
    best: Validation
    notes: tuple[str, ...]


def fit(model: nn.Module, feed: Feed, hyper: Hyper, validate: Callable[[], Validation]) -> Fitted:
    """Train `model` in place and leave it with the weights of the best validation.

    Args:
        model: on the device, channels last.
        feed: batches and loss.
        hyper: optimiser settings.
        validate: scores the model on the validation labels; it sets no mode and takes no gradient.

    Raises:
        DivergedError: the loss became infinite or NaN, or no validation's loss was finite.
    """
    device = next(model.parameters()).device
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=hyper.lr, weight_decay=hyper.weight_decay, fused=True
    )
    losses = torch.zeros(feed.steps, device=device)
    stepper = _Stepper(model, feed, optimiser)
    started, seen, stale = time.perf_counter(), 0, 0
    curve: list[Point] = []
    best: Validation | None = None
    kept: dict[str, Tensor] = {}
    model.train()
    for step in range(feed.steps):
        for group in optimiser.param_groups:
            group["lr"] = hyper.rate(step, feed.steps)
        losses[step] = stepper(step)
        if (step + 1) % hyper.every and step + 1 < feed.steps:
            continue
        mean_loss = _checked(losses[seen : step + 1], seen, hyper.lr)
        seen = step + 1
        model.eval()
        now = validate()
        model.train()
        point = Point(
            step=seen,
            seconds=time.perf_counter() - started,
            train_loss=mean_loss,
            val_loss=min(now.loss, sys.float_info.max),
            val_score=now.score,
        )
        curve.append(point)
        if now.beats(best):
            best, stale = now, 0
            kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
        else:
            stale += 1
        if stale >= hyper.patience:
            break
    if best is None:
        raise DivergedError("there was no step to train")
    if not math.isfinite(best.loss):
        raise DivergedError(f"no validation loss was a number with learning rate {hyper.lr:g}")
    model.load_state_dict(kept)
    model.eval()
    return Fitted(tuple(curve), best, stepper.notes)


class _Stepper:
    """One optimiser step; halves the micro-batch where memory is short, so that the effective batch stays."""

    def __init__(self, model: nn.Module, feed: Feed, optimiser: torch.optim.Optimizer) -> None:
        self.model, self.feed, self.optimiser = model, feed, optimiser
        self.parts = 1

    @property
    def notes(self) -> tuple[str, ...]:
        return (
            (f"memory was short: each batch was accumulated in {self.parts} parts",) if self.parts > 1 else ()
        )

    def __call__(self, step: int) -> Tensor:
        inputs, targets = self.feed.batch(step)
        while True:
            try:
                return self._accumulate(inputs, targets)
            except torch.OutOfMemoryError:
                if self.parts >= len(inputs):
                    raise
                self.parts *= 2
                self.optimiser.zero_grad(set_to_none=True)
                if inputs.is_cuda:
                    torch.cuda.empty_cache()

    def _accumulate(self, inputs: Tensor, targets: Tensor) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=inputs.device)
        size = -(-len(inputs) // self.parts)
        for x, y in zip(inputs.split(size), targets.split(size), strict=True):
            with precision(x.device):
                outputs = self.model(x)
            loss = self.feed.loss(outputs.float(), y) * (len(x) / len(inputs))
            loss.backward()
            total += loss.detach()
        self.optimiser.step()
        return total


def precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return bf16 autocast on CUDA; on a CPU bf16 is slower at these sizes, and float32 stays."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def seeded(device: str, seed: int) -> Iterator[None]:
    """Start torch's own generators, which draw dropout and first weights, at `seed` inside the block."""
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then a cosine to 0; in units of the peak rate."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _checked(losses: Tensor, first: int, lr: float) -> float:
    """Return the mean of a stretch of losses; the only place where the loop waits for the device."""
    values = losses.cpu()
    if not bool(torch.isfinite(values).all()):
        step = first + int((~torch.isfinite(values)).nonzero()[0])
        raise DivergedError(f"the loss was not a number at step {step} with learning rate {lr:g}")
    return float(values.mean())
