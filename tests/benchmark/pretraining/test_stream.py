"""The loader yields a corpus's images complete and in order, for any number of workers."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_corpus import make_corpus
from torch import Tensor

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.pretraining import shards
from mednet_bench.benchmark.pretraining.loader import corpus_pools, worker_death_as_error
from mednet_bench.benchmark.pretraining.shuffle import block_shuffle
from mednet_bench.benchmark.pretraining.sources import LoaderConfig, pool_starts
from mednet_bench.core.errors import StoppedError, UserError

Shown = dict[str, list[NDArray[np.uint8]]]


@pytest.fixture(scope="module")
def gray(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown]:
    folder = tmp_path_factory.mktemp("corpora") / "gray"
    return folder, make_corpus(folder)


def some_rows(count: int, batches: int = 7, batch: int = 16) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, count, batch) for _ in range(batches)]


def as_stored(shown: Shown, row: int, side: int) -> Tensor:
    """What images in memory look like after the one resize of the house."""
    image = [image for images in shown.values() for image in images][row]
    pixels = torch.from_numpy(image)
    pixels = pixels[None, None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)[None]
    return InputPreparation(InputSpec(), side).resize(pixels).round().to(torch.uint8)[0]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("side", [28, 32])
def test_pixels_and_order_are_those_of_images_in_memory(
    gray: tuple[Path, Shown], workers: int, side: int
) -> None:
    folder, shown = gray
    pools, images = corpus_pools(folder, LoaderConfig(side=side, workers=workers))
    rows = some_rows(pool_starts(pools)[-1])
    found = list(images.batches(rows))
    images.close()
    assert len(found) == len(rows)
    for batch, wanted in zip(found, rows, strict=True):
        assert batch.dtype == torch.uint8
        assert torch.equal(batch, torch.stack([as_stored(shown, int(row), side) for row in wanted]))


def test_color_keeps_its_channels_in_order(tmp_path: Path) -> None:
    shown = make_corpus(tmp_path / "color", "color", images=8)
    pools, images = corpus_pools(tmp_path / "color", LoaderConfig(side=28, workers=0))
    rows = np.arange(pool_starts(pools)[-1])
    (batch,) = images.batches([rows])
    assert torch.equal(batch, torch.stack([as_stored(shown, int(row), 28) for row in rows]))


def test_two_streams_at_once_and_one_after_the_other_do_not_mix(gray: tuple[Path, Shown]) -> None:
    """A validation reads in the middle of the training, and the next one takes its workers over."""
    pools, images = corpus_pools(gray[0], LoaderConfig(side=28, workers=1))
    rows = some_rows(pool_starts(pools)[-1])
    wanted = list(images.batches(rows))
    training = images.batches(rows)
    begun = [next(training), next(training)]
    for step in (4, 5):
        assert torch.equal(next(images.batches(rows[step : step + 1])), wanted[step])
    abandoned = images.batches(rows)
    next(abandoned)
    abandoned.close()  # as a training does that fails
    assert torch.equal(next(images.batches(rows[3:])), wanted[3])
    assert all(torch.equal(one, other) for one, other in zip([*begun, *training], wanted, strict=True))
    images.close()


def test_resuming_in_the_middle_gives_the_batches_that_were_left(gray: tuple[Path, Shown]) -> None:
    def from_step(step: int) -> list[Tensor]:
        pools, images = corpus_pools(gray[0], LoaderConfig(side=28, workers=1))
        order = block_shuffle(np.arange(pool_starts(pools)[-1]), seed=3, epoch=1).reshape(-1, 8)
        found = list(images.batches(order[step:]))
        images.close()
        return found

    assert all(torch.equal(one, other) for one, other in zip(from_step(0)[6:], from_step(6), strict=True))


def test_the_loader_draws_nothing_from_the_trainings_random_numbers(gray: tuple[Path, Shown]) -> None:
    _, images = corpus_pools(gray[0], LoaderConfig(side=28, workers=1))
    before = torch.get_rng_state()
    list(images.batches([np.arange(4)]))
    images.close()
    assert torch.equal(torch.get_rng_state(), before)


def test_pools_hold_labels_by_kind_and_keep_groups_together(gray: tuple[Path, Shown]) -> None:
    pools, _ = corpus_pools(gray[0], LoaderConfig(side=28))
    cells, findings, scans = pools
    assert [pool.name for pool in pools] == ["cells", "findings", "scans"]
    assert cells.labels.tolist() == [0, 1] * 20
    assert findings.labels.tolist() == [[0, 1, 1], [1, 0, 1]] * 20
    assert (cells.flips, scans.flips) == ((True, True), (True, False))
    for pool in pools:
        assert sorted([*pool.train, *pool.held_out]) == list(range(40))
    assert len(scans.held_out) == 2  # 5 % of 40; the groups of `cells` are of 8 and fit no 2
    assert len(cells.held_out) == 0


def test_what_is_left_out_is_not_read_and_the_rest_stays_as_it_was(gray: tuple[Path, Shown]) -> None:
    folder, shown = gray
    whole, _ = corpus_pools(folder, LoaderConfig(side=28))
    pools, images = corpus_pools(
        folder, LoaderConfig(side=28, workers=0, leave_out=frozenset({"cells", "findings"}))
    )
    assert [pool.name for pool in pools] == ["scans"]
    assert pools[0].held_out.tolist() == whole[2].held_out.tolist()
    (batch,) = images.batches([np.array([5])])
    assert torch.equal(batch[0], as_stored({"scans": shown["scans"]}, 5, 28))
    with pytest.raises(UserError, match="no source that may be used"):
        corpus_pools(folder, LoaderConfig(side=28, leave_out=frozenset(shown)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_with_shard_and_key(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "gray"
    make_corpus(folder, images=8)
    shard = folder / "shards" / "findings-00001.tar"
    content = bytearray(shard.read_bytes())
    second = content.index(b"IDAT", content.index(b"IDAT") + 4)
    content[second + 40] ^= 0x55
    shard.write_bytes(content)
    pools, images = corpus_pools(folder, LoaderConfig(side=28, workers=workers))
    with pytest.raises(UserError) as caught:
        list(images.batches([np.arange(pool_starts(pools)[-1])]))
    images.close()
    message = str(caught.value)
    assert message.startswith(f"{shard}: the image findings-00001000001 cannot be read")
    assert f"mednet-bench corpus check {folder}" in message
    assert "\n" not in message


def test_a_shard_that_is_cut_off_or_gone_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "gray"
    make_corpus(folder, images=8)
    shard = folder / "shards" / "cells-00000.tar"
    os.truncate(shard, 1500)
    _, images = corpus_pools(folder, LoaderConfig(side=28, workers=0))
    with pytest.raises(UserError, match=r"cells-00000\.tar: the image .* ends before the image"):
        list(images.batches([np.arange(4)]))
    images.close()
    shard.unlink()
    with pytest.raises(UserError, match=r"cells-00000\.tar: .*No such file"):
        list(images.batches([np.arange(4)]))


def test_no_more_files_are_open_than_allowed(
    gray: tuple[Path, Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "OPEN_MOST", 2)
    pools, images = corpus_pools(gray[0], LoaderConfig(side=28, workers=0))
    list(images.batches(some_rows(pool_starts(pools)[-1], batches=3)))
    assert len(images.decoder._open) == 2
    images.close()
    assert not images.decoder._open


def test_a_block_shuffle_is_a_permutation_that_depends_on_seed_and_epoch_alone() -> None:
    rows = np.arange(100_003)
    one = block_shuffle(rows, seed=1, epoch=2, block=100, window=10)
    assert np.array_equal(np.sort(one), rows)
    assert np.array_equal(one, block_shuffle(rows, seed=1, epoch=2, block=100, window=10))
    assert not np.array_equal(one, block_shuffle(rows, seed=1, epoch=3, block=100, window=10))
    assert not np.array_equal(one, block_shuffle(rows, seed=2, epoch=2, block=100, window=10))
    touched = {len(np.unique(part // 100)) for part in np.array_split(one[:100_000], 100)}
    assert max(touched) <= 20, "a thousand images in a row come from two windows of ten blocks at most"


def test_a_dead_worker_is_an_error_with_its_cure(gray: tuple[Path, Shown]) -> None:
    others = {process.pid for process in multiprocessing.active_children()}
    handler = signal.getsignal(signal.SIGCHLD)
    _, images = corpus_pools(gray[0], LoaderConfig(side=28, workers=1))
    stream = images.batches([np.arange(4)] * 1000)
    next(stream)
    assert signal.getsignal(signal.SIGCHLD) == handler, "torch's would raise in whatever test comes next"
    for worker in multiprocessing.active_children():
        if worker.pid not in others:
            worker.kill()
    with pytest.raises(StoppedError, match=r"died .* fewer --workers"), worker_death_as_error(gray[0]):
        list(stream)
    images.close()
