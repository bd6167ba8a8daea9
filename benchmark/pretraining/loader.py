"""Load batches of a corpus, decoded by worker processes ahead of the training."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ...baselines.init import InputSpec
from ...core.errors import StoppedError, UserError
from ...tasks.task import plausible_flips
from ..corpus.arrow import pa, pc
from ..corpus.corpus import SHARDS, SourceFacts, read_corpus
from ..corpus.exact_duplicates import rows_without
from ..corpus.index import read_index_columns
from .shards import BatchDecoder, DamagedBatch, PngOffsets
from .sources import LoaderConfig, SourcePool, _Rows, hold_out
from .stopping import ignore_signals

AHEAD = 4
"""Batches that each worker decodes ahead of the training."""


class _RowOrder:
    """Rows that a loader reads next; replaced when idle workers are used again."""

    def __init__(self) -> None:
        self.rows: Iterable[_Rows] = ()

    def __iter__(self) -> Iterator[_Rows]:
        return iter(self.rows)


class ShardImages:
    """An `ImageLoader` of a corpus, decoded by worker processes."""

    def __init__(self, folder: Path, decoder: BatchDecoder, loading: LoaderConfig) -> None:
        self.folder, self.decoder, self.loading = folder, decoder, loading
        self._idle: list[tuple[_RowOrder, DataLoader[Tensor]]] = []

    def batches(self, rows: Iterable[_Rows]) -> Generator[Tensor]:
        """Yield the images of each array of rows, uint8 [b, 3 or 1, side, side] on the device.

        Raises:
            UserError: an image is damaged.
            RuntimeError: a worker process died, see `worker_death_as_error`.
        """
        # training and validation have separate workers, which are kept for the next validation
        orders, loader = self._idle.pop() if self._idle else self._make_loader()
        orders.rows = rows
        try:
            for batch in _start_reading(loader):
                if isinstance(batch, DamagedBatch):
                    raise self._damage_error(batch)
                yield batch.to(self.loading.device, non_blocking=True)
        finally:
            self._idle.append((orders, loader))

    def close(self) -> None:
        """Stop the idle workers and close the files."""
        self._idle.clear()
        self.decoder.close()

    def _make_loader(self) -> tuple[_RowOrder, DataLoader[Tensor]]:
        orders, workers = _RowOrder(), self.loading.workers
        loader = DataLoader(
            self.decoder,  # type: ignore[arg-type]  # whole batches by arrays of rows, which no stub knows
            batch_size=None,
            sampler=orders,
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            persistent_workers=workers > 0,
            worker_init_fn=ignore_signals,
            pin_memory=self.loading.device.startswith("cuda"),
            generator=torch.Generator(),  # its own: no draw of the training may depend on the loader
            # a forked worker shares the index; otherwise each gets a copy of some 16 bytes an image
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        )
        return orders, loader

    def _damage_error(self, damaged: DamagedBatch) -> UserError:
        """Return the error that names a damaged image by its key, which is looked up in the index."""
        places = self.decoder.places
        shard, offset = places.shards[places.shard[damaged.row]], int(places.offset[damaged.row])
        table = read_index_columns(self.folder, ["key", "shard", "offset"])
        here = pc.and_(pc.equal(table["shard"], shard.name), pc.equal(table["offset"], offset))  # type: ignore[attr-defined]
        (key,) = table.filter(here)["key"].to_pylist()
        return UserError(
            f"{shard}: the image {key} cannot be read ({damaged.reason}); `mednet-bench corpus check "
            f"{self.folder}` lists all damaged shards; build the corpus anew."
        )


def _start_reading(loader: DataLoader[Tensor]) -> Iterator[Tensor]:
    """Start the workers, and restore the signal handler that torch replaces.

    Torch's handler would raise a worker's death at any line of the caller, even during another error.
    Without it the loader detects a dead worker within five seconds of waiting for a batch.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(loader)
    signal.signal(signal.SIGCHLD, before)
    return batches


@contextmanager
def worker_death_as_error(folder: Path) -> Iterator[None]:
    """Convert the errors that a dead worker causes to a `StoppedError`."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:  # the last two: died while sending a batch
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        reason = (str(error).splitlines() or ["its connection ended"])[0]
        raise StoppedError(
            f"A process that reads {folder} died ({reason}): it may lack shared memory "
            "(/dev/shm); run the same command again with fewer --workers, 0 needs none."
        ) from error


def corpus_pools(folder: Path, loading: LoaderConfig) -> tuple[list[SourcePool], ShardImages]:
    """Open a corpus for a pretraining; pools and their rows are in the order of its index.

    Images that equal one of an excluded source are excluded too, whichever source stores them. Sources
    without labels are read only if the configuration says so.

    Raises:
        UserError: there is no finished corpus, its index does not fit it, or all sources are excluded.
    """
    corpus = read_corpus(folder)
    facts = {
        source.name: source
        for source in corpus.sources
        if source.name not in loading.leave_out and (source.classes or loading.unlabeled)
    }
    table = read_index_columns(folder, ["source", "shard", "offset", "size", "label", "group"])
    table = rows_without(folder, loading.leave_out, table)
    names, whose = _category_codes(table["source"])
    chosen = {name: np.flatnonzero(whose == code) for code, name in enumerate(names) if name in facts}
    if not chosen:
        raise UserError(f"{folder} holds no source that may be used: leave fewer out, or add one.")
    pools = [_make_pool(facts[name], table.take(rows), loading.seed) for name, rows in chosen.items()]
    shards, shard = _category_codes(table["shard"])
    places = PngOffsets(
        tuple(folder / SHARDS / name for name in shards),
        shard,
        table["offset"].to_numpy(),
        table["size"].to_numpy().astype(np.int32),
    ).select(np.concatenate(list(chosen.values())))
    contract = InputSpec(interpolation=loading.interpolation)
    decoder = BatchDecoder(places, 3 if corpus.variant == "color" else 1, contract, loading.side)
    return pools, ShardImages(folder, decoder, loading)


def _category_codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    """Return the distinct texts of a column, and the number of each row's text."""
    whole = column.unify_dictionaries().combine_chunks()
    return whole.dictionary.to_pylist(), whole.indices.to_numpy(zero_copy_only=False).astype(np.int32)


def _make_pool(facts: SourceFacts, rows: pa.Table, seed: int) -> SourcePool:
    """Make the pool of a source, with labels [n], or [n, classes] of 0 and 1 for multilabel."""
    labels = rows["label"].combine_chunks().flatten().to_numpy().astype(np.int64)
    width = len(facts.classes) if facts.kind == "multilabel" else 1
    if len(labels) != width * len(rows):
        raise UserError(
            f"The index of {facts.name} has {len(labels)} labels for {len(rows)} images of {width} each: "
            "build the corpus anew."
        )
    rng = np.random.default_rng([seed, *facts.name.encode()])  # independent of the excluded sources
    train, held_out = hold_out(len(rows), rows["group"].to_numpy(), rng)
    return SourcePool(
        name=facts.name, kind=facts.kind, classes=facts.classes,
        flips=plausible_flips(facts.modality, facts.classes),
        labels=labels.reshape(-1, width) if facts.kind == "multilabel" else labels,
        train=train, held_out=held_out,
    )  # fmt: skip
