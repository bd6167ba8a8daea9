"""A split read in batches is complete, needs memory for one batch, and its defects are reported."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mednet_bench.core.errors import UserError
from mednet_bench.tasks.from_npz.arrays import NpzLayout, read_npz
from mednet_bench.tasks.from_npz.splits import NpzRows

GRAY = NpzLayout("multiclass", 3, "gray", ("train",), "copy it again")


def write(path: Path, count: int = 50, side: int = 24, channels: int = 0, packed: bool = True) -> Path:
    """Write a set whose images are noise, with groups."""
    rng = np.random.default_rng(0)
    shape = (count, side, side, channels) if channels else (count, side, side)
    arrays = {
        "train_images": rng.integers(0, 256, shape, dtype=np.uint8),
        "train_labels": rng.integers(0, 3, (count, 1)),
        "train_groups": np.arange(count) // 4,
    }
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_any_piece_in_any_order_is_what_the_whole_holds(packed: bool, channels: int, tmp_path: Path) -> None:
    path = write(tmp_path / "set.npz", channels=channels, packed=packed)
    layout = NpzLayout("multiclass", 3, "color" if channels == 3 else "gray", ("train",))
    whole, rows = read_npz(path, layout)["train"], NpzRows(path, layout, "train")
    assert len(rows) == 50
    for start, stop in ((0, 7), (7, 14), (30, 50), (10, 12), (10, 12), (49, 50)):
        piece = rows.read(start, stop)
        assert np.array_equal(piece.images, whole.images[start:stop])
        assert np.array_equal(piece.labels, whole.labels[start:stop])
        assert whole.groups is not None
        assert np.array_equal(piece.groups, whole.groups[start:stop])


def test_no_more_is_held_than_a_piece(tmp_path: Path) -> None:
    path = write(tmp_path / "set.npz", count=400, side=224)  # 20 MB
    tracemalloc.start()
    try:
        rows = NpzRows(path, GRAY, "train")
        for start in range(0, 400, 10):
            rows.read(start, start + 10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6e6


def test_defects_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "set.npz", packed=False)
    with pytest.raises(UserError, match="no split 'test' with images: it has train"):
        NpzRows(path, GRAY, "test")
    rows = NpzRows(path, GRAY, "train")
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="copy it again"):
        rows.read(0, 50)
    np.savez(
        path, train_images=np.asfortranarray(np.zeros((9, 24, 24), np.uint8)), train_labels=np.zeros(9, int)
    )
    with pytest.raises(UserError, match="stored by columns"):
        NpzRows(path, GRAY, "train")
