"""Project the duration of a pretraining from measured rates of decoding and training."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import torch

from ...core.progress import duration
from ..corpus.corpus import read_corpus
from .config import PretrainCallbacks
from .distributed import RankGroup
from .leave_out import related_sources
from .pretrain_result import CurvePoint
from .run_pretraining import PretrainRequest, open_corpus
from .shards import BatchDecoder
from .start import resolve_start
from .train_loop import run_training

WARM, TIMED = 4, 8
"""Steps of warm-up, which are not counted, and steps that are timed."""
CPU_SECONDS, BATCH = 2.0, 64
"""Duration of the measurement of decoding, and its batch size."""
EFFICIENCY = 0.96
"""Scaling efficiency of 8 GPUs: 6,889 of 8 x 893 images/s, ResNet-50 in mixed precision on a DGX-1
(NVIDIA/DeepLearningExamples, README of PyTorch/Classification/ConvNets/resnet50v1.5). Not measured here."""


@dataclass(frozen=True)
class MeasuredRates:
    """Rates of one core and one device.

    Attributes:
        decode: images that one core decodes per second of CPU time.
        step: images per second that one device trains on, without waiting for data.
        bytes_per_image: mean size of the stored PNG files.
    """

    decode: float
    step: float
    bytes_per_image: float


@dataclass(frozen=True)
class CostProjection:
    """Projected cost of a pretraining.

    Attributes:
        seconds: without validations and checkpoints.
        cores: busy with decoding, for each device.
        megabytes_per_second: read by all devices together.
    """

    seconds: float
    cores: float
    megabytes_per_second: float


def project_cost(
    shown: int, rates: MeasuredRates, devices: int = 1, efficiency: float = 1.0
) -> CostProjection:
    """Return the cost of showing `shown` images, with repetitions, if decoding keeps up.

    `efficiency` is the rate of all devices relative to `devices` times that of one.
    """
    together = rates.step * devices * efficiency
    return CostProjection(
        seconds=shown / together,
        cores=rates.step * efficiency / rates.decode,
        megabytes_per_second=together * rates.bytes_per_image / 1e6,
    )


def decode_rate(decoder: BatchDecoder) -> float:
    """Decode images in random order; returns images per second of CPU time on one core.

    CPU time does not depend on other work on the machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker does
    order = np.random.default_rng(0).permutation(len(decoder.places.size))
    batches = np.array_split(order, -(-len(order) // BATCH))
    try:
        decoder[batches[0]]
        shown, started, spent = 0, time.process_time(), 0.0
        for rows in itertools.cycle(batches):
            decoder[rows]
            shown, spent = shown + len(rows), time.process_time() - started
            if spent >= CPU_SECONDS:
                break
        return shown / spent
    finally:
        torch.set_num_threads(threads)


def step_rate(curve: Sequence[CurvePoint], batch: int) -> tuple[float, float]:
    """Return images per second without waiting, and the share of waiting, from every step's row."""
    spent = np.array([batch / point.images_per_second for point in curve[WARM:]])
    waited = spent * np.array([point.data_wait for point in curve[WARM:]])
    return float(len(spent) * batch / (spent - waited).sum()), float(waited.sum() / spent.sum())


def measure_and_project(request: PretrainRequest) -> str:
    """Measure decoding and a few training steps; returns the projected cost as text.

    `UserError` if the corpus or the initial weights do not fit.
    """
    corpus = read_corpus(request.corpus)
    start = resolve_start(request.settings, corpus, request.places)
    settings = msgspec.structs.replace(
        request.settings, steps=WARM + TIMED, accumulate=request.settings.accumulate or 1
    )
    left_out = frozenset(related_sources(corpus.sources, request.leave_out))
    config, images = open_corpus(
        replace(request, settings=settings), start, left_out, RankGroup(request.device)
    )
    step, wait = step_rate(run_training(config, PretrainCallbacks()).curve, settings.batch_size)
    sizes = images.decoder.places.size
    rates = MeasuredRates(decode_rate(images.decoder), step, float(sizes.mean()))
    images.close()
    shown = request.settings.steps * settings.batch_size
    spread = f"assumed, not measured: they reach {EFFICIENCY:.0%} of 8 times the rate of one"
    return f"""\
measured: {TIMED} steps of {settings.batch_size} on {request.device}, {step:.4g} images/s, waiting {wait:.1%}
measured: {rates.decode:.4g} images/s decoded by one core, {rates.bytes_per_image / 1e3:.1f} kB each
projected for {shown:,} images: {_format_projection(project_cost(shown, rates))}
projected on 8 such devices: {_format_projection(project_cost(shown, rates, 8, EFFICIENCY))}; {spread}"""


def _format_projection(whole: CostProjection) -> str:
    return (
        f"{duration(whole.seconds)}, {whole.cores:.2g} cores decode for each device, "
        f"{whole.megabytes_per_second:.3g} MB/s are read"
    )
