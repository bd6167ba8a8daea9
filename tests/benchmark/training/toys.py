"""Small generated tasks in memory, and everything that a protocol needs to run on one."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from mednet_bench.baselines.init import InitCard, InitRequest, InputSpec
from mednet_bench.benchmark.schema.plan import Cell, TrainingConfig
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.benchmark.training import subsets
from mednet_bench.benchmark.training.device_data import DeviceSplits
from mednet_bench.benchmark.training.protocol import EvalContext, ProtocolResult
from mednet_bench.tasks.task import SPLITS, DataLocations, MissingFile, Split, Task


def real_data() -> Path:
    """The folder with real images, or a skip that says how to get one."""
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    root = Path(os.environ.get("MEDNET_BENCH_DATA") or beside)
    if not root.is_dir():
        pytest.skip("no real images: set MEDNET_BENCH_DATA to a folder with MedMNIST files and local sets")
    return root


ARCH = "test_efficientnet"
"""timm's own network for tests: batch norm and depthwise convolutions as in the default arch, but tiny."""

NOWHERE = DataLocations(roots=(), medmnist_cache=Path("/nonexistent"), download=False)


@dataclass(frozen=True, eq=False)
class InMemory:
    """A source whose images are arrays, with any fingerprint."""

    splits: Mapping[str, Split]
    digest: str = "sha256:toy"

    def fingerprint(self, size: int, places: DataLocations) -> str:
        return self.digest

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        return ()

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        return (next(iter(self.splits.values())).images.shape[1],)

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        return self.splits


@dataclass(frozen=True)
class Toy:
    """A toy task.

    Attributes:
        sizes: images in (train, val, test).
        side: in pixels.
        clear: shift of the image by its label, in standard deviations of its noise; 0 is pure noise.
        seed: of labels and pixels.
    """

    kind: str = "multiclass"
    classes: int = 3
    sizes: tuple[int, int, int] = (60, 30, 45)
    side: int = 16
    variant: str = "gray"
    clear: float = 3.0
    seed: int = 0


def splits_of(toy: Toy) -> dict[str, Split]:
    """Draw images in which class c brightens the c-th stripe; every class occurs in every split."""
    rng = np.random.default_rng(toy.seed)
    return {name: _split(toy, count, rng) for name, count in zip(SPLITS, toy.sizes, strict=True)}


def _split(toy: Toy, count: int, rng: np.random.Generator) -> Split:
    if toy.kind == "multilabel":
        labels = rng.integers(0, 2, (count, toy.classes))
        present = labels.astype(float)
    else:
        labels = rng.permutation(np.arange(count) % toy.classes)
        present = np.eye(toy.classes)[labels]
    stripe = np.arange(toy.side) * toy.classes // toy.side  # [side]: which class a row belongs to
    channels = (3,) if toy.variant == "color" else ()
    images = rng.normal(110, 20, (count, toy.side, toy.side, *channels))
    images += 20 * toy.clear * present[:, stripe].reshape(count, toy.side, 1, *([1] * len(channels)))
    return Split(images.clip(0, 255).astype(np.uint8), labels.astype(np.int64))


def task_of(toy: Toy, name: str = "toy", **facts: object) -> Task:
    """Make a task of a toy; `facts` replace what its card says."""
    card = Task(
        name=name,
        title=name,
        kind=toy.kind,
        classes=tuple("abcdefghijk"[: toy.classes]),
        modality="microscopy",
        variant=toy.variant,
        source_group=name,
        parents=(name,),
        license="",
        citation="",
        source=InMemory(splits_of(toy), f"sha256:{name}{toy}"),
        generated=True,
    )
    return replace(card, **facts)


RANDOM = InitCard(name="scratch", label="random", identity="scratch", seeded=True)
"""What `scratch` resolves to."""

QUICK = TrainingConfig(steps=(20, 20), batch_size=16, lr_grid=(1e-3, 1e-2), evaluations=4, patience=4)
"""A fine-tuning that takes a second."""


def bits(outcome: ProtocolResult) -> tuple[object, ...]:
    """Everything that a seed decides in a result, for comparison to the bit."""
    curve = [(p.step, p.train_loss, p.val_loss, p.val_score) for p in outcome.curve]
    return outcome.test_scores.tobytes(), outcome.val_scores.tobytes(), outcome.weights, curve


def run_config(out: Path, **options: object) -> RunConfig:
    """The options of a run of toys of 16 pixels."""
    return RunConfig(archs=ARCH, size=16, input_size=16, out=str(out), **options)  # type: ignore[arg-type]


@dataclass
class Bench:
    """Makes the jobs of one task, as the runner does, without a plan and a store."""

    task: Task
    cache: Path
    card: InitCard = RANDOM
    recipe: TrainingConfig = QUICK
    arch: str = ARCH
    side: int = 16
    data: DeviceSplits = field(init=False)

    def __post_init__(self) -> None:
        self.read()

    def read(self) -> None:
        """Take the task's images again, after the task has been replaced."""
        size = self.task.source.sizes(NOWHERE)[0]
        splits = self.task.source.load(size, NOWHERE)
        self.data = DeviceSplits(splits, self.task.source.fingerprint(size, NOWHERE), "cpu")

    def job(self, protocol: str, fraction: float = 1.0, seed: int = 0, **facts: object) -> EvalContext:
        """Describe one cell; `facts` replace fields of the job."""
        size = self.task.source.sizes(NOWHERE)[0]
        cell = Cell(
            task=self.task.name,
            size=size,
            input_size=self.side,
            arch=self.arch,
            init=self.card.name,
            protocol=protocol,
            labels=fraction,
            seed=seed,
        )
        subset = subsets.choose_subset(self.data.splits["train"], self.data.splits["val"], fraction, seed)
        job = EvalContext(
            cell, self.task, self.data, subset, self.card, self.recipe, device="cpu", cache=self.cache
        )
        return replace(job, **facts)


def loaded_card(file: Path, contract: InputSpec | None = None, **facts: object) -> InitCard:
    """A card with a weight file, as `imagenet` and `mednet` resolve to."""
    card = InitCard(
        name="mednet", label="file", identity=f"file:{file.name}", contract=contract or InputSpec(), file=file
    )
    return replace(card, **facts)


def write_weights(file: Path, arch: str = ARCH, side: int = 16, seed: int = 7) -> Path:
    """Write random weights that fit `arch`."""
    import torch
    from safetensors.torch import save_file

    from mednet_bench.baselines.weights.archs import build_backbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = build_backbone(arch, side).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, file)
    return file


def permuted_test_labels(task: Task) -> Task:
    """The same task with its test labels in another order."""
    splits = dict(task.source.load(0, NOWHERE))
    test = splits["test"]
    order = np.random.default_rng(99).permutation(len(test))
    splits["test"] = replace(test, labels=test.labels[order])
    return replace(task, source=InMemory(splits, task.source.fingerprint(0, NOWHERE)))


def need_of(task: Task, cache: Path, **facts: object) -> InitRequest:
    """Ask for an init of `task`; `facts` replace fields of the need."""
    need = InitRequest(
        task=task,
        arch=ARCH,
        input_size=16,
        size=16,
        tasks=(task,),
        places=NOWHERE,
        path=None,
        budget="images=256",
        pretrained=cache,
    )
    return replace(need, **facts)


def write_card(folder: Path, weights: Path | None = None, **facts: object) -> Path:
    """Write the card of a user's checkpoint; `facts` replace its keys, None removes one."""
    file = weights or write_weights(folder / "weights.safetensors")
    keys: dict[str, object] = {
        "name": "own",
        "path": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "arch": ARCH,
        "corpora": ["somewhere"],
        **facts,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None]
    card = folder / "weights.toml"
    card.write_text("\n".join([*lines, "[input]", "mean = [0.5, 0.5, 0.5]", "std = [0.5, 0.5, 0.5]"]))
    return card
