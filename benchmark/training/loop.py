"""The training loop for CPU and GPU, without synchronization between validations."""

import contextlib
import gc
import math
import re
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.progress import track
from ..schema.records import ValidationPoint
from .batch_counts import BatchCounts
from .cuda_graph import RecordedGraph, RepeatableStep, graph_notes, record_step, training_state

_T = TypeVar("_T")

SHORT_MEMORY = re.compile(
    r"(CUBLAS|CUDNN|CUSOLVER)_STATUS_(ALLOC_FAILED|\w+_ALLOCATION_FAILED)"
    r"|CUDA error: out of memory|MPS backend out of memory|DefaultCPUAllocator: "
)
"""Messages of libraries below torch for short memory; torch's own allocator raises `OutOfMemoryError`."""

NO_ENGINE = "unable to find an engine to execute this computation"
"""cuDNN's message where no memory is left for its workspace, or where it has no algorithm."""
LITTLE = 0.05
"""Free share of a GPU's memory below which memory counts as short."""


class DivergedError(RuntimeError):
    """The loss was not a number; the message names the step and the learning rate."""


class ShortMemoryError(RuntimeError):
    """Memory was short: restart the cell with each batch in `parts` parts."""

    def __init__(self, parts: int) -> None:
        super().__init__(f"memory was short; a batch in {parts} parts may fit")
        self.parts = parts


def _first(images: Tensor) -> Tensor:
    return images


@dataclass(frozen=True, eq=False)
class BatchSource:
    """The batches and the loss of a training.

    Attributes:
        stored: returns tensors of a step on the device; the last are the targets.
        loss: maps outputs and targets to the mean loss over the images.
        steps: optimizer steps.
        parts: number of parts of a batch, whose gradients are accumulated.
        batch_size: images of a whole batch; a part has at least two, so batches below 4 are not divided.
        prepare: maps the other stored tensors to the network's input [batch, 3, side, side].
    """

    stored: Callable[[int], tuple[Tensor, ...]]
    loss: Callable[[Tensor, Tensor], Tensor]
    steps: int
    parts: int = 1
    batch_size: int = 0
    prepare: Callable[..., Tensor] = _first

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the network's input and the targets of a step."""
        *images, targets = self.stored(step)
        return self.prepare(*images), targets


@dataclass(frozen=True)
class OptimizerConfig:
    """Settings of AdamW, of its schedule and of early stopping.

    Attributes:
        lr: peak learning rate.
        every: steps between two validations.
        patience: validations after the warm-up without improvement before the loop stops.
        warmup: share of the steps with linear warm-up, before a cosine.
        schedule: maps a step to the rate in units of the peak, instead of warm-up and cosine.
        layer_decay: factor of the rate from each layer to the one before it; only the head has the full rate.
    """

    lr: float
    weight_decay: float
    every: int
    patience: int
    warmup: float = 0.1
    schedule: Callable[[int], float] | None = None
    layer_decay: float = 1.0

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step among `steps`."""
        if self.schedule:
            return self.lr * self.schedule(step)
        return self.lr * _schedule(step, steps, self.warmup_steps(steps))

    def warmup_steps(self, steps: int) -> int:
        """Return how many of the first steps warm up."""
        return 0 if self.schedule else max(1, round(steps * self.warmup))


@dataclass(frozen=True)
class ValidationResult:
    """The outcome of one validation: loss, and the primary metric or None where it is undefined."""

    loss: float
    score: float | None
    by_loss: bool = False
    """Whether the loss alone decides; see `loss_chooses`."""

    def beats(self, other: "ValidationResult | None") -> bool:
        """Whether the score is higher, or the loss lower if it decides, or scores tie or are undefined."""
        if other is None:
            return True
        if self.by_loss or self.score is None or other.score is None or abs(self.score - other.score) <= 1e-9:
            return self.loss < other.loss
        return self.score > other.score


@dataclass(frozen=True)
class FitResult:
    """The curve and the best validation of a training; `notes` are sentences for the record."""

    curve: tuple[ValidationPoint, ...]
    best: ValidationResult
    notes: tuple[str, ...] = ()


def fit(
    model: nn.Module,
    feed: BatchSource,
    hyper: OptimizerConfig,
    validate: Callable[[], ValidationResult],
    graph_key: Hashable = None,
) -> FitResult:
    """Train `model` in place and leave it with the weights of the best validation.

    Args:
        model: on the device, channels last.
        feed: batches and loss.
        hyper: optimizer settings.
        validate: scores the model, which is in eval mode, on the validation labels without gradients.
        graph_key: records the step as a CUDA graph, after a check at the first use of the key; the shapes of
            all batches are equal. None: no graph.

    Raises:
        DivergedError: the loss became infinite or NaN, or no validation's loss was finite.
        ShortMemoryError: memory was short, and a batch can be divided into more parts. The model must be
            discarded: batch norm and optimizer may have taken half a step.
    """
    with (
        catch_short_memory(feed.parts, feed.batch_size),
        fixed_shapes(_device(model)),
        track("training", feed.steps, "steps") as advance,
    ):
        model.train()
        steps = TrainingSteps(model, feed, hyper, graph_key)
        return _train(model, steps, feed, hyper, validate, advance)


def _train(
    model: nn.Module,
    steps: "TrainingSteps",
    feed: BatchSource,
    hyper: OptimizerConfig,
    validate: Callable[[], ValidationResult],
    advance: Callable[[], None],
) -> FitResult:
    losses = torch.zeros(feed.steps, device=_device(model))
    started, seen, stale = time.perf_counter(), 0, 0
    curve: list[ValidationPoint] = []
    best: ValidationResult | None = None
    kept: dict[str, Tensor] = {}
    for step in range(feed.steps):
        losses[step] = steps.take(step)
        advance()
        if (step + 1) % hyper.every and step + 1 < feed.steps:
            continue
        mean_loss = _mean_loss(losses[seen : step + 1], seen, hyper.lr)
        seen = step + 1
        steps.counts.add()
        model.eval()
        now = validate()
        model.train()
        seconds, val_loss = time.perf_counter() - started, min(now.loss, sys.float_info.max)
        curve.append(
            ValidationPoint(
                step=seen, seconds=seconds, train_loss=mean_loss, val_loss=val_loss, val_score=now.score
            )
        )
        if now.beats(best):
            best, stale = now, 0
            kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
        elif seen > hyper.warmup_steps(feed.steps):  # before, the rate is too low to judge by
            stale += 1
        if stale >= hyper.patience:
            break
    if best is None:
        raise DivergedError("there was no step to train")
    if not math.isfinite(best.loss):
        raise DivergedError(f"no validation loss was a number with learning rate {hyper.lr:g}")
    model.load_state_dict(kept)
    model.eval()
    return FitResult(tuple(curve), best, graph_notes(steps.graph_key))


def parameter_groups(model: nn.Module, layer_decay: float) -> list[dict[str, Any]]:
    """Group the trainable parameters by `lr_scale`, their learning rate in units of the run's.

    The layers are those of timm for the network with its classifier, as in BEiT (Bao et al. 2022): the head
    has 1, the last block `layer_decay`, and so on down to the embedding. `UserError` for a network whose
    layers timm does not list.
    """
    if layer_decay == 1:
        return [{"params": [p for p in model.parameters() if p.requires_grad], "lr_scale": 1.0}]
    if not hasattr(model.get_submodule("backbone"), "group_matcher"):
        raise UserError("timm lists no layers of this network: leave its layer decay at 1.")
    from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

    groups = param_groups_layer_decay(_NamedLayers(model), layer_decay=layer_decay)  # type: ignore[arg-type]
    # without timm's weight decay, so that the run's applies to every group
    return [{"params": group["params"], "lr_scale": group["lr_scale"]} for group in groups]


class _NamedLayers:
    """A classifier under the names that timm's `group_matcher` of its backbone knows."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.group_matcher = model, model.get_submodule("backbone").group_matcher

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name.removeprefix("backbone."), value) for name, value in self.model.named_parameters())


class TrainingSteps:
    """The optimizer steps of a model in training mode, with a CUDA graph or without.

    Args:
        graph_key: as in `fit`.
    """

    def __init__(
        self, model: nn.Module, feed: BatchSource, hyper: OptimizerConfig, graph_key: Hashable = None
    ) -> None:
        self.model, self.feed, self.hyper, self.graph_key = model, feed, hyper, graph_key
        self.counts = BatchCounts(model)
        self.graph: RecordedGraph | None = None
        if graph_key is not None:
            self._record(graph_key)
        if self.graph is None:
            self.optimizer = self._make_optimizer(capturable=False)

    def take(self, step: int) -> Tensor:
        """Take one optimizer step, and return the mean loss of its batch; nothing waits for the device.

        With a graph, the next step overwrites the loss.
        """
        if self.graph:
            self.counts.pending += self.feed.parts
            return self.graph(*self._graph_inputs(step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.hyper.rate(step, self.feed.steps) * group["lr_scale"]
        return self._update(*self.feed.batch(step))

    def _make_optimizer(self, capturable: bool) -> torch.optim.AdamW:
        """Return AdamW; with `capturable` the learning rate of each group is a tensor."""
        groups, hyper = parameter_groups(self.model, self.hyper.layer_decay), self.hyper
        if capturable:
            device = _device(self.model)
            groups = [{**group, "lr": torch.full((), hyper.lr, device=device)} for group in groups]
        return torch.optim.AdamW(
            groups, lr=hyper.lr, weight_decay=hyper.weight_decay, fused=True, capturable=capturable
        )

    def _update(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take one optimizer step on a batch at the present learning rate."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = max(1, min(self.feed.parts, len(inputs) // 2))  # the last batch of an epoch may be small
        total = torch.zeros((), device=inputs.device)
        for x, y in zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True):
            with autocast_precision(x.device), self.counts.paused():
                outputs = self.model(x)
            loss = self.feed.loss(outputs.float(), y) * (len(x) / len(inputs))
            loss.backward()
            total += loss.detach()
        self.optimizer.step()
        return total

    def _record(self, graph_key: Hashable) -> None:
        """Record the step as a CUDA graph, unless its check fails."""
        device, feed = _device(self.model), self.feed
        self.optimizer = self._make_optimizer(capturable=True)
        scales = [group["lr_scale"] for group in self.optimizer.param_groups]
        rates = [self.hyper.rate(step, feed.steps) for step in range(feed.steps)]
        self.rates = torch.tensor([[rate * scale for scale in scales] for rate in rates], device=device)
        step = RepeatableStep(self._graph_body, self._graph_inputs, self._state, 0, feed.steps)
        self.graph = record_step(graph_key, step, device)
        self.counts.pending = 0

    def _graph_inputs(self, step: int) -> tuple[Tensor, ...]:
        """Return the learning rates [groups] and the stored tensors of a step."""
        return (self.rates[step], *self.feed.stored(step))

    def _graph_body(self, rates: Tensor, *stored: Tensor) -> Tensor:
        for group, rate in zip(self.optimizer.param_groups, rates.unbind(), strict=True):
            group["lr"].copy_(rate)
        return self._update(self.feed.prepare(*stored[:-1]), stored[-1])

    def _state(self) -> Iterator[Tensor]:
        """Iterate over all tensors that a step changes."""
        return training_state(self.model, self.optimizer)


def is_short_memory(error: BaseException) -> bool:
    """Whether an error of any library means that memory was short."""
    if NO_ENGINE in str(error):
        return _is_gpu_full()
    return isinstance(error, torch.OutOfMemoryError) or bool(SHORT_MEMORY.search(str(error)))


def _is_gpu_full() -> bool:
    """Whether little memory is free on a GPU that this process uses."""
    used = filter(torch.cuda.memory_reserved, range(torch.cuda.device_count()))
    return any(free < LITTLE * total for free, total in map(torch.cuda.mem_get_info, used))


@contextlib.contextmanager
def catch_short_memory(parts: int, batch_size: int) -> Iterator[None]:
    """Raise `ShortMemoryError` if memory is short in the block and batches are divisible."""
    try:
        yield
    except RuntimeError as error:
        most = batch_size // 2  # batch norm needs two images
        doubtful = parts == 1 and NO_ENGINE in str(error)  # a smaller workspace may suffice: try once more
        if parts >= most or not (doubtful or is_short_memory(error)):
            raise
        raise ShortMemoryError(min(2 * parts, most)) from error


def retry_in_parts(compute: Callable[[int], _T]) -> tuple[_T, int]:
    """Call `compute(parts)` with 1, and again with more parts while memory is short.

    Returns:
        The result, and the number of parts.
    """
    parts = 1
    while True:
        try:
            return compute(parts), parts
        except ShortMemoryError as error:
            parts = error.parts
        free_memory()  # only here: while the error is handled, its traceback holds the activations


def free_memory() -> None:
    """Release torch's unused GPU memory, since cuBLAS and cuDNN allocate outside of torch."""
    gc.collect()
    torch.cuda.empty_cache()


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Disable TF32 (10 bits of 23) in the block; torch's convolutions use it by default."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # torch 2.9 and newer, which refuses the older switches beside these
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
    """Return bf16 autocast on CUDA, and float32 on a CPU, where bf16 is slower at these sizes."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def fixed_shapes(device: torch.device) -> Iterator[None]:
    """Let cuDNN try its algorithms once per shape, in a block in which shapes recur."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextlib.contextmanager
def seed_torch(device: str, seed: int) -> Iterator[None]:
    """Seed torch's generators, which draw dropout and initial weights, inside the block."""
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _schedule(step: int, steps: int, rising: int) -> float:
    """Return linear warm-up over `rising` steps, then a cosine to 0, in units of the peak rate."""
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _mean_loss(losses: Tensor, first: int, lr: float) -> float:
    """Return the mean loss from step `first` on; only here the loop waits for the device."""
    values = losses.cpu()
    if not bool(torch.isfinite(values).all()):
        step = first + int((~torch.isfinite(values)).nonzero()[0])
        raise DivergedError(f"the loss was not a number at step {step} with learning rate {lr:g}")
    return float(values.mean())
