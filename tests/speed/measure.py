"""Measure the speed of the training loop and of the cached features, as ratios within one run.

    python tests/speed/measure.py            # everything, several minutes on two cores; or several of:
    python tests/speed/measure.py loop       # our loop against a bare PyTorch loop
    python tests/speed/measure.py medmnist   # an epoch of BreastMNIST as MedMNIST's script does it, and ours
    python tests/speed/measure.py validation # all validations of a training against its steps
    python tests/speed/measure.py features   # 6 fractions x 5 seeds of linear probes against one pass

Machines are shared and noisy: the candidates take turns, and the best turn of each is compared.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mednet_bench.baselines.init import InitCard, InputSpec
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.schema.budget import BUDGETS
from mednet_bench.benchmark.schema.plan import Cell, TrainingConfig
from mednet_bench.benchmark.training import features, subsets
from mednet_bench.benchmark.training.device_data import DeviceSplits, as_stored
from mednet_bench.benchmark.training.fit import TaskTraining
from mednet_bench.benchmark.training.loop import OptimizerConfig, ValidationResult, fit
from mednet_bench.benchmark.training.model import ImageClassifier, outputs_of, place_model
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.data_paths import data_locations
from mednet_bench.tasks.task import DataLocations, Split, Task

LIMITS = {"loop": 0.95, "medmnist": 1.5, "validation": 0.3, "features": 1.5}
"""Promised: at least 0.95 of the bare loop and 1.5 times MedMNIST's epoch; at most 0.3 of a training and
1.5 passes."""
AT_MOST = ("validation", "features")


@dataclass(frozen=True)
class Turn:
    """One candidate; `work` processes `images` images."""

    name: str
    work: Callable[[], object]
    images: int


def rates(turns: list[Turn], rounds: int) -> dict[str, float]:
    """Run the candidates in turns and return the best images per second of each."""
    best = dict.fromkeys((turn.name for turn in turns), 0.0)
    for turn in turns:
        turn.work()  # warm-up: allocations and kernel choices
    for _ in range(rounds):
        for turn in turns:
            started = time.perf_counter()
            turn.work()
            best[turn.name] = max(best[turn.name], turn.images / (time.perf_counter() - started))
    return best


def job_of(
    task: Task, splits: dict[str, Split], arch: str, side: int, recipe: TrainingConfig, device: str
) -> EvalContext:
    """Return a fine-tuning from random weights on all of a task's labels."""
    cell = Cell(task=task.name, size=28, input_size=side, arch=arch, init="scratch", protocol="finetune")
    card = InitCard(name="scratch", label="random weights", identity="scratch", seeded=True)
    subset = subsets.choose_subset(splits["train"], splits["val"], 1.0, 0)
    data, cache = DeviceSplits(splits, "measured", device), Path(tempfile.gettempdir())
    return EvalContext(cell, task, data, subset, card, recipe, device, cache)


def ours(job: EvalContext, steps: int, batch: int) -> Turn:
    """Our loop on real bytes: gather, resize, augment, normalize, step; without the validation at the end."""
    training = TaskTraining.load(job)
    feed = training.batch_source()
    hyper = OptimizerConfig(lr=1e-4, weight_decay=0.01, every=steps, patience=1)
    nothing = ValidationResult(0.0, None)
    return Turn(
        "ours",
        lambda: fit(training.model, replace(feed, steps=steps), hyper, lambda: nothing),
        steps * batch,
    )


def bare(arch: str, side: int, steps: int, batch: int, device: str) -> Turn:
    """Return the minimal PyTorch loop: the same model and optimizer on one ready batch."""
    model = place_model(ImageClassifier(build_backbone(arch, side), 2, 0), device).train()
    images = torch.randn(batch, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    targets = torch.zeros(batch, dtype=torch.long, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda"))

    def work() -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with autocast:
                outputs = model(images)
            loss = nn.functional.cross_entropy(outputs.float(), targets)
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device

    return Turn("bare", work, steps * batch)


def measure_loop(device: str, arch: str, side: int, rounds: int = 5) -> dict[str, float]:
    """Compare our loop with the bare one; the ratio is ours / bare."""
    batch = 32 if device == "cpu" else 256
    steps = 24 if device == "cpu" else 60
    task = catalog(DataLocations())["phantom-tissue"]
    splits = dict(task.source.load(28, DataLocations()))
    job = job_of(task, splits, arch, side, TrainingConfig(steps=(steps, steps), batch_size=batch), device)
    found = rates([bare(arch, side, steps, batch, device), ours(job, steps, batch)], rounds)
    return {**found, "ratio": found["ours"] / found["bare"]}


def measure_medmnist(rounds: int = 2) -> dict[str, float]:
    """Compare an epoch of BreastMNIST, ResNet-18 with the CIFAR stem, batch 128, float32, on the CPU.

    MedMNIST's script (experiments, MedMNIST2D/train_and_eval_pytorch.py) reads PIL images one by one
    through ToTensor, Normalize and a DataLoader, and after each epoch predicts train, val and test.
    Ours trains on the same number of images in the same batches, augmentation included, and predicts val.
    """
    places = data_locations()
    task = catalog(places)["breastmnist"]
    splits = dict(task.source.load(28, places))
    n = len(splits["train"])
    steps, batch = round(n / 128), 128  # rates are per image: 4 steps show 512 of the 546 images
    job = job_of(
        task, splits, "resnet18_cifar", 28, TrainingConfig(steps=(steps, steps), batch_size=batch), "cpu"
    )
    training = TaskTraining.load(job)
    feed, hyper = (
        training.batch_source(),
        OptimizerConfig(lr=1e-3, weight_decay=0.01, every=steps, patience=1),
    )
    turns = [
        Turn("published_train", _published_epoch(splits, evaluate=False), n),
        Turn("published_epoch", _published_epoch(splits, evaluate=True), n),
        ours(job, steps, batch),
        Turn("ours_epoch", lambda: fit(training.model, feed, hyper, training.validate), steps * batch),
    ]
    found = rates(turns, rounds)
    return {
        **{f"{name}_seconds": n / rate for name, rate in found.items()},
        "ratio_training_only": found["ours"] / found["published_train"],
        "ratio": found["ours_epoch"] / found["published_epoch"],
    }


class _OneByOne(torch.utils.data.Dataset):
    """Images as in medmnist's data set class: PIL images through torchvision's transforms."""

    def __init__(self, split: Split) -> None:
        from torchvision import transforms

        self.split = split
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(mean=[0.5], std=[0.5])]
        )

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.ndarray]:
        from PIL import Image

        return self.transform(Image.fromarray(self.split.images[index])), self.split.labels[index : index + 1]


def _published_epoch(splits: dict[str, Split], evaluate: bool) -> Callable[[], object]:
    """Return an epoch of MedMNIST's script: Adam 1e-3, batch 128, loss read back in every step."""
    backbone = build_backbone("resnet18_cifar", 28)
    backbone.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)  # their network has one input channel
    model = ImageClassifier(backbone, 2, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    loader = torch.utils.data.DataLoader(_OneByOne(splits["train"]), batch_size=128, shuffle=True)
    evaluated = [torch.utils.data.DataLoader(_OneByOne(split), batch_size=128) for split in splits.values()]

    def epoch() -> None:
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets.squeeze(1).long())
            loss.item()
            loss.backward()
            optimizer.step()
        if evaluate:
            model.eval()
            with torch.no_grad():
                for inputs, _ in (pair for part in evaluated for pair in part):
                    model(inputs).softmax(dim=1)

    return epoch


def measure_validation(task: Task, splits: dict[str, Split], steps: int = 24) -> dict[str, float]:
    """Compare all validations of a training of each budget with its steps, without early stopping.

    A step and a validation are timed; the budget tells how many there are of each.
    """
    recipe = TrainingConfig(steps=(steps, steps))
    job = job_of(task, splits, "tf_efficientnet_lite0", 28, recipe, "cpu")
    training, (n_train, n_val) = TaskTraining.load(job), (len(splits["train"]), len(splits["val"]))
    turns = [
        ours(job, steps, recipe.batch_size),
        Turn("val", lambda: (training.model.eval(), training.validate()), n_val),
    ]
    found = rates(turns, rounds=3)
    shares = {}
    for name, budget in BUDGETS.items():
        planned = TrainingConfig(passes=budget.passes, steps=budget.steps)
        spent = planned.steps_for(n_train) * planned.batch_size / found["ours"]
        shares[name] = planned.validations_for(n_train, n_val) * n_val / found["val"] / spent
    return {**found, **shares, "ratio": max(shares.values())}


def measured_tasks() -> Iterator[tuple[Task, dict[str, Split]]]:
    """Iterate over two real tasks, and one of 20,000 generated images."""
    places, rng = data_locations(), np.random.default_rng(0)
    for name in ("breastmnist", "pneumoniamnist"):
        task = catalog(places)[name]
        yield task, dict(task.source.load(28, places))
    sizes = {"train": 14_000, "val": 3_000, "test": 3_000}
    images = {name: rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for name, n in sizes.items()}
    yield (
        catalog(places)["phantom-tissue"],
        {name: Split(found, rng.integers(0, 2, len(found))) for name, found in images.items()},
    )


def measure_features(rounds: int = 2) -> dict[str, float]:
    """Compare 30 linear cells (6 fractions x 5 seeds) with one pass over the images plus their solvers."""
    task = catalog(DataLocations())["phantom-tissue"]
    splits = dict(task.source.load(28, DataLocations()))
    side, linear = 64, PROTOCOLS["linear"]
    prepare = InputPreparation(InputSpec(), side)
    base = job_of(task, splits, "tf_efficientnet_lite0", side, TrainingConfig(), "cpu")

    def cells(cache: Path) -> None:
        weights = InitCard(name="fixed", label="one draw", identity=f"draw {cache.name}")
        for fraction in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0):
            for seed in range(5):
                cell = Cell(
                    task=task.name,
                    size=28,
                    input_size=side,
                    arch=base.cell.arch,
                    init="fixed",
                    labels=fraction,
                    seed=seed,
                )
                subset = subsets.choose_subset(splits["train"], splits["val"], fraction, seed)
                linear.score(EvalContext(cell, task, base.data, subset, weights, base.recipe, "cpu", cache))

    best = {"pass": 1e9, "solvers": 1e9, "cells": 1e9}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            model = place_model(build_backbone(base.cell.arch, side).eval(), "cpu")
            started = time.perf_counter()
            for split in splits.values():
                outputs_of(model, prepare, as_stored(split, "cpu"))
            passed = time.perf_counter()
            cells(Path(folder))  # features and solvers
            computed = time.perf_counter()
            cells(Path(folder))  # solvers alone: every feature is cached
            again = time.perf_counter()
        found = {"pass": passed - started, "cells": computed - passed, "solvers": again - computed}
        best = {name: min(best[name], seconds) for name, seconds in found.items()}
    features._load_features.cache_clear()
    return {**best, "ratio": (best["cells"] - best["solvers"]) / best["pass"]}


def main() -> int:
    """Measure the requested parts; exit 3 where a limit is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=LIMITS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    broken = False
    print(
        f"{chosen.device}, {torch.get_num_threads()} threads of {os.cpu_count()}, torch {torch.__version__}"
    )
    for what in chosen.what or LIMITS:
        if what == "loop":
            archs = [("tf_efficientnet_lite0", 28), ("tf_efficientnet_lite0", 64), ("resnet18", 28)]
            found = {f"{arch} {side} px": measure_loop(chosen.device, arch, side) for arch, side in archs}
        elif what == "validation":
            found = {
                f"{task.name}, {sum(map(len, splits.values())):,} images": measure_validation(task, splits)
                for task, splits in measured_tasks()
            }
        else:
            found = {what: measure_medmnist() if what == "medmnist" else measure_features()}
        for name, figures in found.items():
            limit, ratio = LIMITS[what], figures["ratio"]
            kept = ratio <= limit if what in AT_MOST else ratio >= limit
            broken |= not kept
            rounded = json.dumps({key: round(value, 3) for key, value in figures.items()})
            print(f"{what}: {name}: {rounded} {'ok' if kept else f'BROKEN, limit {limit}'}", flush=True)
    return 3 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
