"""Training loop of a pretraining: steps, readings, validations, and exact checkpoints."""

from __future__ import annotations

import math
import sys
import time
from contextlib import closing

import msgspec
import torch

from ..training.cuda_graph import graph_notes
from ..training.loop import DivergedError, fixed_shapes, seed_torch
from . import checkpoints
from .batchnorm_stats import fold_statistics
from .config import PretrainCallbacks, PretrainConfig, PretrainOutcome, StoppedAtError
from .heads import HeldOutScore, as_scores, mean_score
from .pretrain_result import CurvePoint, SourceUse
from .trainer import PretrainTrainer

READ_EVERY = 10
"""Steps between readings of the losses, at which the host waits for the device."""
CURVE_ROWS = 200
"""Rows of the curve, without validations."""


def run_training(config: PretrainConfig, callbacks: PretrainCallbacks) -> PretrainOutcome:
    """Train to the end, from the newest checkpoint if there is one.

    Returns the last weights: the learning rate is then 0, and choosing the best validation would bias its
    score upwards.

    Raises:
        DivergedError: the loss was not a number.
        StoppedAtError: a stop was requested.
        UserError: the initial weights do not fit.
    """
    device = torch.device(config.ranks.device)
    with seed_torch(config.ranks.device, config.settings.seed), fixed_shapes(device):
        return _Training(config, callbacks).run()


class _Training:
    def __init__(self, config: PretrainConfig, callbacks: PretrainCallbacks) -> None:
        self.config, self.callbacks, self.ranks = config, callbacks, config.ranks
        self.trainer = PretrainTrainer(config)
        self.names = [pool.name for pool in config.pools]
        self.curve: list[CurvePoint] = []
        self.before = 0.0  # seconds spent before the last interruption
        self.began = self.row_began = time.perf_counter()

    def run(self) -> PretrainOutcome:
        first = self._resume()
        with closing(self.config.images.batches(self.trainer.stream(first))) as images:
            self.trainer.record_step(first, images)
            for step in range(first, self.config.settings.steps):
                self.trainer.step(step, images)
                self._after_step(step + 1)
        backbone = self.trainer.eval_model.get_submodule("backbone")
        notes, anchor = graph_notes(self.trainer.graph_key), self.trainer.anchor
        moved = anchor.relative_distance(backbone) if anchor else None
        if self.config.settings.freeze_norm:
            fold_statistics(backbone.eval(), self.trainer.first_inputs())
        # cloned: on a CPU they would share the network's memory
        state = {name: value.cpu().contiguous().clone() for name, value in backbone.state_dict().items()}
        return PretrainOutcome(state, self._source_uses(), tuple(self.curve), self._seconds(), notes, moved)

    def _after_step(self, done: int) -> None:
        """Read losses, validate, report and save what is due after `done` steps."""
        steps, callbacks = self.config.settings.steps, self.callbacks
        last = done == steps
        validate = last or done % callbacks.evaluate_every == 0
        row = validate or done % max(1, steps // CURVE_ROWS) == 0
        keep = bool(callbacks.checkpoint_every) and done % callbacks.checkpoint_every == 0 and not last
        asked = callbacks.should_stop()
        # several processes must agree to stop, which takes a reading
        if not (row or keep or done % READ_EVERY == 0 or (asked and self.ranks.world == 1)):
            return
        asked = any(self.ranks.gather(asked)) and not last
        point = self._read_losses(done)
        if validate:
            point = self._validate(point)
        if self.ranks.first:
            callbacks.on_reading(point)
        if row:
            self._add_row(point)
        if keep or asked:
            self._save(done)
        if asked:
            raise StoppedAtError(done)

    def _read_losses(self, done: int) -> CurvePoint:
        """Return the averages since the last row; only here does the host wait for the device."""
        loss, count = self.ranks.sum(self.trainer.totals).cpu().double().numpy().T
        spent = max(time.perf_counter() - self.row_began, 1e-9)
        rate = self.trainer.rate(done - 1)
        if not math.isfinite(loss.sum()):
            raise DivergedError(
                f"the loss was not a number by step {done} with learning rate {self.config.settings.lr:g}"
            )
        means = [float(total / n) if n else None for total, n in zip(loss, count, strict=True)]
        return CurvePoint(
            step=done,
            seconds=self._seconds(),
            rate=rate,
            train_loss=float(loss.sum() / max(count.sum(), 1)),
            losses=dict(zip(self.names, means, strict=True)),
            images_per_second=float(count.sum() / spent),
            data_wait=min(1.0, self.trainer.data_wait / spent),
        )

    def _validate(self, point: CurvePoint) -> CurvePoint:
        """Add the scores on the held-out images; each process scores a share of the sources."""
        trainer = self.trainer
        trainer.sync_batchnorm()
        trainer.eval_model.eval()
        places = range(self.ranks.rank, len(self.names), self.ranks.world)
        mine = {at: trainer.score(at) for at in places}
        trainer.network.train()
        found: dict[int, HeldOutScore | None] = {}
        for part in self.ranks.gather(mine):
            found |= part
        results = [found[at] for at in range(len(self.names))]
        mean = mean_score(results)
        return msgspec.structs.replace(
            point,
            val_loss=min(mean.loss, sys.float_info.max),
            val_score=mean.score,
            scores=as_scores(self.names, results),
        )

    def _add_row(self, point: CurvePoint) -> None:
        self.curve.append(point)
        self.trainer.totals.zero_()
        self.trainer.data_wait, self.row_began = 0.0, time.perf_counter()
        if self.ranks.first:
            self.callbacks.on_row(self.curve)

    def _save(self, done: int) -> None:
        self.trainer.sync_batchnorm()
        tensors = self.trainer.state_tensors()
        if self.callbacks.folder is None or not self.ranks.first:
            return
        progress = checkpoints.TrainingState(
            step=done,
            seconds=self._seconds(),
            waited=self.trainer.data_wait,
            since=time.perf_counter() - self.row_began,
            curve=tuple(self.curve),
        )
        checkpoints.save_checkpoint(self.callbacks.folder, progress, tensors)

    def _resume(self) -> int:
        """Load the newest checkpoint; returns the first step."""
        found = checkpoints.newest_checkpoint(self.callbacks.folder) if self.callbacks.folder else None
        self.began = self.row_began = time.perf_counter()
        if found is None:
            return 0
        progress, tensors = found
        self.trainer.load_tensors(tensors)
        self.trainer.data_wait = progress.waited
        self.row_began -= progress.since
        self.before, self.curve = progress.seconds, list(progress.curve)
        return progress.step

    def _seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    def _source_uses(self) -> tuple[SourceUse, ...]:
        """Return the use of each source, of which no image is repeated before all were shown."""
        settings = self.config.settings
        drawn = self.trainer.sampler.counts_before(settings.steps * settings.batch_size).tolist()
        return tuple(
            SourceUse(
                name=pool.name,
                kind=pool.kind,
                classes=pool.classes,
                images=min(count, len(pool.train)),
                draws=count,
                available=len(pool.train),
                held_out=len(pool.held_out),
                score=self.curve[-1].scores[pool.name],
            )
            for pool, count in zip(self.config.pools, drawn, strict=True)
        )
