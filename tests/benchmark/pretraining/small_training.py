"""A tiny pretraining in memory, and how processes of their own carry it out."""

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models import register_model
from torch import Tensor, nn

from mednet_bench.baselines.init import InitCard
from mednet_bench.benchmark.pretraining.config import PretrainCallbacks, PretrainConfig
from mednet_bench.benchmark.pretraining.distributed import RankGroup, join_ranks
from mednet_bench.benchmark.pretraining.in_memory_loader import MemoryImages
from mednet_bench.benchmark.pretraining.objective import OBJECTIVES
from mednet_bench.benchmark.pretraining.pretrain_result import CurvePoint, PretrainSettings
from mednet_bench.benchmark.pretraining.sources import SourcePool, hold_out
from mednet_bench.benchmark.pretraining.train_loop import run_training

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])  # half of a process's time would be imports

SETTINGS = PretrainSettings(
    variant="gray",
    arch="tiny_of_pretraining",
    steps=60,
    batch_size=12,
    accumulate=2,
    input_size=8,
    lr=0.01,
    weight_decay=0.01,
    ema=0.9,
    projection=8,
)


class Tiny(nn.Sequential):
    """A backbone with all that could differ after a resume: batch norm, dropout, layers."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 8),
        )

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Name the layers as timm's networks do, from the input: convolution, then the rest."""
        return {"stem": r"^[01]\.", "blocks": [(r"^6\.", (0,))]}


@register_model
def tiny_of_pretraining(pretrained: bool = False, **settings: Any) -> nn.Module:
    """Build the network under a name that timm knows."""
    return Tiny()


def pools() -> list[SourcePool]:
    """Three sources of three kinds and sizes; the first has groups of four."""
    rng = np.random.default_rng(5)
    made = []
    for name, kind, classes, count in (
        ("large", "multiclass", "abc", 120),
        ("findings", "multilabel", "de", 40),
        ("grades", "ordinal", "fghi", 20),
    ):
        several = (count, len(classes)) if kind == "multilabel" else count
        labels = rng.integers(0, 2 if kind == "multilabel" else len(classes), several)
        train, held = hold_out(count, np.arange(count) // 4 if name == "large" else None, rng)
        made.append(SourcePool(name, kind, tuple(classes), (True, False), labels, train, held))
    return made


def unlabeled_pool() -> SourcePool:
    """A source without labels."""
    rows = np.arange(30)
    return SourcePool("unlabeled", "multiclass", (), (True, False), np.full(30, -1), rows[4:], rows[:4])


def job(
    settings: PretrainSettings = SETTINGS, ranks: RankGroup | None = None, start: InitCard | None = None
) -> PretrainConfig:
    """What is to be trained; an image of class c is bright in its c-th column."""
    sources = [*pools(), *([unlabeled_pool()] if OBJECTIVES[settings.objective].takes_unlabeled else [])]
    rng = np.random.default_rng(6)
    images = rng.integers(0, 150, (sum(len(pool.labels) for pool in sources), 1, 8, 8), dtype=np.uint8)
    first = np.concatenate([pool.labels.reshape(len(pool.labels), -1)[:, 0] for pool in sources])
    images[np.arange(len(images)), 0, :, 2 * (first % 4)] += 100
    return PretrainConfig(
        settings, sources, MemoryImages(torch.from_numpy(images)), ranks or RankGroup("cpu"), start
    )


def train(folder: Path, settings: PretrainSettings, every: int, killed: tuple[int, float] = (0, 0.0)) -> None:
    """Train to the end; leaves `state.pt` and `curve.json` in the folder.

    Args:
        every: steps from checkpoint to checkpoint.
        killed: a step, and after how many seconds from there a signal ends the process wherever it is.
    """

    def watch(curve: Sequence[CurvePoint]) -> None:
        if curve[-1].step == killed[0]:
            signal.setitimer(signal.ITIMER_REAL, killed[1])

    torch.set_num_threads(1)
    with join_ranks("cpu") as ranks:
        result = run_training(
            job(settings, ranks), PretrainCallbacks(folder, every, evaluate_every=20, on_row=watch)
        )
        if ranks.first:
            rows = [(point.step, point.train_loss, point.val_loss) for point in result.curve]
            (folder / "curve.json").write_text(json.dumps(rows))
            torch.save(result.state, folder / "state.pt")


def _of_several(rank: int, world: int, port: int, target: Callable[..., None], arguments: Any) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # as torchrun does
    target(*arguments)


def start(target: Callable[..., None], *arguments: Any, world: int = 1) -> list[BaseProcess]:
    """Start processes that share a training, as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(world):
        process = PROCESSES.Process(target=_of_several, args=(rank, world, port, target, arguments))
        process.start()
        started.append(process)
    return started


def left(folder: Path) -> tuple[dict[str, Tensor], list[list[float]]]:
    """What `train` left: tensors and curve."""
    state = torch.load(folder / "state.pt", weights_only=True)
    return state, json.loads((folder / "curve.json").read_text())
