"""CUDA graphs on a CPU: a recording of torch's operations, repeated on the same memory as on a GPU."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from test_train import HYPER, data, feed_of, network, validator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mednet_bench.benchmark.training import cuda_graph
from mednet_bench.benchmark.training.batch_counts import BatchCounts
from mednet_bench.benchmark.training.cuda_graph import RecordedForwards, RecordedGraph, graph_notes
from mednet_bench.benchmark.training.loop import FitResult, ShortMemoryError, fit

STEPS = 40


class Recording(TorchDispatchMode):
    """Repeats operations with the values that Python had when they were recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, result in self.calls:
            for place, value in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(place, Tensor) and place.data_ptr() != value.data_ptr():
                    place.copy_(value)


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Recording]]:
    """Record on the CPU; yields the recordings."""
    made: list[Recording] = []

    def record(body: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        made.append(Recording())
        with made[-1]:
            output = body()
        return made[-1].replay, output

    monkeypatch.setattr(cuda_graph, "record", record)
    monkeypatch.setattr(cuda_graph, "_refusals", {})
    yield made


def trained(key: str | None) -> tuple[FitResult, dict[str, Tensor]]:
    model, (images, labels) = network(), data()
    fitted = fit(model, feed_of(images, labels, steps=STEPS), HYPER, validator(model, images, labels), key)
    return fitted, model.state_dict()


def test_a_training_with_a_graph_is_the_training_without_one(recordings: list[Recording]) -> None:
    (plain, weights), (graphed, others) = trained(None), trained("step")
    assert [recording.replays for recording in recordings] == [STEPS + cuda_graph.CHECK_STEPS]
    assert graphed.notes == () and plain.best.score is not None and plain.best.score > 0.9
    for a, b in zip(plain.curve, graphed.curve, strict=True):
        assert b.train_loss == pytest.approx(a.train_loss, rel=1e-3)
    for name, value in weights.items():
        # before batch norm a bias has no gradient but rounding noise, which Adam scales up
        if name not in ("0.bias", "1.running_mean"):
            torch.testing.assert_close(others[name], value, rtol=1e-2, atol=1e-3, msg=name)


def test_the_check_is_made_once_per_kind_of_step(recordings: list[Recording]) -> None:
    for _ in range(2):
        trained("step")
    assert [each.replays for each in recordings] == [STEPS + cuda_graph.CHECK_STEPS, STEPS]


def forget_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat the first batch for ever."""
    monkeypatch.setattr(RecordedGraph, "__call__", lambda self, *inputs: self.replay() or self.output)


def forget_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the optimizer out of the recording."""
    inner = Recording.__torch_dispatch__

    def dispatch(self, func, types, args=(), kwargs=None):
        result = inner(self, func, types, args, kwargs)
        if "adamw" in str(func):
            self.calls.pop()
        return result

    monkeypatch.setattr(Recording, "__torch_dispatch__", dispatch)


def cannot_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail in the middle of the recording, when some weights have changed."""

    def record(body: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        body()
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(cuda_graph, "record", record)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (forget_inputs, "losses of the first 20 steps differ by up to "),
        (forget_updates, "of the first 20 steps differ|weights after 20 steps differ by "),
        (cannot_record, r"it cannot be recorded \(operation not permitted when stream is capturing\)"),
    ],
)
@pytest.mark.usefixtures("recordings")
def test_a_graph_that_does_other_things_is_refused_and_changes_no_bit(
    fault: Callable[[pytest.MonkeyPatch], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, weights = trained(None)
    fault(monkeypatch)
    for _ in range(2):  # the second time without a check
        refused, others = trained("step")
        (note,) = refused.notes
        assert note.startswith("training step computed without a CUDA graph: ")
        assert re.search(reason, note)
        assert [p.train_loss for p in refused.curve] == [p.train_loss for p in plain.curve]
        assert all(torch.equal(value, others[name]) for name, value in weights.items())


def test_short_memory_in_a_recording_is_no_refusal(
    recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(body: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(cuda_graph, "record", record)
    with pytest.raises(ShortMemoryError):
        trained("step")
    assert graph_notes("step") == ()


def test_forward_passes_are_recorded_at_the_second_use_of_a_shape(recordings: list[Recording]) -> None:
    model = network().eval()
    forwards = RecordedForwards("key", model)
    with torch.inference_mode():
        for size in (8, 5, 8, 8, 5):
            images = torch.randn(size, *data()[0].shape[1:])
            torch.testing.assert_close(forwards(images), model(images))
        kept = forwards(images)
        forwards(torch.zeros_like(images))
        torch.testing.assert_close(kept, model(images))  # not overwritten
    assert len(recordings) == 2


def test_batches_are_counted_on_the_host_with_the_same_result() -> None:
    plain, counted = network().train(), network().train()
    counts = BatchCounts(counted)
    for _ in range(3):
        images = data()[0][:8]
        plain(images)
        with counts.paused():
            counted(images)
    before = counted.state_dict()
    assert before.keys() == plain.state_dict().keys()
    counts.add()
    counts.add()  # nothing is pending
    for name, value in plain.state_dict().items():
        assert torch.equal(value, counted.state_dict()[name]), name
