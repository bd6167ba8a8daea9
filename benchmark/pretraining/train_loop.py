"""The training itself: steps, readings between them, and checkpoints from which it goes on exactly."""

from __future__ import annotations

import math
import sys
import time
from contextlib import closing

import msgspec

from ..training.loop import DivergedError, seed_torch
from . import checkpoints
from .config import PretrainCallbacks, PretrainConfig, PretrainOutcome, StoppedAtError
from .heads import HeldOutScore, as_scores, mean_score, score_source
from .pretrain_result import CurvePoint, SourceUse
from .trainer import PretrainTrainer

READ_EVERY = 10
"""Steps between two looks at the losses, at which the host waits for the device."""
CURVE_ROWS = 200
"""Rows of the curve, validations apart."""


def run_training(job: PretrainConfig, keeping: PretrainCallbacks) -> PretrainOutcome:
    """Train to the end, from the newest checkpoint if there is one.

    The weights that are returned are the last ones: the rate has fallen to 0 by then, and a choice among
    validations would make the score of the chosen look better than it is.

    Raises:
        DivergedError: the loss was not a number.
        StoppedAtError: it was asked to stop.
        UserError: the weights to begin with do not fit.
    """
    with seed_torch(job.ranks.device, job.settings.seed):
        return _Training(job, keeping).run()


class _Training:
    def __init__(self, job: PretrainConfig, keeping: PretrainCallbacks) -> None:
        self.job, self.keeping, self.ranks = job, keeping, job.ranks
        self.learner = PretrainTrainer(job)
        self.names = [pool.name for pool in job.pools]
        self.curve: list[CurvePoint] = []
        self.before = 0.0  # seconds spent before the last interruption
        self.began = self.row_began = time.perf_counter()

    def run(self) -> PretrainOutcome:
        first = self._resumed()
        self.learner.network.train()
        with closing(self.job.images.batches(self.learner.stream(first))) as images:
            for step in range(first, self.job.settings.steps):
                self.learner.step(step, images)
                self._between(step + 1)
        backbone = self.learner.judged.get_submodule("backbone")
        # cloned: on a CPU they would still be the network's own
        state = {name: value.cpu().contiguous().clone() for name, value in backbone.state_dict().items()}
        return PretrainOutcome(state, self._used(), tuple(self.curve), self._seconds())

    def _between(self, done: int) -> None:
        """Read, validate, tell and keep what is due after `done` steps."""
        steps, keeping = self.job.settings.steps, self.keeping
        last = done == steps
        validate = last or done % keeping.evaluate_every == 0
        row = validate or done % max(1, steps // CURVE_ROWS) == 0
        keep = bool(keeping.checkpoint_every) and done % keeping.checkpoint_every == 0 and not last
        asked = keeping.stopping()
        # several processes can only stop where all of them ask one another
        if not (row or keep or done % READ_EVERY == 0 or (asked and self.ranks.world == 1)):
            return
        asked = any(self.ranks.gather(asked)) and not last
        point = self._read(done)
        if validate:
            point = self._validated(point)
        if self.ranks.first:
            keeping.live(point)
        if row:
            self._add(point)
        if keep or asked:
            self._keep(done)
        if asked:
            raise StoppedAtError(done)

    def _read(self, done: int) -> CurvePoint:
        """Return what happened since the last row; here alone the host waits for the device."""
        loss, count = self.ranks.sum(self.learner.totals).cpu().double().numpy().T
        spent = max(time.perf_counter() - self.row_began, 1e-9)
        rate = self.learner.rate(done - 1)
        if not math.isfinite(loss.sum()):
            raise DivergedError(
                f"the loss was not a number by step {done} with learning rate {self.job.settings.lr:g}"
            )
        means = [float(total / n) if n else None for total, n in zip(loss, count, strict=True)]
        return CurvePoint(
            step=done,
            seconds=self._seconds(),
            rate=rate,
            train_loss=float(loss.sum() / max(count.sum(), 1)),
            losses=dict(zip(self.names, means, strict=True)),
            images_per_second=float(count.sum() / spent),
            data_wait=min(1.0, self.learner.waited / spent),
        )

    def _validated(self, point: CurvePoint) -> CurvePoint:
        """Add the scores on the held-out images; the processes share the sources."""
        learner = self.learner
        learner.settle()
        learner.judged.eval()
        places = range(self.ranks.rank, len(self.names), self.ranks.world)
        mine = {
            at: score_source(learner.judged, learner.heads, self.job.images, learner.prepare, at)
            for at in places
        }
        learner.network.train()
        found: dict[int, HeldOutScore | None] = {}
        for part in self.ranks.gather(mine):
            found |= part
        judged = [found[at] for at in range(len(self.names))]
        mean = mean_score(judged)
        return msgspec.structs.replace(
            point,
            val_loss=min(mean.loss, sys.float_info.max),
            val_score=mean.score,
            scores=as_scores(self.names, judged),
        )

    def _add(self, point: CurvePoint) -> None:
        self.curve.append(point)
        self.learner.totals.zero_()
        self.learner.waited, self.row_began = 0.0, time.perf_counter()
        if self.ranks.first:
            self.keeping.row(self.curve)

    def _keep(self, done: int) -> None:
        self.learner.settle()
        tensors = self.learner.tensors()
        if self.keeping.folder is None or not self.ranks.first:
            return
        progressed = checkpoints.TrainingState(
            step=done,
            seconds=self._seconds(),
            waited=self.learner.waited,
            since=time.perf_counter() - self.row_began,
            curve=tuple(self.curve),
        )
        checkpoints.save_checkpoint(self.keeping.folder, progressed, tensors)

    def _resumed(self) -> int:
        """Take up the newest checkpoint; returns the step to begin with."""
        found = checkpoints.newest_checkpoint(self.keeping.folder) if self.keeping.folder else None
        self.began = self.row_began = time.perf_counter()
        if found is None:
            return 0
        progressed, tensors = found
        self.learner.take(tensors)
        self.learner.waited = progressed.waited
        self.row_began -= progressed.since
        self.before, self.curve = progressed.seconds, list(progressed.curve)
        return progressed.step

    def _seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    def _used(self) -> tuple[SourceUse, ...]:
        """Count what each source gave; within a source no image is repeated before all were shown."""
        settings = self.job.settings
        drawn = self.learner.draws.before(settings.steps * settings.batch_size).tolist()
        return tuple(
            SourceUse(
                name=pool.name,
                kind=pool.kind,
                classes=pool.classes,
                images=min(count, len(pool.train)),
                draws=count,
                available=len(pool.train),
                held=len(pool.held),
                score=self.curve[-1].scores[pool.name],
            )
            for pool, count in zip(self.job.pools, drawn, strict=True)
        )
