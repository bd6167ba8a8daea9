"""What only a GPU can show: graphs that train as steps do, and images that come from the host."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from mednet_bench.benchmark.training import cuda_graph, device_data
from mednet_bench.benchmark.training.device_data import DeviceSplits
from mednet_bench.benchmark.training.fit import TaskTraining
from mednet_bench.benchmark.training.loop import FitResult
from mednet_bench.benchmark.training.protocol import EvalContext

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmark" / "training"))
import toys

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def _fresh_checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cuda_graph, "_refusals", {})
    yield


def job_of(graphs: bool, folder: Path, arch: str = "tf_efficientnet_lite0") -> EvalContext:
    bench = toys.Bench(toys.task_of(toys.Toy(side=28, sizes=(300, 60, 300))), folder, arch=arch, side=64)
    job = bench.job("finetune")
    recipe = msgspec.structs.replace(job.recipe, steps=(60, 60), batch_size=32)
    data = DeviceSplits(job.data.splits, "toy", "cuda")
    return replace(job, device="cuda", data=data, cuda_graphs=graphs, recipe=recipe)


def trained(job: EvalContext) -> tuple[TaskTraining, FitResult]:
    training = TaskTraining.load(job)
    return training, training.run(1e-3)


@pytest.mark.parametrize("arch", ["tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224"])
def test_a_training_by_graphs_is_used_and_learns_as_one_by_steps(arch: str, tmp_path: Path) -> None:
    (_, plain), (_, graphed) = (trained(job_of(graphs, tmp_path, arch)) for graphs in (False, True))
    assert graphed.notes == ()
    assert set(cuda_graph._refusals.values()) == {""}
    first = [result.curve[0].train_loss for result in (plain, graphed)]
    assert first[1] == pytest.approx(first[0], rel=0.1)
    assert graphed.curve[-1].train_loss < 0.8 * graphed.curve[0].train_loss


def test_images_from_the_host_give_the_batches_of_images_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_card = TaskTraining.load(job_of(False, tmp_path))
    monkeypatch.setattr(device_data, "HELD_SHARE", 0.0)
    streamed = TaskTraining.load(job_of(False, tmp_path))
    one, two = on_card.batch_source(), streamed.batch_source()
    assert streamed.job.data.images("train").device.type == "cpu"
    for step in (0, 1, 2, 5, 1):
        assert torch.equal(one.batch(step)[0], two.batch(step)[0])
    np.testing.assert_allclose(on_card.predict("test"), streamed.predict("test"), atol=0.02)
