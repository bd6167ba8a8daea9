"""Cache of prepared files: 16 bits, content-addressed folders, kills and damage."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mednet_bench.core.errors import UserError
from mednet_bench.core.leases import claim_lock
from mednet_bench.tasks.from_files.area_resize import area_resize
from mednet_bench.tasks.from_files.file_traits import columns_of, join_columns
from mednet_bench.tasks.from_files.letterbox import letterbox
from mednet_bench.tasks.from_files.prepared import PreparedTask, prepare_task
from mednet_bench.tasks.from_files.source import FilesSource
from mednet_bench.tasks.images.bit_depth import to_uint8
from mednet_bench.tasks.images.reader import ReadImage
from mednet_bench.tasks.images.window import GrayWindow
from mednet_bench.tasks.local_cards import local_task
from mednet_bench.tasks.task import SPLITS


def ready(card: Path, side: int = 16) -> PreparedTask:
    source = local_task(card).source
    assert isinstance(source, FilesSource)
    return prepare_task(source.spec, side)


def folders(cache: Path) -> list[Path]:
    return [path for path in (cache / "files").iterdir() if path.is_dir()]


def test_a_pixel_is_the_mean_of_its_area() -> None:
    values = np.random.default_rng(0).random((60, 90)).astype(np.float32)
    blocks = values.reshape(20, 3, 45, 2).mean((1, 3))
    np.testing.assert_allclose(area_resize(values, 20, 45), blocks, atol=1e-6)
    # of 3 pixels each half takes one and a half
    line = np.array([[0.0, 0.6, 0.9]], np.float32)
    np.testing.assert_allclose(area_resize(line, 1, 2), [[0.2, 0.8]], atol=1e-6)
    assert area_resize(values, 60, 90) is values
    for height, width in ((59, 7), (1, 1), (41, 90)):
        assert area_resize(values, height, width).mean() == pytest.approx(values.mean(), abs=1e-5)


def test_sixteen_bits_are_resized_before_they_are_rounded() -> None:
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 4096
    picture = ReadImage(ramp, GrayWindow(0.0, 4095.0, "card"), deep=True)
    deep = letterbox(picture, False, 16)
    means = ramp.reshape(16, 4, 16, 4).mean((1, 3))
    assert deep.dtype == np.uint16
    np.testing.assert_allclose(deep, means / 4095 * 65535, atol=1)
    shallow = letterbox(picture, False, 16, bits=8)
    assert shallow.dtype == np.uint8
    np.testing.assert_allclose(shallow, to_uint8(deep), atol=1)


def test_the_cache_has_as_many_bits_as_the_files_and_the_card_can_want_fewer(ward: Path) -> None:
    card = ward / "ward.toml"
    assert ready(card).manifest.bits == 16
    deep = ready(card).folder.split("train").images
    card.write_text(card.read_text() + "[reader]\nbits = 8\n")
    assert ready(card).manifest.bits == 8
    shallow = ready(card).folder.split("train").images
    assert shallow.dtype == np.uint8
    np.testing.assert_allclose(shallow.astype(int), to_uint8(deep).astype(int), atol=1)
    for path in ward.rglob("*.dcm"):  # the same paths, now PNGs of 8 bits
        Image.fromarray(np.full((9, 9), len(path.name), np.uint8)).save(path, "png")
    card.write_text(card.read_text().replace("bits = 8", "bits = 16"))
    assert ready(card).manifest.bits == 8


def test_what_was_touched_or_moved_is_kept_once(ward: Path, cache: Path) -> None:
    first = ready(ward / "ward.toml")
    for path in ward.rglob("*.dcm"):
        os.utime(path, (1, 1))
    assert ready(ward / "ward.toml").folder == first.folder
    shutil.move(ward, ward.parent / "elsewhere")
    assert ready(ward.parent / "elsewhere" / "ward.toml") == first
    assert len(folders(cache)) == 1
    [path, *_] = sorted((ward.parent / "elsewhere").rglob("*.dcm"))
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(path, "png")
    other = ready(ward.parent / "elsewhere" / "ward.toml")
    assert other.folder != first.folder and other.manifest.content != first.manifest.content
    assert other.manifest.split_hash == first.manifest.split_hash


def test_leftovers_of_a_killed_run_are_removed_and_damage_is_reported(ward: Path, cache: Path) -> None:
    folder = ready(ward / "ward.toml").folder.path
    notes = list((cache / "files").glob("*.json"))  # of the state of the card, and of the decoded files
    note = notes[0]
    half, other, busy = (note.with_name(f"{name}.preparing") for name in (note.stem, "other", "busy"))
    for left in (half, other, busy):  # `other` is of a card that was changed since
        (left / "arrays").mkdir(parents=True)
    for each in notes:
        each.unlink()
    with claim_lock(busy.with_suffix(".lock")):
        assert ready(ward / "ward.toml").folder.path == folder
    assert not half.exists() and not other.exists() and busy.exists()
    for damage in ("", "no note"):
        for each in notes:
            each.write_text(damage)
        assert ready(ward / "ward.toml").folder.path == folder
    (folder / "test_images.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match="is damaged: delete it"):
        ready(ward / "ward.toml").folder.split("test")
    shutil.rmtree(folder)
    assert len(ready(ward / "ward.toml").folder.split("test")) == 8


@pytest.mark.parametrize("side", [-5, 0, 4097, 10**9])
def test_a_side_that_is_none_or_fits_no_memory_is_refused(ward: Path, side: int) -> None:
    with pytest.raises(UserError, match=f"1 to 4,096 pixels a side, not {side}"):
        ready(ward / "ward.toml", side)


def test_the_manifest_has_a_row_per_image_and_no_name(ward: Path) -> None:
    from dicoms import SECRET

    found = ready(ward / "ward.toml")
    with (found.folder.path / "splits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [sum(row["split"] == name for row in rows) for name in SPLITS] == [24, 8, 8]
    assert len({row["image"] for row in rows}) == 40 and len({row["group"] for row in rows}) == 20
    for path in found.folder.path.iterdir():
        content = path.read_bytes()
        assert SECRET.encode() not in content and SECRET.encode("utf-32-le") not in content, path.name


def test_what_files_say_beside_their_pixels_is_kept_for_the_audit(ward: Path) -> None:
    split = ready(ward / "ward.toml").folder.split("train")
    assert set(split.traits["height"]) == {40.0} and set(split.traits["width"]) == {32.0}
    assert (split.traits["bytes"] > 2560).all()
    assert all(len(values) == 24 for values in split.traits.values())


@pytest.mark.filterwarnings("ignore:The value length")
def test_text_of_headers_is_distinguished_and_not_readable(ward: Path) -> None:
    from dicoms import SECRET, write

    for number, path in enumerate(sorted(ward.rglob("*.dcm"))):
        maker = (SECRET, f"{SECRET} & Sons {'x' * 9999}", None)[number % 3]
        write(path, np.full((40, 32), number, np.int16), Manufacturer=maker)
    found = ready(ward / "ward.toml").folder
    makers = {maker for name in SPLITS for maker in found.split(name).traits["Manufacturer"].tolist()}
    assert len(makers) == 3 and "" in makers and max(map(len, makers)) <= 16
    for path in found.path.iterdir():
        assert SECRET.encode("utf-32-le") not in path.read_bytes(), path.name


def test_traits_of_files_of_several_kinds_become_columns_with_gaps() -> None:
    first = columns_of([{"bytes": 7.0, "format": "PNG"}, {"bytes": 9.0, "KVP": 120.0}])
    second = columns_of([{"KVP": "high", "bytes": 1.0}])
    both = join_columns([(2, first), (1, second), (0, {})])
    assert both["bytes"].tolist() == [7, 9, 1]
    assert both["format"].tolist() == ["PNG", "", ""]
    assert both["KVP"].tolist() == ["", "120.0", "high"]
    assert np.isnan(first["KVP"][0])
