"""numpy files: accepted shapes and types, and refusals before loading."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mednet_bench.tasks.images.reader import (
    ReaderTable,
    ReadImage,
    UnreadableError,
    read_images,
    readable_suffixes,
)

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def saved(path: Path, values: np.ndarray) -> Path:
    """Write an array as the suffix says."""
    if path.suffix == ".npz":
        np.savez_compressed(path, values)
    else:
        np.save(path, values)
    return path


def read(path: Path, **reading: Any) -> list[ReadImage]:
    return list(read_images(path, ReaderTable(**reading)))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("values", "frames"),
    [
        (GRAY, [GRAY]),
        (COLOR, [COLOR]),
        (GRAY[..., None], [GRAY]),
        (np.stack([GRAY, GRAY[::-1]]), [GRAY, GRAY[::-1]]),
        (np.stack([COLOR, COLOR[::-1]]), [COLOR, COLOR[::-1]]),
        (np.asfortranarray(np.stack([GRAY, GRAY[::-1]])), [GRAY, GRAY[::-1]]),
    ],
    ids=["gray", "color", "one channel", "frames", "color frames", "by columns"],
)
def test_what_an_array_is_its_shape_says(
    tmp_path: Path, suffix: str, values: np.ndarray, frames: list[np.ndarray]
) -> None:
    found = read(saved(tmp_path / f"x{suffix}", values))
    assert [each.frame for each in found] == list(range(len(frames))) and suffix in readable_suffixes()
    for each, wanted in zip(found, frames, strict=True):
        np.testing.assert_array_equal(each.pixels, wanted)


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32, np.float64, ">i2"])
def test_more_than_8_bits_are_windowed_alike_in_every_frame(tmp_path: Path, kind: Any) -> None:
    values = np.stack([np.arange(600).reshape(20, 30), np.arange(600, 1200).reshape(20, 30)]).astype(kind)
    path = saved(tmp_path / "x.npy", values)
    for found in (read(path), read(path, window=(600, 1200))):
        assert found[0].deep and found[0].pixels.max() <= found[1].pixels.min()
    assert found[0].facts["window"] == "card"
    np.testing.assert_allclose(found[1].pixels, values[1].astype(float) / 1200 * 255, atol=0.51)
    assert [each.frame for each in read(path, frames="middle")] == [1]


def test_the_file_is_known_by_its_content_and_the_array_by_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=GRAY, mask=GRAY > 9)
    np.testing.assert_array_equal(read((tmp_path / "x.npz").rename(tmp_path / "x.dat"))[0].pixels, GRAY)
    np.savez(tmp_path / "y.npz", a=GRAY, b=GRAY)
    with pytest.raises(UnreadableError, match="2 arrays, of which not just one is called image or images"):
        read(tmp_path / "y.npz")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([{}], object), "its values are object"),
        (GRAY > 9, "its values are bool"),
        (GRAY.astype(complex), "its values are complex128"),
        (GRAY[0], "neither"),
        (GRAY[None, None], "neither"),
        (np.dstack([COLOR, GRAY]), "4 channels"),
        (np.zeros((0, 20, 30)), "holds no image"),
        (np.zeros((4, 0, 30)), "30 x 0 pixels"),
    ],
)
def test_an_array_that_is_no_image_is_refused(tmp_path: Path, values: np.ndarray, words: str) -> None:
    np.save(tmp_path / "x.npy", values, allow_pickle=True)
    with pytest.raises(UnreadableError, match=words):
        read(tmp_path / "x.npy")


@pytest.mark.parametrize("shape", ["(99999, 99999)", "(500, 9000, 9000)", "(9, 9000, 9000)", "(-1, 9)"])
def test_what_declares_too_much_is_refused_before_it_is_allocated(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(1000)
    (tmp_path / "x.npy").write_bytes(array)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", array)
    (tmp_path / "x.npz").write_bytes(packed.getvalue())
    for name in ("x.npy", "x.npz"):
        with pytest.raises(UnreadableError, match=r"it declares|its array has|too short"):
            read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"x{suffix}", GRAY)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableError, match="cut off"):
        read(path)
