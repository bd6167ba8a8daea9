"""The one training loop, for CPU and GPU: no Python per sample, no synchronisation between validations."""

import contextlib
import gc
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..schema.records import ValidationPoint

_T = TypeVar("_T")

SHORT_MEMORY = re.compile(
    r"(CUBLAS|CUDNN|CUSOLVER)_STATUS_(ALLOC_FAILED|\w+_ALLOCATION_FAILED)"
    r"|CUDA error: out of memory|MPS backend out of memory|DefaultCPUAllocator: "
)
"""How libraries below torch say that memory was short; torch's own allocator has `OutOfMemoryError`."""

NO_ENGINE = "unable to find an engine to execute this computation"
"""What cuDNN says where no memory is left for its workspace, or where it lacks an algorithm."""
LITTLE = 0.05
"""Share of a GPU's memory below which what is free is short."""


class DivergedError(RuntimeError):
    """The loss was not a number; the message names the step and the learning rate."""


class ShortMemoryError(RuntimeError):
    """Memory was short: begin the cell again with each batch in `parts` parts."""

    def __init__(self, parts: int) -> None:
        super().__init__(f"memory was short; a batch in {parts} parts may fit")
        self.parts = parts


@dataclass(frozen=True, eq=False)
class BatchSource:
    """What the loop trains on, complete before it starts.

    Attributes:
        batch: returns the network's input [batch, 3, side, side] and the targets of a step.
        loss: maps outputs and targets to the mean loss over the images given.
        steps: optimizer steps.
        parts: how many parts of a batch the network sees one after the other, its gradients accumulated.
        batch_size: images of a whole batch, of which a part has two at least; below 4 there are no parts.
    """

    batch: Callable[[int], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    steps: int
    parts: int = 1
    batch_size: int = 0


@dataclass(frozen=True)
class OptimizerConfig:
    """How the optimizer moves.

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
class ValidationResult:
    """The outcome of one validation: loss, and the primary metric or None where it is undefined."""

    loss: float
    score: float | None
    few: bool = False
    """So few images that the loss is the steadier judge: an AUC over 2 and 6 images has 13 values."""

    def beats(self, other: "ValidationResult | None") -> bool:
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
class FitResult:
    """What a training leaves: the network holds the weights of the best validation."""

    curve: tuple[ValidationPoint, ...]
    best: ValidationResult


def fit(
    model: nn.Module, feed: BatchSource, hyper: OptimizerConfig, validate: Callable[[], ValidationResult]
) -> FitResult:
    """Train `model` in place and leave it with the weights of the best validation.

    Args:
        model: on the device, channels last.
        feed: batches and loss.
        hyper: optimizer settings.
        validate: scores the model on the validation labels; it sets no mode and takes no gradient.

    Raises:
        DivergedError: the loss became infinite or NaN, or no validation's loss was finite.
        ShortMemoryError: memory was short, and a batch can be cut into more parts. The model is then of no
            use: batch norm and optimizer may have taken half a step.
    """
    with asking_for_parts(feed.parts, feed.batch_size):
        return _fit(model, feed, hyper, validate)


def _fit(
    model: nn.Module, feed: BatchSource, hyper: OptimizerConfig, validate: Callable[[], ValidationResult]
) -> FitResult:
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=hyper.lr, weight_decay=hyper.weight_decay, fused=True
    )
    losses = torch.zeros(feed.steps, device=device)
    started, seen, stale = time.perf_counter(), 0, 0
    curve: list[ValidationPoint] = []
    best: ValidationResult | None = None
    kept: dict[str, Tensor] = {}
    model.train()
    for step in range(feed.steps):
        for group in optimizer.param_groups:
            group["lr"] = hyper.rate(step, feed.steps)
        losses[step] = _step(model, feed, optimizer, step)
        if (step + 1) % hyper.every and step + 1 < feed.steps:
            continue
        mean_loss = _checked(losses[seen : step + 1], seen, hyper.lr)
        seen = step + 1
        model.eval()
        now = validate()
        model.train()
        point = ValidationPoint(
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
    return FitResult(tuple(curve), best)


def _step(model: nn.Module, feed: BatchSource, optimizer: torch.optim.Optimizer, step: int) -> Tensor:
    """Take one optimizer step; returns the mean loss of its batch."""
    optimizer.zero_grad(set_to_none=True)
    inputs, targets = feed.batch(step)
    parts = max(1, min(feed.parts, len(inputs) // 2))  # the last batch of an epoch may be small
    total = torch.zeros((), device=inputs.device)
    for x, y in zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True):
        with autocast_precision(x.device):
            outputs = model(x)
        loss = feed.loss(outputs.float(), y) * (len(x) / len(inputs))
        loss.backward()
        total += loss.detach()
    optimizer.step()
    return total


def is_short_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short, whichever library found out."""
    if NO_ENGINE in str(error):
        return _is_gpu_full()
    return isinstance(error, torch.OutOfMemoryError) or bool(SHORT_MEMORY.search(str(error)))


def _is_gpu_full() -> bool:
    """Tell whether little is free on a GPU that this process uses."""
    used = filter(torch.cuda.memory_reserved, range(torch.cuda.device_count()))
    return any(free < LITTLE * total for free, total in map(torch.cuda.mem_get_info, used))


@contextlib.contextmanager
def asking_for_parts(parts: int, batch_size: int) -> Iterator[None]:
    """Raise `ShortMemoryError` where memory is short in the block and a batch can be cut into more parts."""
    try:
        yield
    except RuntimeError as error:
        most = batch_size // 2  # batch norm needs two images to learn from
        doubtful = parts == 1 and NO_ENGINE in str(error)  # the workspace may have needed more: one more try
        if parts >= most or not (doubtful or is_short_memory(error)):
            raise
        raise ShortMemoryError(min(2 * parts, most)) from error


def in_parts(compute: Callable[[int], _T]) -> tuple[_T, int]:
    """Compute with batches in one part; where memory is short, from the start again in more of them.

    Args:
        compute: does the whole work with batches in so many parts, from nothing but its arguments.

    Returns:
        The result, and the parts that it took.
    """
    parts = 1
    while True:
        try:
            return compute(parts), parts
        except ShortMemoryError as error:
            parts = error.parts
        free_memory()  # only here: while the error is handled, its traceback holds the activations


def free_memory() -> None:
    """Give back to the GPU what nothing refers to: cuBLAS and cuDNN allocate beside torch."""
    gc.collect()
    torch.cuda.empty_cache()


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 products and convolutions on a GPU in float32 for the block, never in TF32.

    By default torch's convolutions take TF32, which keeps 10 bits of 23.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # torch 2.9 and newer; it refuses a mixture with the older switches
        switches = [(place, "fp32_precision", "ieee") for place in (matmul, cudnn.conv, cudnn.rnn)]
    else:
        switches = [(place, "allow_tf32", False) for place in (matmul, cudnn)]
    before = [getattr(place, name) for place, name, _ in switches]
    try:
        for place, name, value in switches:
            setattr(place, name, value)
        yield
    finally:
        for (place, name, _), value in zip(switches, before, strict=True):
            setattr(place, name, value)


def autocast_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return bf16 autocast on CUDA; on a CPU bf16 is slower at these sizes, and float32 stays."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def seed_torch(device: str, seed: int) -> Iterator[None]:
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
