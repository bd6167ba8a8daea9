"""Every defect of an npz is one sentence that names the file; sound files match `Split`."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mednet_bench.core.errors import UserError
from mednet_bench.tasks.from_npz import arrays as npz
from mednet_bench.tasks.from_npz.arrays import NpzLayout, image_side, read_npz

GRAY = NpzLayout("multiclass", 3, "gray")


def saved(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(path / "set.npz", **arrays)
    return path / "set.npz"


def refusal(path: Path, layout: NpzLayout = GRAY) -> str:
    with pytest.raises(UserError) as caught:
        read_npz(path, layout)
    message = str(caught.value)
    assert str(path) in message and message.endswith(".") and "\n" not in message
    return message


def test_labels_are_squeezed_to_int64(tmp_path, arrays):
    splits = read_npz(saved(tmp_path, arrays), GRAY)
    assert list(splits) == ["train", "val", "test"]
    train = splits["train"]
    assert train.images.dtype == np.uint8 and train.images.shape == (12, 8, 8)
    assert train.labels.dtype == np.int64 and train.labels.shape == (12,)
    np.testing.assert_array_equal(train.labels, arrays["train_labels"][:, 0])
    assert train.groups is None


def test_multilabel_labels_keep_their_columns(tmp_path, arrays):
    for split in ("train", "val", "test"):
        arrays[f"{split}_labels"] = np.eye(3, dtype=np.uint8)[arrays[f"{split}_labels"][:, 0]]
    labels = read_npz(saved(tmp_path, arrays), NpzLayout("multilabel", 3, "gray"))["val"].labels
    np.testing.assert_array_equal(labels, arrays["val_labels"])
    assert "need [12]" in refusal(saved(tmp_path, arrays))


def test_a_trailing_gray_channel_is_dropped(tmp_path, arrays):
    arrays["train_images"] = arrays["train_images"][..., None]
    assert read_npz(saved(tmp_path, arrays), GRAY)["train"].images.shape == (12, 8, 8)


def test_whole_floats_are_labels_and_others_are_not(tmp_path, arrays):
    arrays["val_labels"] = arrays["val_labels"].astype(float)
    assert read_npz(saved(tmp_path, arrays), GRAY)["val"].labels.dtype == np.int64
    arrays["val_labels"][0] = np.nan
    assert "whole numbers" in refusal(saved(tmp_path, arrays))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_images": None}, "no array train_images"),
        ({"test_labels": None}, "no array test_labels"),
        ({"train_images": np.zeros((12, 8, 8), np.float32)}, "float32 and must be uint8"),
        ({"train_images": np.zeros((12, 8, 9), np.uint8)}, "shape [12, 8, 9]"),
        ({"train_images": np.zeros((12, 8, 8, 3), np.uint8)}, "correct the file or its variant"),
        ({"train_images": np.zeros((12, 9, 9), np.uint8)}, "different sizes"),
        ({"val_images": np.zeros((0, 8, 8), np.uint8)}, "val_images is empty"),
        ({"train_labels": np.zeros(11, np.uint8)}, "shape [11]"),
        ({"train_labels": np.full(12, 3, np.uint8)}, "holds 3, but labels run from 0 to 2"),
        ({"train_labels": np.full(12, -1, np.int8)}, "holds -1"),
        ({"train_labels": np.array(["a"] * 12)}, "whole numbers"),
        ({"train_labels": np.array([None] * 12)}, "Python objects"),
        ({"train_groups": np.zeros(11, np.int32)}, "one whole number per image"),
        ({"train_groups": np.zeros(12, np.float32)}, "one whole number per image"),
    ],
)
def test_a_wrong_array_is_named(tmp_path, arrays, change, words):
    content = {name: array for name, array in (arrays | change).items() if array is not None}
    assert words in refusal(saved(tmp_path, content))


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path, arrays):
    path = saved(tmp_path, arrays)
    whole = path.read_bytes()
    for length in range(0, len(whole), 101):
        path.write_bytes(whole[:length])
        assert "cut short or damaged" in refusal(path)


def test_one_flipped_byte_in_the_images_is_noticed(tmp_path, arrays):
    np.savez(tmp_path / "set.npz", **arrays)  # stored, so that only the checksum can tell
    path = tmp_path / "set.npz"
    content = bytearray(path.read_bytes())
    content[content.find(arrays["train_images"].tobytes()) + 40] ^= 1
    path.write_bytes(content)
    assert "cut short or damaged" in refusal(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "set.npz"
    assert "no file" in refusal(path)
    path.write_text("<html>404</html>")
    assert "cut short or damaged" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "Cannot read" in refusal(path)


def test_a_forged_header_reserves_no_memory(tmp_path, arrays):
    """The header says 10 TB, the file has 12 bytes: numpy alone would ask for the memory first."""
    path = saved(tmp_path, arrays)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"shape": (10**9, 100, 100), "fortran_order": False, "descr": "|u1"}
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())
        archive.writestr("train_groups.npy", header.getvalue() + b"x" * 12)
    assert "cut short or damaged (train_groups declares 10000000000000 bytes and has 12)" in refusal(path)


def test_more_than_the_memory_is_refused_before_it_is_read(tmp_path, arrays, monkeypatch):
    path = saved(tmp_path, arrays)
    monkeypatch.setattr(npz.os, "sysconf", lambda name: 10)
    assert "choose a smaller size" in refusal(path)


def test_only_required_splits_must_be_there(tmp_path, arrays):
    del arrays["val_images"], arrays["val_labels"]
    arrays["train_images"] = np.zeros((0, 8, 8), np.uint8)
    path = saved(tmp_path, arrays)
    assert list(read_npz(path, NpzLayout("multiclass", 3, "gray", required=("test",)))) == ["test"]
    assert "no array val_images" in refusal(path, NpzLayout("multiclass", 3, "gray", required=("val",)))


def test_the_side_is_read_without_the_images(tmp_path, arrays):
    path = saved(tmp_path, arrays)
    assert image_side(path) == 8
    np.savez(path, train_labels=arrays["train_labels"])
    with pytest.raises(UserError, match="no array train_images"):
        image_side(path)


def test_images_of_no_known_group_are_not_one_group(tmp_path, arrays):
    arrays["train_groups"] = np.array([3, 3, *[-1] * 10])
    arrays["val_groups"] = np.full(len(arrays["val_images"]), -1)
    splits = read_npz(saved(tmp_path, arrays), GRAY)
    groups = splits["train"].groups
    assert groups is not None and groups[:2].tolist() == [3, 3]
    assert len(set(groups[2:].tolist())) == 10 and groups[2:].max() < -1
    assert not np.isin(splits["val"].groups, groups).any(), "nor where splits are joined"
    arrays["train_groups"][0] = -2
    assert "from 0, with -1 where" in refusal(saved(tmp_path, arrays))
