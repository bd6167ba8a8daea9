"""Plausible records without any training, for tests and for previews of the report."""

import hashlib
import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
from scipy.special import expit, ndtri

from mednet_bench.benchmark.run.resolve import resolve_request
from mednet_bench.benchmark.schema.plan import (
    Cell,
    Fold,
    OptionValue,
    Plan,
    PlannedCell,
    TrainingConfig,
    key_of,
)
from mednet_bench.benchmark.schema.records import (
    ContentHashes,
    HyperparameterChoice,
    ImageCounts,
    InitFacts,
    Provenance,
    Record,
    RecordStore,
    TaskFacts,
    ValidationPoint,
)
from mednet_bench.benchmark.schema.request import RunConfig

METRICS = ("auc", "accuracy", "balanced_accuracy", "macro_f1", "average_precision", "ece", "brier")
REAL = {
    "breastmnist": ("binary", "ultrasound", 546),
    "pneumoniamnist": ("binary", "x-ray", 4708),
    "retinamnist": ("ordinal", "fundus", 1080),
    "bloodmnist": ("multiclass", "microscopy", 11959),
    "chestmnist": ("multilabel", "x-ray", 78468),
    "dermamnist": ("multiclass", "dermoscopy", 7007),
    "octmnist": ("multiclass", "oct", 97477),
    "organamnist": ("multiclass", "ct", 34561),
    "organcmnist": ("multiclass", "ct", 12975),
    "organsmnist": ("multiclass", "ct", 13932),
    "pathmnist": ("multiclass", "histopathology", 89996),
    "tissuemnist": ("multiclass", "microscopy", 165466),
}


RECIPE = TrainingConfig(steps=(200, 200), lr_grid=(3e-4, 1e-3, 3e-3))


@dataclass(frozen=True)
class Grid:
    """The cells to invent, and which of them fail or are missing.

    Attributes:
        tasks: names from `REAL`; a name that begins with "phantom" is a generated task.
        fail: whether a cell fails.
        skip: whether a planned cell was never run.
        predictions: also write the scores of the test images, with the AUC of the record.
        data: part of the data hash; makes two grids in one folder incomparable.
        folds: of a cross-validation, by patients of two images; 0 for one test set.
    """

    tasks: tuple[str, ...] = ("breastmnist", "pneumoniamnist", "retinamnist")
    inits: tuple[str, ...] = ("mednet", "imagenet", "scratch")
    archs: tuple[str, ...] = ("tf_efficientnet_lite0",)
    protocols: tuple[str, ...] = ("finetune",)
    protocol_options: dict[str, OptionValue] | msgspec.UnsetType = msgspec.UNSET
    fractions: tuple[float, ...] = (0.1, 0.5, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    size: int = 28
    input_size: int = 64
    fail: Callable[[Cell], bool] = lambda cell: False
    skip: Callable[[Cell], bool] = lambda cell: False
    predictions: bool = True
    data: str = ""
    recipe: TrainingConfig = RECIPE
    resampled: bool = False
    folds: int = 0


LARGE = Grid(
    tasks=tuple(REAL),
    archs=("resnet18", "resnet50", "vit_small_patch16_224"),
    protocols=("finetune", "linear", "knn"),
    fractions=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0),
    seeds=(0, 1, 2, 3, 4),
)
"""More than ten thousand cells."""


def cells(grid: Grid) -> list[Cell]:
    """List the score cells of a grid."""
    views = [Fold(index=index, folds=grid.folds) for index in range(grid.folds)] or [msgspec.UNSET]
    product = itertools.product(
        grid.tasks, grid.archs, grid.inits, grid.protocols, grid.fractions, grid.seeds, views
    )
    return [
        Cell(
            task=t,
            size=grid.size,
            input_size=grid.input_size,
            arch=a,
            init=i,
            protocol=p,
            labels=f,
            seed=s,
            view=v,
            protocol_options=grid.protocol_options,
            resampled=grid.resampled or msgspec.UNSET,
        )
        for t, a, i, p, f, s, v in product
    ]


def write_run(folder: Path, grid: Grid | None = None) -> list[Record]:
    """Write plan, records and predictions of an invented run; return the records."""
    grid = grid or Grid()
    sizes = {"size": grid.size, "input_size": grid.input_size}
    before = [
        Cell(step="pretrain", task="gray", pretraining=t, arch=a, init="mednet", **sizes)
        for t in grid.tasks[:2]
        if "mednet" in grid.inits
        for a in grid.archs
    ] + [
        replace_cell(c, step="tune", seed=0)
        for c in cells(grid)
        if c.seed == grid.seeds[0] and c.protocol == "finetune" and not grid.folds
    ]
    score = cells(grid)
    everything = [*before, *score]
    planned = tuple(PlannedCell(cell=cell, key=_key(cell, grid)) for cell in everything)
    plan = Plan(
        request={"tasks": list(grid.tasks), "inits": list(grid.inits)},
        recipe=grid.recipe,
        cells=planned,
        generated=tuple(task for task in grid.tasks if task.startswith("phantom")),
    )
    plan.write(folder)
    store = RecordStore(folder)
    store.records.mkdir(parents=True, exist_ok=True)
    store.predictions.mkdir(parents=True, exist_ok=True)
    records = [record_of(cell, grid, number) for number, cell in enumerate(everything) if not grid.skip(cell)]
    for record in records:  # straight to the file: ten thousand fsyncs would take longer than the test
        store.path(record.key).write_bytes(msgspec.json.encode(record))
        if grid.predictions and record.cell.step == "score" and record.status == "ok":
            np.savez(store.predictions_of(record.key), **predictions(record.cell, grid))
    return records


def write_finished(out: Path) -> list[str]:
    """Write a run directory of ten thousand finished cells; return the command that finds nothing to do."""
    words = {
        "tasks": "phantom-organ", "inits": "scratch,imagenet", "protocols": "knn", "seeds": "0..499",
        "fractions": ",".join(f"{tenth / 10:g}" for tenth in range(1, 11)), "out": str(out),
    }  # fmt: skip
    store = RecordStore(out)
    store.records.mkdir(parents=True)
    store.predictions.mkdir()
    archive = io.BytesIO()
    np.savez_compressed(archive, labels=np.arange(240) % 5, scores=np.random.default_rng(0).random((240, 5)))
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    for number, cell in enumerate(resolve_request(RunConfig(size=28, input_size=32, **words)).plan.cells):
        record = record_of(cell.cell, Grid(), number)
        record = msgspec.structs.replace(record, key=cell.key, predictions=digest)
        content = hashlib.sha256(msgspec.json.encode(record)).hexdigest()
        record = msgspec.structs.replace(record, content=content)
        # straight to the file: ten thousand fsyncs would take longer than the test
        store.path(cell.key).write_bytes(msgspec.json.encode(record))
        store.predictions_of(cell.key).write_bytes(archive.getvalue())
    options = [word for name, value in words.items() for word in (f"--{name}", value)]
    return ["run", "--size", "28", "--input-size", "32", "--no-report", *options]


def replace_cell(cell: Cell, **changes: object) -> Cell:
    """Return `cell` with some fields changed."""
    return msgspec.structs.replace(cell, **changes)


def record_of(cell: Cell, grid: Grid, number: int = 0) -> Record:
    """Invent the record of one cell, deterministically."""
    rng = np.random.default_rng(int(key_of(cell, grid.data), 16) % 2**32)
    failed = grid.fail(cell)
    kind, modality, n_train = REAL.get(cell.task, ("binary", "x-ray", 1200))
    base = Record(
        key=_key(cell, grid),
        cell=cell,
        status="failed" if failed else "ok",
        error="DivergedError: the loss is not finite at step 40 with learning rate 0.003" if failed else "",
        protocol_version=1,
        recipe_hash=key_of(
            cell.__class__(task="", size=0, input_size=0, arch="", init=""), repr(grid.recipe)
        ),
        task=None if cell.step == "pretrain" else _task_facts(cell.task, kind, modality),
        provenance=_provenance(),
        finished=(datetime(2026, 5, 1, tzinfo=timezone.utc) + timedelta(seconds=number)).isoformat(),
        seconds=float(
            rng.gamma(4, 2 if cell.protocol == "linear" else 9) * (30 if cell.step == "pretrain" else 1)
        ),
        peak_memory_mb=float(rng.normal(900, 40)),
    )
    if failed:
        return base
    return _add_results(base, grid, rng, n_train)


def _add_results(base: Record, grid: Grid, rng: np.random.Generator, n_train: int) -> Record:
    cell = base.cell
    drawn = predictions(cell, grid)
    auc = _auc_of(drawn)
    seen = max(4, round(n_train * cell.fraction))
    metrics: dict[str, float | None] = {
        name: float(np.clip(auc - 0.06 + rng.normal(0, 0.01), 0, 1)) for name in METRICS
    }
    metrics |= {"auc": auc, "ece": float(rng.uniform(0.02, 0.2)), "brier": float((1 - auc) * 0.6)}
    if base.task and base.task.kind == "ordinal":
        metrics["kappa"] = float(2 * auc - 1.1)
    held_out = {"held-out auc: bloodmnist": auc} if cell.step == "pretrain" else {}
    choices = ()
    if cell.step != "pretrain":
        grid_values = grid.recipe.lr_grid if cell.protocol == "finetune" else grid.recipe.l2_grid
        best = int(rng.integers(len(grid_values)))
        choices = (
            HyperparameterChoice(
                name="lr" if cell.protocol == "finetune" else "l2", value=grid_values[best], grid=grid_values,
                scores=tuple(float(auc - abs(i - best) * 0.01) for i in range(len(grid_values))),
                criterion="validation AUC", at_edge=best in (0, len(grid_values) - 1),
            ),
        )  # fmt: skip
    curve = _curve(auc, grid.recipe, rng) if cell.protocol == "finetune" else ()
    per_class = {"train_per_class": (seen // 2,) * 2, "val_per_class": (4, 4)}
    counts = ImageCounts(train=seen, val=max(4, seen // 8), test=len(drawn["labels"]), **per_class)
    data = f"sha256:{cell.task}{cell.size}{grid.data}"
    hashes = ContentHashes(data=data, subset=f"{cell.fraction}-{cell.seed}", weights=cell.init)
    return msgspec.structs.replace(
        base,
        metrics=metrics if cell.step == "score" else held_out,
        val_metrics={"auc": max((p.val_score or 0.0 for p in curve), default=auc + 0.01)},
        per_class={"auc": {"benign": auc, "malignant": auc}} if cell.step == "score" else {},
        curve=curve,
        choices=choices,
        counts=counts,
        hashes=hashes,
        init=_init_facts(cell),
    )


def _expected_auc(cell: Cell, rng: np.random.Generator) -> float:
    """Return an AUC that grows with labels; pretraining helps most with few labels."""
    difficulty = (sum(map(ord, cell.task)) % 17) / 100
    help_ = {"mednet": 0.06, "imagenet": 0.07, "scratch": 0.0}.get(cell.init, 0.03)
    gap = 1 + np.log10(max(cell.fraction, 1e-3)) / 3
    noise = rng.normal(0, 0.004 + 0.02 * (1 - gap))
    return float(np.clip(0.66 + 0.22 * gap - difficulty + help_ * (1.6 - gap) + noise, 0.3, 0.9995))


def _curve(auc: float, recipe: TrainingConfig, rng: np.random.Generator) -> tuple[ValidationPoint, ...]:
    steps = np.linspace(recipe.steps[1] / recipe.evaluations, recipe.steps[1], recipe.evaluations).astype(int)
    rise = 1 - np.exp(-3 * steps / recipe.steps[1])
    return tuple(
        ValidationPoint(
            step=int(step), seconds=float(step) * 0.05, train_loss=float(1.2 - r), val_loss=float(1.3 - r),
            val_score=float(0.5 + (auc - 0.5) * r + rng.normal(0, 0.008)),
        )
        for step, r in zip(steps, rise, strict=True)
    )  # fmt: skip


def _task_facts(task: str, kind: str, modality: str) -> TaskFacts:
    return TaskFacts(
        title=f"{task}, as a test invents it", kind=kind, classes=("benign", "malignant"), modality=modality,
        variant="gray", license="CC BY 4.0", citation="Yang et al. 2023",
        generated=task.startswith("phantom"),
        caveats=("lesions leak between the splits",) if task == "dermamnist" else (),
    )  # fmt: skip


def _init_facts(cell: Cell) -> InitFacts:
    labels = {
        "mednet": "Gray-MedNet pretrained here on 7,308 images",
        "imagenet": "ImageNet-1k, from the package index",
        "scratch": "random weights",
    }
    return InitFacts(
        label=labels.get(cell.init, "a checkpoint of the user"),
        identity=f"{cell.init}:1",
        origin="here" if cell.init == "mednet" else "",
        derived_from=cell.init.split(":")[1] if ":" in cell.init else "",
        contract={"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "channels": "rgb"},
        adapted=("1 channel repeated to 3",),
        corpora=("imagenet-1k",) if cell.init == "imagenet" else (),
        overlap=("nih-chestxray14",) if cell.init == "radimagenet" else (),
    )


def _provenance() -> Provenance:
    return Provenance(
        versions={"python": "3.11.9", "torch": "2.9.0", "timm": "1.0.20", "mednet-bench": "0.1.0"},
        commit="0123456789abcdef0123456789abcdef01234567", dirty=False, device="cpu (x86_64)", threads=2,
    )  # fmt: skip


def predictions(cell: Cell, grid: Grid) -> dict[str, np.ndarray]:
    """Draw test scores; all inits and seeds of a task have the same images and the same hard ones."""
    rng = np.random.default_rng(int(key_of(cell, grid.data, "predictions"), 16) % 2**32)
    labels, hard = _images(cell.task, grid.data)
    more = {}
    if isinstance(cell.view, Fold):
        patients = np.arange(len(labels)) // 2
        order = np.random.default_rng([7, cell.seed]).permutation(patients.max() + 1)
        rows = np.flatnonzero(order[patients] % cell.view.folds == cell.view.index)
        more = {"groups": patients[rows], "rows": rows}
        labels, hard = labels[rows], hard[rows]
    shift = np.sqrt(2) * ndtri(_expected_auc(cell, rng))
    positive = expit(shift * (labels - 0.5) + 0.8 * hard + 0.6 * rng.normal(0, 1, len(labels)))
    positive = np.round(positive * 4096) / 4096  # exact in single precision, as is its complement
    return {"labels": labels, "scores": np.stack([1 - positive, positive], axis=1).astype(np.float32)} | more


@lru_cache(maxsize=64)
def _images(task: str, data: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(int.from_bytes(f"{task}{data}".encode(), "big") % 2**32)
    return rng.integers(0, 2, 300), rng.normal(0, 1, 300)


def _auc_of(drawn: dict[str, np.ndarray]) -> float:
    """Count the pairs in order, ties half; fast for few distinct values."""
    place = (drawn["scores"][:, 1] * 4096).astype(int)
    negative, positive = (np.bincount(place[drawn["labels"] == side], minlength=4097) for side in (0, 1))
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / (positive.sum() * negative.sum()))


def _key(cell: Cell, grid: Grid) -> str:
    return key_of(cell, grid.data, repr(grid.recipe))


__all__ = ["Grid", "cells", "predictions", "record_of", "replace", "replace_cell", "write_run"]
