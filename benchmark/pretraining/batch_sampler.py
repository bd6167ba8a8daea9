"""Images of every step, a pure function of seed and step: resuming needs only the step."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..training.augment import UNIFORMS_PER_IMAGE
from .shuffle import block_shuffle
from .sources import SourcePool, _Rows, pool_starts

_PHASE, _ORDER, _MIX, _CHANGE = range(4)
"""Purpose of a random stream; second part of its seed."""


class BatchSampler:
    """Order of all images of a pretraining.

    A source's share is proportional to size ** (1 / T). Its j-th image is due at time (j + phase) / share;
    the images of all sources are shown in the order of these times, `batch` of them per step. Every batch
    thus holds each source nearly in proportion, and the position of a source before any step is computed
    directly. Within a source, every image is shown once before any is repeated.

    Args:
        pools: the sources; each has images to train on.
        seed: of phases, orders and augmentations.
        temperature: T of the shares.
        uniforms: random numbers of the augmentation for each image.
    """

    def __init__(
        self,
        pools: Sequence[SourcePool],
        batch: int,
        seed: int,
        temperature: float,
        uniforms: int = UNIFORMS_PER_IMAGE,
    ) -> None:
        self.trains = [pool.train for pool in pools]
        self.starts, self.batch, self.seed, self.uniforms = pool_starts(pools), batch, seed, uniforms
        weights = np.array([len(train) for train in self.trains], float) ** (1 / temperature)
        self.shares = weights / weights.sum()
        self.phases = np.random.default_rng([seed, _PHASE]).random(len(pools))
        self.flips = np.array([pool.flips for pool in pools])
        # two per source, since an epoch may end inside a batch
        self._order = functools.lru_cache(maxsize=2 * len(pools))(self._epoch_order)

    def counts_before(self, draws: int) -> _Rows:
        """Return the number of images of each source, with repetitions, among the first `draws`."""
        sources = len(self.trains)
        # by time t, each source has shown t times its share, give or take less than one image
        low, high = self._images_due(draws - sources), self._images_due(draws + sources)
        whose = np.repeat(np.arange(sources), high - low)
        number = np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)])
        times = (number + self.phases[whose]) / self.shares[whose]
        among = whose[np.argsort(times, kind="stable")[: draws - int(low.sum())]]
        return low + np.bincount(among, minlength=sources)

    def rows(self, step: int) -> _Rows:
        """Return the rows of a step, numbered over all pools, in random order, [batch]."""
        low, high = self.counts_before(step * self.batch), self.counts_before((step + 1) * self.batch)
        spans = enumerate(zip(low.tolist(), high.tolist(), strict=True))
        parts = [
            self.starts[at] + self._source_rows(at, first, end) for at, (first, end) in spans if end > first
        ]
        return np.random.default_rng([self.seed, _MIX, step]).permutation(np.concatenate(parts))

    def pool_numbers(self, rows: _Rows) -> _Rows:
        """Return the number of the pool of each row."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def augmentation_draws(self, step: int, whose: _Rows, view: int = 0) -> NDArray[np.float32]:
        """Return the uniforms of a step's augmentation, [batch, uniforms]; every view has others.

        Mirroring is switched off for sources whose images it makes implausible, so that one batch may mix
        sources.
        """
        stream = [self.seed, _CHANGE, step, *((view,) if view else ())]
        size = (len(whose), self.uniforms)
        numbers = np.random.default_rng(stream).random(size, dtype=np.float32)
        mirror, invert = self.flips[whose].T
        numbers[~mirror, 5] = 1
        numbers[~invert, 1] = 0
        return numbers

    def _images_due(self, time: float) -> _Rows:
        return np.maximum(0, np.ceil(time * self.shares - self.phases)).astype(np.int64)

    def _source_rows(self, source: int, low: int, high: int) -> _Rows:
        """Return the rows of a source's images number `low` to `high`."""
        epoch, place = np.divmod(np.arange(low, high), len(self.trains[source]))
        parts = [self._order(source, number)[place[epoch == number]] for number in np.unique(epoch).tolist()]
        return np.concatenate(parts)

    def _epoch_order(self, source: int, epoch: int) -> _Rows:
        own = np.random.SeedSequence([self.seed, _ORDER, source]).generate_state(1)  # not all sources alike
        return block_shuffle(self.trains[source], int(own[0]), epoch)
