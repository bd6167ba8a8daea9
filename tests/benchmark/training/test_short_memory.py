"""Short memory restarts a cell in parts, with the record of a cell that was run in these."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
import toys
from torch import Tensor, nn

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.pretrain_options import USUAL_OPTIONS
from mednet_bench.benchmark.pretraining import automatic
from mednet_bench.benchmark.protocols.published import MEDMNIST_V2
from mednet_bench.benchmark.run import cell_runner
from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.run.machine_probe import MachineProbe, ProbedNetwork
from mednet_bench.benchmark.run.planner import ResolvedPlan, build_plan
from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.records import Record
from mednet_bench.benchmark.training import loop
from mednet_bench.benchmark.training.augment import AugmentRule
from mednet_bench.benchmark.training.epochwise import build_published
from mednet_bench.benchmark.training.epochwise import train_published as train_script
from mednet_bench.benchmark.training.loop import (
    ShortMemoryError,
    catch_short_memory,
    is_short_memory,
    retry_in_parts,
)
from mednet_bench.benchmark.training.model import ImageClassifier

SAYINGS = {
    "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cuDNN 8": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cuDNN 9": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    "driver": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
}
OTHERS = ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", "CUDA error: device-side assert triggered", "")


@pytest.mark.parametrize("error", SAYINGS.values(), ids=SAYINGS)
def test_every_library_s_word_for_short_memory_is_known(error: RuntimeError) -> None:
    assert is_short_memory(error)


@pytest.mark.parametrize("text", OTHERS)
def test_other_errors_are_not_taken_for_short_memory(text: str) -> None:
    assert not is_short_memory(RuntimeError(text))


@pytest.mark.parametrize(
    ("free", "tried"),
    [pytest.param(4, [1, 2, 4, 5], id="memory is short"), pytest.param(6, [1, 2], id="memory is free")],
)
def test_a_missing_engine_means_short_memory_where_little_is_free_and_else_one_more_try(
    free: int, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: device)  # all is on the second
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free if device else 0, 100))
    found: list[int] = []

    def compute(parts: int) -> None:
        found.append(parts)
        with catch_short_memory(parts, 11):
            raise RuntimeError("FIND was unable to find an engine to execute this computation")

    with pytest.raises(RuntimeError, match="FIND was unable"):
        retry_in_parts(compute)
    assert found == tried


@dataclass
class Device:
    """Fails `times` times at the `at`-th call since the last failure."""

    at: int
    times: int
    error: RuntimeError
    calls: int = 0
    failures: int = 0

    def check(self) -> None:
        self.calls += 1
        if self.calls == self.at and self.failures < self.times:
            self.calls, self.failures = 0, self.failures + 1
            raise self.error

    def wrap(self, patch: pytest.MonkeyPatch, owner: type, name: str, counts: Callable[..., bool]) -> None:
        """Let a method fail after its work, like an optimizer that has changed half the weights."""
        inner = getattr(owner, name)

        def wrapped(this: object, *args: object) -> object:
            result = inner(this, *args)
            if counts(this):
                self.check()
            return result

        patch.setattr(owner, name, wrapped)


PLACES = {
    "forward pass": (ImageClassifier, "forward", lambda model: model.training),
    "optimizer": (torch.optim.AdamW, "step", lambda optimizer: True),
    "augmentation": (AugmentRule, "__call__", lambda augment: True),
}


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResolvedPlan:
    """One fine-tuning at two learning rates; 14 images in 4 parts are 4, 4, 3 and 3."""
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    task = toys.task_of(toys.Toy(clear=1))
    recipe = msgspec.structs.replace(toys.QUICK, steps=(8, 8), batch_size=14, evaluations=2)
    options = {"inits": "scratch", "fractions": "1", "seeds": "3", **msgspec.structs.asdict(recipe)}
    request = toys.run_config(tmp_path / "run", **options)
    return build_plan(request, [task], [task], toys.NOWHERE)


def computed(grid: ResolvedPlan) -> tuple[Record, bytes]:
    """Return the record and the test scores."""
    (cell,) = grid.plan.cells
    record, predictions = CellRunner(grid, "cpu").compute(cell)
    assert predictions is not None
    return record, predictions["scores"].tobytes()


def compute_in_parts(parts: int, grid: ResolvedPlan) -> tuple[Record, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_runner, "retry_in_parts", lambda compute: (compute(parts), parts))
        return computed(grid)


@pytest.mark.parametrize(
    ("place", "at"),  # the 12th step is of the second learning rate
    [("forward pass", 3), ("forward pass", 12), ("optimizer", 3), ("augmentation", 12)],
)
def test_a_cell_that_ran_out_of_memory_is_the_cell_that_was_run_in_parts(
    place: str, at: int, grid: ResolvedPlan
) -> None:
    record, scores = compute_in_parts(4, grid)
    short = Device(at, 2, SAYINGS["cuBLAS"])
    with pytest.MonkeyPatch.context() as patch:
        short.wrap(patch, *PLACES[place])
        found, found_scores = computed(grid)
    assert short.failures == 2
    assert found_scores == scores
    assert (found.choices, found.metrics, found.similarity) == (
        record.choices, record.metrics, record.similarity,
    )  # fmt: skip
    assert "memory was short: each batch was accumulated in 4 parts" in found.notes


def test_the_parts_matter_to_batch_norm_so_that_the_comparison_above_can_fail(grid: ResolvedPlan) -> None:
    assert compute_in_parts(4, grid)[1] != compute_in_parts(1, grid)[1]


@pytest.mark.parametrize("batch", [32, 14, 5, 3])
def test_parts_have_two_images_at_least_and_then_the_device_has_the_last_word(
    batch: int, tmp_path: Path
) -> None:
    recipe = msgspec.structs.replace(toys.QUICK, batch_size=batch, steps=(4, 4))
    here = toys.Bench(toys.task_of(toys.Toy()), tmp_path, recipe=recipe)
    seen: list[int] = []

    def forward(self: ImageClassifier, images: Tensor) -> Tensor:
        seen.append(len(images))
        raise SAYINGS["torch"]

    with pytest.MonkeyPatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(ImageClassifier, "forward", forward)
        retry_in_parts(
            lambda parts: cell_runner.PROTOCOLS["finetune"].score(here.job("finetune", parts=parts))
        )
    assert seen[0] == batch and len(seen) < 8
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] in (2, 3)


def test_a_script_s_small_last_batch_is_cut_into_parts_that_batch_norm_takes(tmp_path: Path) -> None:
    here = toys.Bench(toys.task_of(toys.Toy(sizes=(39, 30, 45))), tmp_path)
    training = build_published(here.job("medmnist-v2", parts=4), replace(MEDMNIST_V2, epochs=1, batch=12))
    seen: list[int] = []
    training.model.register_forward_pre_hook(
        lambda model, args: seen.append(len(args[0])) if model.training else None
    )
    train_script(training, replace(MEDMNIST_V2, epochs=1, batch=12))
    assert seen == [*[3] * 4 * 3, 3]  # 39 images: three batches of 12, and 3 images


def test_nothing_of_the_failed_try_is_alive_when_memory_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # While the error is handled its traceback holds the activations, and the device would have none to give.
    alive: list[weakref.ref[Tensor]] = []
    counted: list[int] = []

    def compute(parts: int) -> int:
        activations = torch.zeros(10)
        alive.append(weakref.ref(activations))
        try:
            if parts < 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        except RuntimeError as error:
            raise ShortMemoryError(2 * parts) from error
        return parts

    def freed() -> None:
        gc.collect()
        counted.append(sum(tensor() is not None for tensor in alive))

    monkeypatch.setattr(loop, "free_memory", freed)
    assert retry_in_parts(compute) == (4, 4)
    assert counted == [0, 0]


def test_the_estimate_s_probe_survives_short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mednet_bench.benchmark.run.machine_probe.PROBE_SECONDS", 0.01)
    cell = Cell(task="", size=16, input_size=16, arch=toys.ARCH, init="", protocol="finetune")
    task = toys.task_of(toys.Toy())

    def see(model: nn.Module, args: tuple[Tensor, ...]) -> None:
        if model.training and len(args[0]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = nn.modules.module.register_module_forward_pre_hook(see)
    try:
        probed = ProbedNetwork(cell, "gray", 16)
        times = MachineProbe("cpu").network(probed, task, InputSpec(), toys.QUICK, repeats=2)
        assert times.step > 0 and times.image > 0
    finally:
        hook.remove()


def test_a_pretraining_begins_again_until_a_part_has_two_images(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def full(job: automatic.PretrainConfig, keeping: object) -> None:
        tried.append(job.settings.accumulate)
        raise RuntimeError(str(SAYINGS["cuDNN 9"]))

    plan = SimpleNamespace(variant="gray", arch=toys.ARCH, start=None, input_size=16, options=USUAL_OPTIONS)
    monkeypatch.setattr(automatic, "train", full)
    monkeypatch.setattr(automatic, "_load_pools", lambda *_: ([], torch.zeros(1)))
    recipe = msgspec.structs.replace(toys.QUICK, pretrain_batch=11)
    with pytest.raises(RuntimeError, match="ALLOCATION_FAILED"):
        automatic._train_in_parts(plan, recipe, toys.NOWHERE, "cpu", lambda: None)  # type: ignore[arg-type]
    assert tried == [1, 2, 4, 5]
