"""Run the GPU tests, measure everything that needs a GPU, and print one Markdown table; at most 8 minutes.

    python tests/gpu/measure_gpu.py                         # all parts; exit 2 without a GPU
    python tests/gpu/measure_gpu.py loop packing            # some parts
    python tests/gpu/measure_gpu.py --device cpu --tiny     # a dry run, whose figures mean nothing

Each part is a process with its own time limit; a part that fails prints its reason, and the others run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mednet_bench.benchmark.pretraining.config import PretrainCallbacks, PretrainConfig
from mednet_bench.benchmark.pretraining.distributed import RankGroup
from mednet_bench.benchmark.pretraining.in_memory_loader import MemoryImages
from mednet_bench.benchmark.pretraining.pretrain_result import PretrainSettings
from mednet_bench.benchmark.pretraining.sources import SourcePool
from mednet_bench.benchmark.pretraining.train_loop import run_training
from mednet_bench.benchmark.protocols import knn, linear
from mednet_bench.benchmark.schema.plan import TrainingConfig
from mednet_bench.benchmark.training import cuda_graph, features, loop, model
from mednet_bench.benchmark.training import fit as fit_module
from mednet_bench.benchmark.training.fit import TaskTraining
from mednet_bench.benchmark.training.loop import OptimizerConfig
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.data_paths import data_locations
from mednet_bench.tasks.task import DataLocations, Split

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "speed"))
from measure import Turn, bare, job_of, rates  # noqa: E402

TOTAL_SECONDS = 480.0
SMALL_ARCHS = ("tf_efficientnet_lite0", "resnet18")
Row = tuple[str, str, str]
"""What was measured, the figure, and what it is compared with or promised."""


@dataclass(frozen=True)
class Machine:
    """Where to measure; `tiny` takes sizes with which a CPU shows that the script works."""

    device: str
    tiny: bool

    def pick(self, full: Any, tiny: Any) -> Any:
        """Return the first value, or the second in a dry run."""
        return tiny if self.tiny else full


def part_tests(machine: Machine) -> list[Row]:
    """Run the tests marked `gpu`."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    folders = [str(HERE.parent / name) for name in ("benchmark/training", "gpu")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"a test failed: {done.stdout[-400:]}")
    return [("tests marked gpu", done.stdout.strip().splitlines()[-1].strip("= "), "all pass")]


def part_loop(machine: Machine) -> list[Row]:
    """Compare our loop, with and without a CUDA graph, with a bare loop and with timm's."""
    rows: list[Row] = []
    for arch in machine.pick(SMALL_ARCHS, SMALL_ARCHS[1:]):
        for side in machine.pick((28, 64), (28,)):
            batch, steps = machine.pick((32, 100), (4, 2))  # 32 is the default of `run`
            turns = [
                bare(arch, side, steps, batch, machine.device),
                _ours(machine, arch, side, batch, steps, graphs=False),
                _ours(machine, arch, side, batch, steps, graphs=True),
                _timm_loop(machine, arch, side, batch, steps),
            ]
            found = rates(turns, machine.pick(3, 1))
            name, eager, graphed = f"{arch}, {side} px", found["ours"], found["graph"]
            gains = f"{graphed / eager:.2f} x without (goal 5)"
            gains += f", {graphed / found['timm']:.2f} x timm (goal 3 at 28 px){_refused()}"
            for what, rate, against in (
                ("bare loop", found["bare"], ""),
                ("ours without graph", eager, f"{eager / found['bare']:.2f} x bare"),
                ("ours with graph", graphed, gains),
                ("timm's loop", found["timm"], ""),
            ):
                rows.append((f"{name}: {what}", f"{rate:,.0f} images/s", against))
    return rows


def _refused() -> str:
    """Return the reasons for which graphs were refused in this process, for the end of a text."""
    return "".join(f"; REFUSED: {reason}" for reason in set(cuda_graph._refusals.values()) if reason)


def _training(machine: Machine, arch: str, side: int, batch: int, steps: int, graphs: bool) -> TaskTraining:
    """Return a fine-tuning of random weights on a generated task."""
    task = catalog(DataLocations())["phantom-tissue"]
    splits = dict(task.source.load(28, DataLocations()))
    recipe = TrainingConfig(steps=(steps, steps), batch_size=batch)
    job = job_of(task, splits, arch, side, recipe, machine.device)
    return TaskTraining.load(replace(job, cuda_graphs=graphs))


def _ours(machine: Machine, arch: str, side: int, batch: int, steps: int, graphs: bool) -> Turn:
    """Our steps on real bytes; with a graph, it is recorded in the first turn."""
    training = _training(machine, arch, side, batch, steps, graphs)
    hyper = OptimizerConfig(lr=1e-4, weight_decay=0.01, every=steps, patience=1)
    made = loop.TrainingSteps(training.model.train(), training.batch_source(), hyper, training.graph_key)

    def work() -> None:
        with loop.fixed_shapes(torch.device(machine.device)):
            losses = [made.take(step).clone() for step in range(steps)]
        torch.stack(losses).sum().item()  # waits for the device

    return Turn("graph" if graphs else "ours", work, steps * batch)


class _PictureSet(torch.utils.data.Dataset):
    """Images in memory as PIL images through a transform, as timm's data sets give them."""

    def __init__(self, split: Split, count: int, transform: Callable[..., Any] | None = None) -> None:
        self.split, self.count, self.transform = split, count, transform

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        row = index % len(self.split)
        image = Image.fromarray(self.split.images[row]).convert("RGB")
        return (self.transform(image) if self.transform else image), int(self.split.labels[row])


def _timm_loop(machine: Machine, arch: str, side: int, batch: int, steps: int) -> Turn:
    """Return the loop of timm's train.py: its loader, prefetcher, transforms, optimizer and autocast."""
    import timm
    from timm.data import create_loader
    from timm.optim import create_optimizer_v2
    from timm.utils import NativeScaler

    device = torch.device(machine.device)
    split = catalog(DataLocations())["phantom-tissue"].source.load(28, DataLocations())["train"]
    pictures = _PictureSet(split, steps * batch)
    workers = machine.pick(min(8, os.cpu_count() or 1), 0)
    loader = create_loader(
        pictures, (3, side, side), batch, is_training=True, num_workers=workers, device=device,
        persistent_workers=workers > 0, pin_memory=device.type == "cuda",
    )  # fmt: skip
    network = timm.create_model(arch, num_classes=8).to(device, memory_format=torch.channels_last).train()
    optimizer = create_optimizer_v2(network, opt="adamw", lr=1e-4, weight_decay=0.01)
    scaler, criterion = NativeScaler(device=device.type), nn.CrossEntropyLoss()
    amp = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()

    def work() -> None:
        loss = torch.zeros(())
        for images, targets in loader:
            images = images.contiguous(memory_format=torch.channels_last)
            with amp:
                loss = criterion(network(images), targets)
            optimizer.zero_grad()
            if device.type == "cuda":
                scaler(loss, optimizer, parameters=network.parameters())
            else:
                loss.backward()
                optimizer.step()
        loss.item()

    return Turn("timm", work, steps * batch)


class _Roofline(TorchDispatchMode):
    """Least seconds of the operations of a step, from floating-point operations and bytes of each."""

    def __init__(self, flops: float, bandwidth: float) -> None:
        super().__init__()
        self.flops, self.bandwidth, self.seconds, self.operations = flops, bandwidth, 0.0, 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        places = {
            each.data_ptr(): each for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor)
        }
        if not func.is_view and "empty" not in func.name():
            count = flop_registry.get(func.overloadpacket)
            operations = float(count(*args, **(kwargs or {}), out_val=result)) if count else 0.0
            moved = sum(each.numel() * each.element_size() for each in places.values())
            self.operations += operations
            self.seconds += max(operations / self.flops, moved / self.bandwidth)
        return result


def part_roofline(machine: Machine) -> list[Row]:
    """Measure ResNet-50 at 224 px against the roofline of its operations."""
    batch, side, steps = machine.pick((256, 224, 20), (2, 32, 2))
    flops, bandwidth = _peaks(machine)
    training = _training(machine, "resnet50", side, batch, steps, graphs=False)
    made = loop.TrainingSteps(
        training.model.train(), training.batch_source(), OptimizerConfig(1e-4, 0.0, 1, 1)
    )
    made.take(0)
    with _Roofline(flops, bandwidth) as least:
        made.take(1)
    found = rates([_ours(machine, "resnet50", side, batch, steps, graphs) for graphs in (False, True)], 3)
    rows: list[Row] = [
        ("bfloat16 matrix product", f"{flops / 1e12:.0f} TFLOP/s", "measured peak"),
        ("copy in device memory", f"{bandwidth / 1e9:,.0f} GB/s", "measured peak"),
    ]
    for name, rate in found.items():
        share, used = least.seconds * rate / batch, least.operations * rate / batch / flops
        text = f"{share:.0%} of the roofline (goal 50 %), {used:.0%} of the matrix peak{_refused()}"
        rows.append((f"resnet50, {side} px, batch {batch}: {name}", f"{rate:,.0f} images/s", text))
    return rows


def _peaks(machine: Machine) -> tuple[float, float]:
    """Return the measured bfloat16 operations and bytes per second."""
    side, count = machine.pick((8192, 2**30), (256, 2**20))
    a = torch.randn(side, side, device=machine.device, dtype=torch.bfloat16)
    data = torch.empty(count, dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(data)
    turns = [
        Turn("product", lambda: _wait(machine, [a @ a for _ in range(10)]), 10),
        Turn("copy", lambda: _wait(machine, [target.copy_(data) for _ in range(10)]), 10),
    ]
    found = rates(turns, 3)
    return found["product"] * 2 * side**3, found["copy"] * 2 * count


def _wait(machine: Machine, _results: list[Tensor]) -> None:
    if machine.device.startswith("cuda"):
        torch.cuda.synchronize()


def part_packing(machine: Machine) -> list[Row]:
    """Measure 1, 2, 4 and 8 processes on one card, without and with graphs."""
    rows: list[Row] = []
    for graphs in (False, True):
        alone = 0.0
        for count in machine.pick((1, 2, 4, 8), (2,)):
            rate = _packed_rate(machine, count, graphs)
            alone = alone or rate
            name = f"{count} process(es) on one card, 28 px, {'with' if graphs else 'without'} graph"
            rows.append((name, f"{rate:,.0f} images/s together", f"{rate / alone:.2f} x one"))
    return rows


def _packed_rate(machine: Machine, count: int, graphs: bool) -> float:
    """Return the images per second of `count` processes that train at the same time."""
    command = [sys.executable, __file__, "--worker", "--device", machine.device]
    command += ["--graphs"] * graphs + ["--tiny"] * machine.tiny
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
    try:
        for worker in workers:
            if worker.stdout is None or worker.stdout.readline() != "ready\n":
                raise RuntimeError(f"a process of {count} ended before it was ready (memory?)")
        for worker in workers:
            if worker.stdin:
                worker.stdin.write("go\n")
                worker.stdin.flush()
        return sum(float(worker.communicate()[0]) for worker in workers)
    finally:
        for worker in workers:
            worker.kill()


def run_worker(machine: Machine, graphs: bool) -> None:
    """Train for some seconds after a line of standard input; print the images per second."""
    batch, steps, seconds = machine.pick((32, 40, 5.0), (4, 1, 0.2))
    turn = _ours(machine, SMALL_ARCHS[0], 28, batch, steps, graphs)
    turn.work()
    print("ready", flush=True)
    sys.stdin.readline()
    started, images = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        turn.work()
        images += turn.images
    print(images / (time.perf_counter() - started), flush=True)


def part_solvers(machine: Machine) -> list[Row]:
    """Time the linear probe at ChestMNIST's size and kNN at TissueMNIST's, on generated features."""
    rows: list[Row] = []
    chest, tissue = machine.pick(((78468, 11219, 22433), (165466, 23640, 47280)), ((200, 50, 50),) * 2)
    width = machine.pick(1280, 16)
    for name, kind, sizes in (("linear", "multilabel", chest), ("knn", "multiclass", tissue)):
        classes = 14 if kind == "multilabel" else 8
        job = _feature_job(machine, name, kind, sizes, width, classes)
        started = time.perf_counter()
        PROTOCOLS[name].score(job)
        seconds = time.perf_counter() - started
        size = f"{sizes[0]:,} x {width:,}, {classes} classes"
        against = "scikit-learn, one core: about 1,430 s" if name == "linear" else ""
        rows.append((f"{name}, {size}", f"{seconds:.1f} s", against))
    return rows


def _feature_job(
    machine: Machine, protocol: str, kind: str, sizes: tuple[int, int, int], width: int, classes: int
) -> EvalContext:
    """Return a job of a frozen protocol whose features are generated."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(width, classes)) / width**0.5
    made: dict[str, NDArray[np.float32]] = {}
    splits: dict[str, Split] = {}
    for name, count in zip(("train", "val", "test"), sizes, strict=True):
        made[name] = rng.normal(size=(count, width)).astype(np.float32)
        logits = made[name] @ truth + rng.normal(size=(count, classes))
        labels = (logits > 0.5).astype(np.int64) if kind == "multilabel" else logits.argmax(1)
        splits[name] = Split(np.zeros((count, 1, 1), np.uint8), labels)
    pooled = features.PooledFeatures(made, "generated")
    for module in (features, linear, knn):  # wherever the protocol looks it up
        if hasattr(module, "features_of"):
            module.features_of = lambda job: pooled
    task = replace(
        catalog(DataLocations())["phantom-tissue"], kind=kind, classes=tuple("abcdefghijklmn"[:classes])
    )
    job = job_of(task, splits, "resnet18", 28, TrainingConfig(), machine.device)
    return replace(job, cell=msgspec.structs.replace(job.cell, protocol=protocol))


def part_precision(machine: Machine) -> list[Row]:
    """Compare test scores of trainings in bfloat16 and in float32, on a real task where there is one."""
    task, splits = _real_task()
    steps, seeds = machine.pick((200, 3), (2, 1))
    found: dict[str, list[float]] = {"bfloat16": [], "float32": []}
    plain = loop.autocast_precision
    for name, values in found.items():
        for module in (loop, model, fit_module):
            module.autocast_precision = plain if name == "bfloat16" else lambda device: nullcontext()
        for seed in range(seeds):
            recipe = TrainingConfig(steps=(steps, steps), batch_size=32, lr_grid=(1e-3,))
            job = job_of(task, splits, SMALL_ARCHS[1], machine.pick(64, 32), recipe, machine.device)
            job = replace(job, cell=msgspec.structs.replace(job.cell, seed=seed))
            training = TaskTraining.load(job)
            training.run(1e-3)
            values.append(_auc(splits["test"].labels, training.predict("test")))
    gap = abs(np.mean(found["bfloat16"]) - np.mean(found["float32"]))
    spread = max(np.std(values) for values in found.values())
    means = ", ".join(f"{name} {np.mean(values):.4f}" for name, values in found.items())
    return [
        (f"test AUC on {task.name}, {seeds} seeds", means, f"differ by {gap:.4f}, seeds by {spread:.4f} (SD)")
    ]


def _real_task() -> tuple[Any, dict[str, Split]]:
    places = replace(data_locations(), download=False)
    try:
        task = catalog(places)["breastmnist"]
        return task, dict(task.source.load(28, places))
    except (UserError, OSError):
        task = catalog(DataLocations())["phantom-tissue"]
        return task, dict(task.source.load(28, DataLocations()))


def _auc(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    if scores.shape[1] == 2:
        return float(roc_auc_score(labels, scores[:, 1]))
    return float(roc_auc_score(labels, scores, multi_class="ovr", labels=range(scores.shape[1])))


def _pretraining(
    machine: Machine, ranks: RankGroup, steps: int, parts: int, graphs: bool
) -> tuple[float, float]:
    """Pretrain on generated images; returns images per second of all ranks, and the last loss."""
    rng = np.random.default_rng(0)
    count, side, batch = machine.pick((20000, 64, 256), (40, 32, 8))
    labels = rng.integers(0, 4, count)
    train, held_out = np.arange(count - 8), np.arange(count - 8, count)
    pool = SourcePool("one", "multiclass", ("a", "b", "c", "d"), (True, False), labels, train, held_out)
    images = torch.from_numpy(rng.integers(0, 255, (count, 3, side, side), dtype=np.uint8))
    settings = PretrainSettings(
        variant="color", arch=SMALL_ARCHS[0], start="scratch", steps=steps, batch_size=batch,
        accumulate=parts, input_size=side, lr=1e-3, weight_decay=0.01, seed=0,
    )  # fmt: skip
    config = PretrainConfig(settings, [pool], MemoryImages(images, ranks.device), ranks, None, graphs)
    started = time.perf_counter()
    outcome = run_training(config, PretrainCallbacks())
    return steps * batch / (time.perf_counter() - started), outcome.curve[-1].train_loss


def part_pretraining(machine: Machine) -> list[Row]:
    """Pretrain for some steps, without and with a graph."""
    steps = machine.pick(200, 3)
    rows: list[Row] = []
    for graphs in (False, True):
        rate, loss = _pretraining(machine, RankGroup(machine.device), steps, 1, graphs)
        name = f"pretraining, {SMALL_ARCHS[0]}, {'with' if graphs else 'without'} graph"
        against = f"loss {loss:.4f} after {steps} steps, start-up included{_refused()}"
        rows.append((name, f"{rate:,.0f} images/s", against))
    return rows


def part_ranks(machine: Machine) -> list[Row]:
    """Pretrain on two ranks of one card and on one rank, in the same two parts."""
    steps = machine.pick(30, 3)
    _, alone = _pretraining(machine, RankGroup(machine.device), steps, 2, False)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--device", machine.device, *["--tiny"] * machine.tiny]
        command += ["--meet", f"file://{folder}/meet"]
        pipe = subprocess.PIPE
        ranks = [subprocess.Popen([*command, "--rank", rank], stdout=pipe, text=True) for rank in ("0", "1")]
        outputs = [rank.communicate()[0] for rank in ranks]
    if any(rank.returncode for rank in ranks):
        raise RuntimeError("a rank ended with an error")
    loss = float(outputs[0])
    text = f"loss {loss:.4f}, one rank {alone:.4f}"
    return [
        ("two ranks on one card (gloo: nccl refuses two ranks on one GPU)", text, "equal but for rounding")
    ]


def run_rank(machine: Machine, rank: int, meet: str) -> None:
    """Train as one of two ranks, and print the last loss."""
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
    _, loss = _pretraining(machine, RankGroup(machine.device, rank, 2), machine.pick(30, 3), 2, False)
    torch.distributed.destroy_process_group()
    print(loss)


PARTS: dict[str, tuple[Callable[[Machine], list[Row]], float]] = {
    "tests": (part_tests, 60),
    "loop": (part_loop, 120),
    "roofline": (part_roofline, 45),
    "packing": (part_packing, 110),
    "solvers": (part_solvers, 60),
    "precision": (part_precision, 50),
    "pretraining": (part_pretraining, 40),
    "ranks": (part_ranks, 45),
}
"""The function of each part, and its time limit in seconds."""


def run_part(name: str, machine: Machine, seconds: float) -> list[Row]:
    """Run a part in a process of its own; a failure is its row."""
    command = [
        sys.executable,
        __file__,
        name,
        "--rows",
        "--device",
        machine.device,
        *["--tiny"] * machine.tiny,
    ]
    pipe = subprocess.PIPE
    part = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        output, errors = part.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(part.pid, signal.SIGKILL)  # its own processes too
        part.communicate()
        return [(name, "not finished", f"its time limit of {seconds:.0f} s")]
    if part.returncode:
        reason = (errors.strip().splitlines() or ["no message"])[-1]
        return [(name, "failed", reason[:300])]
    return [tuple(row) for row in json.loads(output.splitlines()[-1])]  # type: ignore[misc]


def main() -> int:
    """Run all parts and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="dry run with sizes for a CPU")
    parser.add_argument("--rows", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--graphs", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meet", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    machine = Machine(chosen.device, chosen.tiny)
    if machine.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no GPU here: run `make gpu` on a machine with one.", file=sys.stderr)
        return 2
    if chosen.worker:
        run_worker(machine, chosen.graphs)
    elif chosen.rank is not None:
        run_rank(machine, chosen.rank, chosen.meet)
    elif chosen.rows:
        print(json.dumps(PARTS[chosen.parts[0]][0](machine)))
    else:
        _print_table(machine, chosen.parts or list(PARTS))
    return 0


def _print_table(machine: Machine, names: list[str]) -> None:
    """Print the rows of all parts, each within its own time limit and all within `TOTAL_SECONDS`."""
    started = time.perf_counter()
    rows: list[Row] = []
    for name in names:
        left = TOTAL_SECONDS - (time.perf_counter() - started)
        limit = PARTS[name][1] * machine.pick(1, 10)
        limit = min(limit, left) if not machine.tiny else limit
        found = run_part(name, machine, limit) if limit > 5 else [(name, "not run", "no time left")]
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        rows += found
    card = torch.cuda.get_device_name(machine.device) if machine.device.startswith("cuda") else machine.device
    kind = "dry run" if machine.tiny else "measured"
    print(f"{card}, {os.cpu_count()} CPU cores, torch {torch.__version__}; {kind}\n")
    print(tabulate(rows, ["measurement", "result", "against"], tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    sys.exit(main())
