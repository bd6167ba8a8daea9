"""CUDA graphs of training steps and forward passes, each checked against the same computation without one.

At 28 to 64 px a step is some 500 small kernels, and the GPU waits for the host that launches them. A graph
launches all of them at once. It repeats the recorded kernels on the recorded memory: what Python computes is
not repeated, so that inputs, the learning rate and the loss are tensors that keep their place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CHECK_STEPS = 20
"""Steps that are computed with and without the graph, from one state."""
WARM_UP = 3
"""Steps before the recording, in which libraries choose kernels and allocate workspaces."""
LOSS_TOLERANCE = 2**-5
"""Largest difference of losses, in units of the largest loss; bfloat16 has 8 bits."""
MOVED_TOLERANCE = 0.5
"""Largest distance between the weights with and without the graph, in units of the way they moved."""

_refusals: dict[Hashable, str] = {}
"""Why a graph is not used, by what was checked; "" where it is used."""


@dataclass(frozen=True, eq=False)
class RepeatableStep:
    """A step that can be computed again from the same state.

    Attributes:
        run: computes a step from its inputs and returns the loss, without waiting for the device.
        inputs: returns the input tensors of a step number; shapes are equal for all steps. May seed torch.
        state: returns the tensors that `run` changes. Those that it creates are 0 before the first step.
        first: number of the first step.
        steps: number of the last step, plus one.
    """

    run: Callable[..., Tensor]
    inputs: Callable[[int], tuple[Tensor, ...]]
    state: Callable[[], Iterable[Tensor]]
    first: int
    steps: int


class RecordedGraph:
    """A function of tensors, recorded once; a call copies its inputs to a fixed place and repeats it.

    The output has a fixed place too, and the next call overwrites it.
    """

    def __init__(self, run: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
        self.inputs = tuple(value.clone() for value in inputs)
        self.replay, self.output = record(lambda: run(*self.inputs))

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the output for inputs of the recorded shapes."""
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        self.replay()
        return self.output


def record(body: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    """Record the kernels of `body`; returns the function that repeats them, and the output's place."""
    graph = torch.cuda.CUDAGraph()
    # other threads may pin memory meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        output = body()
    return graph.replay, output


def record_step(key: Hashable, step: RepeatableStep, device: torch.device) -> RecordedGraph | None:
    """Record a step, after a check at the first use of `key` in this process; the state is unchanged.

    Returns None where steps must be taken without a graph; `graph_notes` says why.

    Raises:
        torch.OutOfMemoryError: the GPU's memory is too small.
    """
    if _refusals.get(key):
        return None
    start, graph = _StateCopy(step.state), None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*capturable=True.*"
            )  # meant for steps without a graph
            with _same_draws(device):
                _warm_up(step, device)
            graph = RecordedGraph(step.run, step.inputs(step.first))
            if key not in _refusals:
                _refusals[key] = _difference(step, graph, start, device)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of a library that does something that cannot be recorded
        _refusals[key] = _refusal_of(error)
    finally:
        start.restore()
    return None if _refusals[key] else graph


class RecordedForwards:
    """Forward passes of a network in eval mode, recorded at the second use of each batch shape.

    Args:
        key: as in `record_step`.
        run: maps a batch to the outputs; reads weights, whose place does not change.
    """

    def __init__(self, key: Hashable, run: Callable[[Tensor], Tensor]) -> None:
        self.key, self.run = key, run
        self.graphs: dict[tuple[int, ...], RecordedGraph | None] = {}

    def __call__(self, batch: Tensor) -> Tensor:
        """Return the outputs of a batch, which later calls do not overwrite."""
        shape = tuple(batch.shape)
        if shape not in self.graphs:  # a shape that occurs once is not worth a recording
            self.graphs[shape] = None
            return self.run(batch)
        key = (self.key, "forward", shape)
        if self.graphs[shape] is None and not _refusals.get(key):
            self.graphs[shape] = self._record(key, batch)
        graph = self.graphs[shape]
        return graph(batch).clone() if graph else self.run(batch)

    def _record(self, key: Hashable, batch: Tensor) -> RecordedGraph | None:
        """Record a forward pass whose outputs equal those without a graph, but for rounding."""
        try:
            plain, graph = self.run(batch), RecordedGraph(self.run, (batch,))
            if _is_close(plain, graph(batch)):
                _refusals[key] = ""
                return graph
            _refusals[key] = "its outputs differ"
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _refusals[key] = _refusal_of(error)
        return None


def _refusal_of(error: RuntimeError) -> str:
    return f"it cannot be recorded ({str(error).strip().splitlines()[0]})"


def training_state(network: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """Yield all tensors of a network and its optimizer, which a training step changes."""
    yield from network.parameters()
    yield from network.buffers()
    for values in optimizer.state.values():
        yield from (value for value in values.values() if isinstance(value, Tensor))


def graph_notes(key: Hashable) -> tuple[str, ...]:
    """Return sentences for a record: which graphs of `key` were refused, and why."""
    found = {
        "training step" if each == key else "evaluation": refusal
        for each, refusal in _refusals.items()
        if refusal and (each == key or (isinstance(each, tuple) and each[:2] == (key, "forward")))
    }
    return tuple(f"{what} computed without a CUDA graph: {refusal}" for what, refusal in found.items())


def _warm_up(step: RepeatableStep, device: torch.device) -> None:
    """Take some steps on another stream than the usual one, as recording needs."""
    inputs = step.inputs(step.first)
    if device.type != "cuda":
        step.run(*inputs)
        return
    usual, other = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    other.wait_stream(usual)
    with torch.cuda.stream(other):
        for _ in range(WARM_UP):
            step.run(*inputs)
    usual.wait_stream(other)


class _StateCopy:
    """A copy of the tensors of a state."""

    def __init__(self, tensors: Callable[[], Iterable[Tensor]]) -> None:
        self.tensors = tensors
        self.values = {id(tensor): tensor.detach().clone() for tensor in tensors()}

    @torch.no_grad()
    def restore(self) -> None:
        """Copy the values back; tensors created since become 0."""
        for tensor in self.tensors():
            value = self.values.get(id(tensor))
            tensor.zero_() if value is None else tensor.copy_(value)

    def floats(self) -> Tensor:
        """Return all floating-point values of the present state, [values]."""
        known = (tensor for tensor in self.tensors() if id(tensor) in self.values)
        return torch.cat(
            [tensor.detach().float().flatten() for tensor in known if tensor.is_floating_point()]
        )


def _same_draws(device: torch.device) -> AbstractContextManager[None]:
    """Restore torch's random generators after the block."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _difference(step: RepeatableStep, graph: RecordedGraph, start: _StateCopy, device: torch.device) -> str:
    """Describe how some steps differ with the graph and without it; "" if not beyond rounding."""
    numbers = range(step.first, min(step.steps, step.first + CHECK_STEPS))
    start.restore()
    before = start.floats()
    found: list[tuple[Tensor, Tensor]] = []
    for run in (step.run, graph):
        start.restore()
        with _same_draws(device):
            losses = torch.stack([run(*step.inputs(number)).detach().clone() for number in numbers])
        found.append((losses, start.floats()))
    (plain, weights), (recorded, others) = found
    if not _is_close(plain, recorded):
        gap = float((plain - recorded).abs().max())
        return f"losses of the first {len(numbers)} steps differ by up to {gap:.3g}"
    way, apart = float((weights - before).norm()), float((weights - others).norm())
    if apart > MOVED_TOLERANCE * way:
        share = apart / max(way, 1e-12)
        return f"weights after {len(numbers)} steps differ by {share:.0%} of the way they moved"
    return ""


def _is_close(plain: Tensor, recorded: Tensor) -> bool:
    """Whether values agree but for rounding in bfloat16; infinite ones and NaN at the same places."""
    plain, recorded = plain.cpu(), recorded.cpu()
    finite = plain.isfinite()
    if not torch.equal(finite, recorded.isfinite()):
        return False
    a, b = plain[finite], recorded[finite]
    return not len(a) or bool(((a - b).abs() <= LOSS_TOLERANCE * a.abs().max()).all())
