"""Network, optimizer and batch order of a pretraining; a step depends on its number only."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...baselines.weights.archs import build_backbone
from ...baselines.weights.load import load_backbone
from ...baselines.weights.prepare import InputPreparation
from ..training.batch_counts import BatchCounts
from ..training.cuda_graph import CHECK_STEPS, RecordedGraph, RepeatableStep, record_step, training_state
from ..training.loop import OptimizerConfig, autocast_precision, parameter_groups
from ..training.model import place_model
from .augmentations import make_augmentation
from .batch_sampler import BatchSampler
from .batchnorm_stats import BatchNormStats
from .checkpoints import Tensors
from .config import PretrainConfig
from .ema import AveragedModel
from .heads import HeldOutScore, PretrainModel, SourceHeads, score_source
from .in_memory_loader import to_device
from .objective import OBJECTIVES
from .sources import _Rows
from .start_anchor import StartAnchor

FOLD_STEPS = 16
"""Steps whose images give the statistics of a batch norm that was frozen."""


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
        self.objective = OBJECTIVES[settings.objective]
        self.heads = SourceHeads(config.pools, self.device, settings.smoothing)
        self.augment = make_augmentation(settings)
        self.sampler = BatchSampler(
            config.pools, settings.batch_size, settings.seed, settings.temperature, self.augment.uniforms
        )
        self.hyper = OptimizerConfig(
            settings.lr, settings.weight_decay, every=0, patience=0, warmup=settings.warmup
        )
        logits = self.heads.outputs if self.objective.uses_labels else 0
        embedding = self.objective.embedding
        network = PretrainModel(
            _backbone(config), logits, settings.projection, settings.seed, embedding, settings.freeze_norm
        )
        self.network = place_model(network, self.device)
        self.anchor = StartAnchor(self.network.backbone, settings.anchor) if config.start else None
        self.norms = BatchNormStats(self.network)
        self.average = AveragedModel(self.network, settings.ema) if settings.ema else None
        self.model = self.ranks.wrap_model(self.network)
        groups = parameter_groups(self.network, settings.layer_decay)
        self.optimizer = torch.optim.AdamW(
            groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        self.totals = torch.zeros(len(config.pools), 2, device=self.device)
        self.data_wait = 0.0
        self.network.train()
        self.counts = BatchCounts(self.network)
        self.graph: RecordedGraph | None = None
        self._early: deque[tuple[Tensor, ...]] = deque()
        """Inputs of the next steps, which were read for the check of the graph."""

    @property
    def graph_key(self) -> Hashable:
        """Everything that decides the kernels of a step, or None where no graph is recorded."""
        settings, ranks = self.settings, self.ranks
        if not self.config.cuda_graphs or not ranks.device.startswith("cuda"):
            return None
        if ranks.world > 1 or settings.accumulate > 1:
            return None
        shape = (settings.input_size, settings.variant, settings.batch_size, self.heads.outputs)
        rules = (settings.objective, settings.augmentation, settings.freeze_norm)
        rates = (settings.layer_decay, settings.anchor)
        return ("pretraining", settings.arch, *shape, settings.projection, *rules, *rates, ranks.device)

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

    def first_inputs(self) -> Iterator[Tensor]:
        """Yield the images of the first `FOLD_STEPS` steps of all processes, as in evaluation, in parts."""
        steps = range(min(self.settings.steps, FOLD_STEPS))
        parts = (
            part
            for step in steps
            for part in np.array_split(self.sampler.rows(step), self.settings.accumulate)
        )
        with closing(self.config.images.batches(parts)) as images:
            yield from map(self.prepare, images)

    def record_step(self, first: int, images: Iterator[Tensor]) -> None:
        """Record the step as a CUDA graph where wanted; reads the images of the steps for its check."""
        if self.graph_key is None:
            return
        last = min(self.settings.steps, first + CHECK_STEPS)
        self._early.extend(next(self._inputs(step, images)) for step in range(first, last))
        for group in self.optimizer.param_groups:
            group.update(lr=torch.zeros((), device=self.device), capturable=True)

        def inputs(step: int) -> tuple[Tensor, ...]:
            self._seed_part(step, 0)
            return (torch.full((), self.rate(step), device=self.device), *self._early[step - first])

        repeatable = RepeatableStep(self._whole_step, inputs, self._state, first, self.settings.steps)
        self.graph = record_step(self.graph_key, repeatable, torch.device(self.device))
        self.counts.pending = 0
        if self.graph is None:
            self._plain_rates(self.optimizer.param_groups)

    def step(self, step: int, images: Iterator[Tensor]) -> None:
        """Take one optimizer step; nothing in it waits for the device."""
        parts = list(self._parts())
        batches = iter([self._early.popleft()]) if self._early else self._inputs(step, images)
        if self.graph:
            self._seed_part(step, 0)
            self.graph(torch.full((), self.rate(step), device=self.device), *next(batches))
            self.counts.pending += 1
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(step) * _rate_scale(group)
            self.optimizer.zero_grad(set_to_none=True)
            for at, ((part, _), tensors) in enumerate(zip(parts, batches, strict=True)):
                self.norms.weight_part(at, len(parts))
                self._seed_part(step, part)
                with self.ranks.without_sync(self.model, more=at + 1 < len(parts)):
                    self._backward(*tensors)
            self._update()
        if self.average:
            self.average.update(step)

    def _inputs(self, step: int, images: Iterator[Tensor]) -> Iterator[tuple[Tensor, ...]]:
        """Yield the images, augmentation draws and targets of each part of this process, on the device."""
        rows = self.sampler.rows(step)
        whose = self.sampler.pool_numbers(rows)
        changes = self._draws(step, whose)
        for _, places in self._parts():
            started = time.perf_counter()
            batch = next(images)
            self.data_wait += time.perf_counter() - started
            targets = to_device(self.heads.targets(rows[places], whose[places]), self.device)
            yield batch, to_device(torch.from_numpy(changes[places]), self.device), targets

    def _draws(self, step: int, whose: _Rows) -> NDArray[np.float32]:
        """Return the augmentation draws of a step, the views of an image side by side."""
        views = range(self.objective.views)
        return np.concatenate([self.sampler.augmentation_draws(step, whose, view) for view in views], axis=1)

    def _seed_part(self, step: int, part: int) -> None:
        """Seed dropout, which depends neither on the process of a part nor on earlier interruptions."""
        seeds = np.random.SeedSequence((self.settings.seed, step, part))
        torch.manual_seed(int(seeds.generate_state(1)[0]))

    def _whole_step(self, rate: Tensor, *tensors: Tensor) -> Tensor:
        """Take a step of one part on tensors alone, and return the mean loss of its batch."""
        for group in self.optimizer.param_groups:
            group["lr"].copy_(rate * _rate_scale(group))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(*tensors)
        self._update()
        return loss

    def _update(self) -> None:
        """Take the optimizer's step, with the pull towards the initial weights."""
        if self.anchor:
            self.anchor.add_gradients()
        self.optimizer.step()

    def _state(self) -> Iterator[Tensor]:
        """Yield all tensors that a step without its average changes."""
        yield self.totals
        yield from training_state(self.network, self.optimizer)

    def _plain_rates(self, groups: list[dict[str, Any]]) -> None:
        """Set the learning rates to numbers, as checkpoints have them."""
        for group in groups:
            group.update(lr=self.settings.lr, capturable=False)

    def sync_batchnorm(self) -> None:
        """Average the running statistics of batch norm over processes, before they are used."""
        self.counts.add()
        self.ranks.average(self.network.buffers())
        if self.average:
            self.average.copy_counts()
            self.ranks.average(self.average.network.buffers())

    def state_tensors(self) -> Tensors:
        """Return the tensors that a resumed training needs."""
        optimizer = self.optimizer.state_dict()
        if self.graph:  # which needs a tensor as the rate
            self._plain_rates(optimizer["param_groups"])
        return {
            "network": self.network.state_dict(),
            "optimizer": optimizer,
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

    def _backward(self, batch: Tensor, numbers: Tensor, targets: Tensor) -> Tensor:
        """Accumulate the gradients of one part of a batch, and return its mean loss.

        Args:
            batch: images as stored, [part, channels, side, side].
            numbers: uniforms of the augmentation, [part, views * uniforms].
            targets: as `SourceHeads.targets` returns them.
        """
        with self.counts.paused():
            losses = self._losses(self.model, batch, numbers, targets)
        # gradients are averaged over processes, so that each is scaled up by their number
        (losses.sum() * (self.ranks.world / self.settings.batch_size)).backward()
        counted = torch.stack([losses.detach(), torch.ones_like(losses)], dim=1)
        self.totals.index_add_(0, targets[:, -1].long(), counted)
        return losses.detach().mean()

    def _losses(self, model: nn.Module, batch: Tensor, numbers: Tensor, targets: Tensor) -> Tensor:
        """Return the objective's loss of each image, [part]; arguments as of `_backward`."""
        images = batch.float()
        views = [self.augment(images, each) for each in numbers.chunk(self.objective.views, dim=1)]
        inputs = self.prepare.normalize(torch.cat(views) if len(views) > 1 else views[0])
        with autocast_precision(inputs.device):
            outputs = model(inputs)
        return self.objective.losses(outputs.float(), targets, self.heads)

    def score(self, place: int) -> HeldOutScore | None:
        """Score the evaluated network, in eval mode, on the held-out images of source number `place`.

        Without labels, the score is undefined and the loss that of the objective, with fixed augmentations.
        """
        images, heads = self.config.images, self.heads
        if self.objective.uses_labels:
            return score_source(self.eval_model, heads, images, self.prepare, place)
        pool = heads.pools[place]
        if len(pool.held_out) < 2:  # an image is compared with others
            return None
        rows, whose = heads.starts[place] + pool.held_out, np.full(len(pool.held_out), place)
        numbers = to_device(torch.from_numpy(self._draws(0, whose)), self.device)
        targets = to_device(heads.targets(rows, whose), self.device)
        with torch.inference_mode(), closing(images.batches([rows])) as batches:
            losses = self._losses(self.eval_model, next(batches), numbers, targets)
        return HeldOutScore(float(losses.mean()), None)

    def _parts(self) -> Iterator[tuple[int, _Rows]]:
        """Yield the number and the positions in the batch of each part of this process.

        The parts, and so the images that batch norm sees together, do not depend on the number of processes.
        """
        settings = self.settings
        places = np.array_split(np.arange(settings.batch_size), settings.accumulate)
        for part in range(self.ranks.rank, settings.accumulate, self.ranks.world):
            yield part, places[part]


def _rate_scale(group: dict[str, Any]) -> float:
    """Return the learning rate of a group in units of the run's; older checkpoints do not have it."""
    return group.get("lr_scale", 1.0)


def _backbone(config: PretrainConfig) -> nn.Module:
    settings = config.settings
    if config.start is None:
        return build_backbone(settings.arch, settings.input_size)
    return load_backbone(config.start, settings.arch, settings.input_size, settings.seed).module
