"""A finished pretraining of a tiny network, with invented scores."""

from pathlib import Path

import torch

from mednet_bench.baselines.init import InitCard
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.benchmark.pretraining.pretrain_result import (
    CurvePoint,
    PretrainResult,
    PretrainSettings,
    SourceUse,
)

ARCH, SIDE = "test_resnet", 28
NAMES = ("cells", "findings", "scans")


def curve() -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            step=step,
            seconds=step / 2,
            rate=0.001,
            train_loss=2 / step,
            losses={name: 1 / step if name != "scans" or step > 1 else None for name in NAMES},
            images_per_second=100.0,
            data_wait=0.01,
            val_score=0.5 + step / 20 if step % 2 == 0 else None,
            scores=dict.fromkeys(NAMES, 0.5 + step / 20) if step % 2 == 0 else {},
        )
        for step in range(1, 9)
    )


def finished_on(
    corpus: Path, arch: str = ARCH, input_size: int = SIDE, start: InitCard | None = None
) -> PretrainResult:
    """Return a finished pretraining; the weights are random, and so are the statistics of batch norm."""
    torch.manual_seed(0)
    network = build_backbone(arch, input_size, args=dict(start.arch_args) if start else {})
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    for name, value in state.items():
        if name.endswith(("running_mean", "running_var")):  # means below 0, or ReLU would let nothing through
            value += torch.rand(value.shape) / (5 if name.endswith("var") else -5)
    settings = PretrainSettings(
        variant="gray", arch=arch, steps=8, batch_size=16, input_size=input_size, lr=0.001, weight_decay=0.05
    )
    sources = (
        SourceUse("cells", "multiclass", ("one", "other"), 38, 64, 38, 2, 0.875),
        SourceUse("findings", "multilabel", ("one", "other", "third"), 38, 64, 38, 2, None),
    )
    return PretrainResult(
        state=state,
        settings=settings,
        sources=sources,
        curve=curve(),
        leave_out=("organamnist",),
        left_out=("scans",),
        seconds=12.5,
        processes=1,
        device="cpu",
        commit="abc",
        dirty=False,
        corpus=corpus,
        start=start,
    )
