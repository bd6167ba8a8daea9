"""What training steps do on a GPU, found without one: run by `test_without_gpu.py` with `no_gpu.c` preloaded.

Arguments: architectures to fine-tune. Prints JSON: for each case the calls of the CUDA runtime and the
operations of torch in one step.
"""

import ctypes
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mednet_bench.benchmark.pretraining.config import PretrainConfig
from mednet_bench.benchmark.pretraining.distributed import RankGroup
from mednet_bench.benchmark.pretraining.in_memory_loader import MemoryImages
from mednet_bench.benchmark.pretraining.pretrain_result import PretrainSettings
from mednet_bench.benchmark.pretraining.sources import SourcePool
from mednet_bench.benchmark.pretraining.trainer import PretrainTrainer
from mednet_bench.benchmark.schema.provenance import current_provenance
from mednet_bench.benchmark.training import cuda_graph
from mednet_bench.benchmark.training.device_data import DeviceSplits
from mednet_bench.benchmark.training.fit import TaskTraining
from mednet_bench.benchmark.training.loop import BatchSource, OptimizerConfig, TrainingSteps
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext
from mednet_bench.core.hardware import process_count, worker_devices

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmark" / "training"))
import toys

RUNTIME = ctypes.CDLL(None)
COUNTERS = ("waits", "unpinned", "to_host", "launches", "recorded", "replays")
HYPER = OptimizerConfig(lr=1e-3, weight_decay=0.01, every=3, patience=3)


class StepLog(TorchDispatchMode):
    """Types and layouts of a step's convolutions and losses."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions: set[tuple[str, bool]] = set()
        self.losses: set[str] = set()
        self.operations: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.operations.add(name)
        if name == "convolution":
            layouts = [each.is_contiguous(memory_format=torch.channels_last) for each in args[:2]]
            self.convolutions.add((f"{args[0].dtype}".removeprefix("torch."), all(layouts)))
        if name in ("_log_softmax", "binary_cross_entropy_with_logits"):
            self.losses.add(f"{args[0].dtype}".removeprefix("torch."))
        result = func(*args, **(kwargs or {}))
        # cuDNN, which is off here, keeps the layout of its input
        keeps = name == "convolution" and args[0].is_contiguous(memory_format=torch.channels_last)
        return result.contiguous(memory_format=torch.channels_last) if keeps else result


def calls_of(step: Callable[[], object]) -> dict[str, int]:
    """Return how often each counter of `no_gpu.c` rose during a step."""

    def read() -> dict[str, int]:
        return {name: ctypes.c_long.in_dll(RUNTIME, name).value for name in COUNTERS}

    before = read()
    step()
    return {name: count - before[name] for name, count in read().items()}


def logged(step: Callable[[], object]) -> dict[str, object]:
    """Return the calls, convolutions and losses of a step."""
    with StepLog() as log:
        calls = calls_of(step)
    operations = {
        "backward": "convolution_backward" in log.operations,
        "adamw": "_fused_adamw_" in log.operations,
    }
    return {**calls, **operations, "convolutions": sorted(log.convolutions), "losses": sorted(log.losses)}


def job_of(arch: str, side: int = 32, kind: str = "multiclass", graphs: bool = False) -> EvalContext:
    """Return a fine-tuning of random weights on the device."""
    task = toys.task_of(toys.Toy(kind=kind, side=28, variant="color"))
    bench = toys.Bench(task, Path("/nonexistent"), arch=arch, side=side)
    job = bench.job("finetune")
    data = DeviceSplits(job.data.splits, "toy", "cuda")
    return replace(job, device="cuda", data=data, cuda_graphs=graphs)


def finetune_steps(arch: str) -> dict[str, object]:
    """Return the facts of an eager step, after one that fills caches."""
    training = TaskTraining.load(job_of(arch))
    steps = TrainingSteps(training.model.train(), training.batch_source(), HYPER)
    steps.take(0)
    return logged(lambda: steps.take(1))


def graph_steps() -> dict[str, object]:
    """Return the facts of a step by a graph, and how many kernels the graph holds."""
    training = TaskTraining.load(job_of("tf_efficientnet_lite0", graphs=True))
    steps = TrainingSteps(training.model.train(), training.batch_source(), HYPER, training.graph_key)
    recorded = ctypes.c_long.in_dll(RUNTIME, "recorded").value
    return {**calls_of(lambda: steps.take(1)), "kernels": recorded, "used": steps.graph is not None}


def refused_graph() -> dict[str, object]:
    """Return the outcome of a step with a wait of the host, which cannot be recorded."""
    training = TaskTraining.load(job_of("test_efficientnet"))
    feed = training.batch_source()

    def waiting(outputs: Tensor, targets: Tensor) -> Tensor:
        loss = feed.loss(outputs, targets)
        loss.item()
        return loss

    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    source = BatchSource(feed.stored, waiting, 3, prepare=feed.prepare)
    steps = TrainingSteps(training.model.train(), source, HYPER, "waits")
    same = all(
        torch.equal(value.cpu(), before[name].cpu()) for name, value in training.model.state_dict().items()
    )
    steps.take(0)
    return {"used": steps.graph is not None, "same": same, "notes": cuda_graph.graph_notes("waits")}


def whole_training() -> dict[str, object]:
    """Return the facts of a whole cell with graphs, whose evaluations recur."""
    outcome = PROTOCOLS["finetune"].score(job_of("test_efficientnet", kind="multilabel", graphs=True))
    forwards = [each for key, each in cuda_graph._refusals.items() if key[1] == "forward"]
    return {"shape": outcome.test_scores.shape, "notes": outcome.notes, "forwards": forwards}


def streamed_steps() -> dict[str, object]:
    """Return the facts of a step whose images do not fit on the device."""
    ctypes.c_size_t.in_dll(RUNTIME, "free_bytes").value = 1000
    job = job_of("test_efficientnet")
    training = TaskTraining.load(job)
    steps = TrainingSteps(training.model.train(), training.batch_source(), HYPER)
    steps.take(0)
    where = job.data.images("train").device.type
    step = logged(lambda: steps.take(1))
    evaluation = calls_of(lambda: training._logits("test"))
    ctypes.c_size_t.in_dll(RUNTIME, "free_bytes").value = 2**36
    return {"where": where, **step, "evaluation": evaluation}


def pretrain_steps(graphs: bool) -> dict[str, object]:
    """Return the facts of a pretraining's step."""
    rng = np.random.default_rng(0)
    pools = [
        SourcePool(name, kind, ("a", "b"), (True, False), labels, np.arange(40), np.arange(40, 50))
        for name, kind, labels in (
            ("one", "binary", rng.integers(0, 2, 50)),
            ("two", "multilabel", rng.integers(0, 2, (50, 2))),
        )
    ]
    settings = PretrainSettings(
        variant="color", arch="tf_efficientnet_lite0", start="scratch", steps=8, batch_size=16,
        input_size=32, lr=1e-3, weight_decay=0.01, seed=0, accumulate=1, ema=0.99,
    )  # fmt: skip
    images = MemoryImages(torch.zeros(100, 3, 32, 32, dtype=torch.uint8), "cuda")
    trainer = PretrainTrainer(PretrainConfig(settings, pools, images, RankGroup("cuda"), None, graphs))
    with torch.no_grad():
        batches = images.batches(trainer.stream(0))
    trainer.record_step(0, batches)
    recorded = ctypes.c_long.in_dll(RUNTIME, "recorded").value
    trainer.step(0, batches)
    step = calls_of if graphs else logged
    return {**step(lambda: trainer.step(1, batches)), "used": trainer.graph is not None, "kernels": recorded}


def ignore_values() -> None:
    """Let the checks of graphs run and pass: without kernels the values that they compare are arbitrary."""
    difference, is_close = cuda_graph._difference, cuda_graph._is_close
    cuda_graph._difference = lambda *args: difference(*args) and ""
    cuda_graph._is_close = lambda *args: is_close(*args) or True


def main() -> None:
    """Print the facts of every case."""
    torch.backends.cudnn.enabled = False  # its library needs a driver
    torch.backends.cuda.enable_cudnn_sdp(False)
    ignore_values()
    found: dict[str, object] = {"gpus": torch.cuda.device_count()}
    found["devices"] = worker_devices("cuda", process_count("cuda", jobs=1, per_gpu=3))
    found["record"] = {"device": current_provenance("cuda:1").device}
    found |= {arch: finetune_steps(arch) for arch in sys.argv[1:]}
    found |= {"graph": graph_steps(), "refused": refused_graph(), "training": whole_training()}
    found |= {"streamed": streamed_steps(), "pretraining": pretrain_steps(False)}
    found["pretraining graph"] = pretrain_steps(True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
