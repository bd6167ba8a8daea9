"""Network, optimizer and batch order of a pretraining; a step depends on its number only."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ...baselines.weights.archs import build_backbone
from ...baselines.weights.load import load_backbone
from ...baselines.weights.prepare import InputPreparation
from ..training.augment import AugmentRule
from ..training.loop import OptimizerConfig, autocast_precision
from ..training.model import place_model
from .batch_sampler import BatchSampler
from .batchnorm_stats import BatchNormStats
from .checkpoints import Tensors
from .config import PretrainConfig
from .ema import AveragedModel
from .heads import PretrainModel, SourceHeads
from .in_memory_loader import to_device
from .sources import _Rows


class PretrainTrainer:
    """Network, optimizer and batch order of one process.

    Attributes:
        data_wait: seconds spent waiting for images; the reader resets it.
        totals: sum of losses and number of images of each source in this process, [sources, 2]; the reader
            resets them.
    """

    def __init__(self, config: PretrainConfig) -> None:
        settings, self.ranks, self.config = config.settings, config.ranks, config
        self.settings, self.device = settings, config.ranks.device
        self.prepare = InputPreparation(config.contract, settings.input_size)
        self.heads = SourceHeads(config.pools, self.device, settings.smoothing)
        self.sampler = BatchSampler(config.pools, settings.batch_size, settings.seed, settings.temperature)
        self.augment = AugmentRule(  # `augmentation_draws` switches mirroring off where implausible
            mirror=True,
            invert=True,
            color=settings.variant == "color",
            shift=settings.shift,
            zoom=settings.zoom,
        )
        self.hyper = OptimizerConfig(
            settings.lr, settings.weight_decay, every=0, patience=0, warmup=settings.warmup
        )
        network = PretrainModel(_backbone(config), self.heads.outputs, settings.projection, settings.seed)
        self.network = place_model(network, self.device)
        self.norms = BatchNormStats(self.network)
        self.average = AveragedModel(self.network, settings.ema) if settings.ema else None
        self.model = self.ranks.wrap_model(self.network)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        self.totals = torch.zeros(len(config.pools), 2, device=self.device)
        self.data_wait = 0.0

    @property
    def eval_model(self) -> nn.Module:
        """Network that is validated and saved: the moving average where there is one."""
        return self.average.network if self.average else self.network

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return self.hyper.rate(step, self.settings.steps)

    def stream(self, first: int) -> Iterator[_Rows]:
        """Yield the rows of each part of this process, from step number `first` on."""
        for step in range(first, self.settings.steps):
            rows = self.sampler.rows(step)
            for _, places in self._parts():
                yield rows[places]

    def step(self, step: int, images: Iterator[Tensor]) -> None:
        """Take one optimizer step; nothing in it waits for the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        rows = self.sampler.rows(step)
        whose = self.sampler.pool_numbers(rows)
        changes = self.sampler.augmentation_draws(step, whose)
        parts = list(self._parts())
        for at, (part, places) in enumerate(parts):
            started = time.perf_counter()
            batch = next(images)
            self.data_wait += time.perf_counter() - started
            targets = to_device(self.heads.targets(rows[places], whose[places]), self.device)
            numbers = to_device(torch.from_numpy(changes[places]), self.device)
            self.norms.weight_part(at, len(parts))
            # dropout must not depend on the process of this part, nor on earlier interruptions
            seeds = np.random.SeedSequence((self.settings.seed, step, part))
            torch.manual_seed(int(seeds.generate_state(1)[0]))
            with self.ranks.without_sync(self.model, more=at + 1 < len(parts)):
                self._backward(self.prepare.normalize(self.augment(batch.float(), numbers)), targets)
        self.optimizer.step()
        if self.average:
            self.average.update(step)

    def sync_batchnorm(self) -> None:
        """Average the running statistics of batch norm over processes, before they are used."""
        self.ranks.average(self.network.buffers())
        if self.average:
            self.ranks.average(self.average.network.buffers())

    def state_tensors(self) -> Tensors:
        """Return the tensors that a resumed training needs."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "totals": self.ranks.sum(self.totals),
            "average": self.average.network.state_dict() if self.average else {},
        }

    def load_tensors(self, tensors: Tensors) -> None:
        """Load the tensors of a checkpoint."""
        self.network.load_state_dict(tensors["network"])
        optimizer = tensors["optimizer" if "optimizer" in tensors else "optimiser"]  # as version 0.1 wrote it
        self.optimizer.load_state_dict(optimizer)
        if self.average:
            self.average.network.load_state_dict(tensors["average"])
        if self.ranks.first:  # the checkpoint has the sum over all processes
            self.totals.copy_(tensors["totals"])

    def _backward(self, inputs: Tensor, targets: Tensor) -> None:
        """Accumulate the gradients of one part of a batch."""
        with autocast_precision(inputs.device):
            logits = self.model(inputs)
        losses = self.heads.losses(logits.float(), targets)
        # gradients are averaged over processes, so that each is scaled up by their number
        (losses.sum() * (self.ranks.world / self.settings.batch_size)).backward()
        counted = torch.stack([losses.detach(), torch.ones_like(losses)], dim=1)
        self.totals.index_add_(0, targets[:, -1].long(), counted)

    def _parts(self) -> Iterator[tuple[int, _Rows]]:
        """Yield the number and the positions in the batch of each part of this process.

        The parts, and so the images that batch norm sees together, do not depend on the number of processes.
        """
        settings = self.settings
        places = np.array_split(np.arange(settings.batch_size), settings.accumulate)
        for part in range(self.ranks.rank, settings.accumulate, self.ranks.world):
            yield part, places[part]


def _backbone(config: PretrainConfig) -> nn.Module:
    settings = config.settings
    if config.start is None:
        return build_backbone(settings.arch, settings.input_size)
    return load_backbone(config.start, settings.arch, settings.input_size, settings.seed).module
