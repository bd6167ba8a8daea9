"""PNG, JPEG, TIFF and NIfTI: depth, palettes, transparency, rotation, orientation, and bombs."""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from mednet_bench.tasks.images.reader import (
    ReaderTable,
    ReadImage,
    UnreadableError,
    read_images,
    readable_suffixes,
)
from mednet_bench.tasks.images.window import to_levels

GRAY = np.arange(600, dtype=np.uint8).reshape(20, 30)
COLOR = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP = (np.arange(600, dtype=np.uint16) * 100).reshape(20, 30)


def one(path: Path, **reading: Any) -> ReadImage:
    """Read a file of one image."""
    [picture] = read_images(path, ReaderTable(**reading))
    return picture


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("pixels", [GRAY, COLOR], ids=["gray", "color"])
def test_eight_bits_are_read_as_they_stand(tmp_path: Path, suffix: str, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(one(tmp_path / f"x{suffix}").pixels, pixels)
    assert suffix in readable_suffixes()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_windowed_and_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(DEEP).save(path)
    whole = one(path, window=(65535 / 2, 65535))
    assert whole.deep
    np.testing.assert_array_equal(to_levels(whole.brightness, 16), DEEP)
    narrow = one(path, window=(30000, 20000))
    assert narrow.facts["window"] == "card"
    np.testing.assert_allclose(
        narrow.pixels, np.clip((DEEP.astype(float) - 20000) / 20000, 0, 1) * 255, atol=0.51
    )
    automatic = one(path)
    assert automatic.facts["window"] == "percentiles"
    low, high = np.percentile(DEEP, [0.5, 99.5])
    np.testing.assert_allclose(automatic.pixels, np.clip((DEEP - low) / (high - low), 0, 1) * 255, atol=1)


def test_a_float_tiff_is_windowed_and_what_is_no_number_is_black(tmp_path: Path) -> None:
    values = DEEP.astype(np.float32) / 1e4
    values[3, 3] = np.nan
    Image.fromarray(values).save(tmp_path / "x.tif")
    pixels = one(tmp_path / "x.tif").pixels
    assert pixels[3, 3] == 0 and pixels[-1, -1] == 255


def test_transparency_lies_over_black(tmp_path: Path) -> None:
    alpha = np.full((20, 30), 128, np.uint8)
    alpha[:, :10], alpha[:, 20:] = 0, 255
    for pixels in (GRAY, COLOR):
        part = alpha if pixels.ndim == 2 else alpha[..., None]
        Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "x.png")
        np.testing.assert_allclose(one(tmp_path / "x.png").pixels, pixels * (part / 255.0), atol=1)


def test_a_palette_becomes_rgb_and_a_gray_palette_gray(tmp_path: Path) -> None:
    flat = np.repeat([0, 1, 2], 200).astype(np.uint8).reshape(20, 30)
    palettes = {"color": [255, 0, 0, 0, 255, 0, 9, 9, 9], "gray": [5, 5, 5, 200, 200, 200, 9, 9, 9]}
    for name, palette in palettes.items():
        image = Image.fromarray(flat)
        image.putpalette(palette)  # turns "L" into "P"
        image.save(tmp_path / "x.png")
        wanted = np.array(palette, np.uint8).reshape(3, 3)[flat]
        np.testing.assert_array_equal(
            one(tmp_path / "x.png").pixels, wanted if name == "color" else wanted[..., 0]
        )
    image.save(tmp_path / "x.png", transparency=1)
    assert (one(tmp_path / "x.png").pixels[flat == 1] == 0).all()


def test_exif_turns_the_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera stood on its right side
    for suffix in (".png", ".jpg", ".tif"):
        Image.fromarray(COLOR).save(tmp_path / f"x{suffix}", exif=exif)
        assert one(tmp_path / f"x{suffix}").pixels.shape == (30, 20, 3)
    np.testing.assert_array_equal(one(tmp_path / "x.png").pixels, np.rot90(COLOR, -1))


def test_cmyk_and_one_bit_become_what_they_look_like(tmp_path: Path) -> None:
    Image.fromarray(COLOR).convert("CMYK").save(tmp_path / "x.tif")
    np.testing.assert_array_equal(one(tmp_path / "x.tif").pixels, COLOR)
    Image.fromarray(GRAY > 99).save(tmp_path / "x.png")
    np.testing.assert_array_equal(one(tmp_path / "x.png").pixels, (GRAY > 99) * 255)


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_white_may_be_zero(tmp_path: Path, kind: type) -> None:
    values = DEEP.astype(kind)
    Image.fromarray(values).save(tmp_path / "x.tif")
    Image.fromarray(values).save(tmp_path / "turned.tif", tiffinfo={262: 0})
    whole = (65535 / 2, 65535)
    turned = one(tmp_path / "turned.tif", window=whole)
    np.testing.assert_allclose(
        turned.brightness, 1 - one(tmp_path / "x.tif", window=whole).brightness, atol=1e-6
    )


def test_the_pages_of_a_tiff_are_frames(tmp_path: Path) -> None:
    pages = [Image.fromarray(GRAY + at) for at in range(5)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    found = list(read_images(tmp_path / "x.tif", ReaderTable(frames=2)))
    assert [each.frame for each in found] == [1, 3]
    np.testing.assert_array_equal(found[1].pixels, GRAY + 3)


def test_pyramid_levels_thumbnails_labels_and_masks_are_no_images(tmp_path: Path) -> None:
    """As slide scanners write them: some marked by a tag, some only smaller."""
    slide, second = Image.fromarray(COLOR), Image.fromarray(COLOR[::-1].copy())
    small, label = slide.resize((15, 10)), Image.fromarray(COLOR[:, :12])
    marked = {254: 1}

    def save(name: str, pages: list[tuple[Image.Image, dict[int, int]]]) -> Path:
        from PIL.TiffImagePlugin import AppendingTiffWriter

        with AppendingTiffWriter(str(tmp_path / name), True) as file:
            for page, tags in pages:
                page.save(file, format="TIFF", tiffinfo=tags)
                file.newFrame()
        return tmp_path / name

    def pages(path: Path) -> list[int]:
        return [picture.frame for picture in read_images(path)]

    assert pages(save("slide.tif", [(slide, {}), (small, {}), (label, marked), (label, {254: 9})])) == [0]
    assert pages(save("last.tif", [(small, marked), (label, {}), (slide, {})])) == [2]
    assert pages(save("mask.tif", [(slide, {}), (slide, {254: 4}), (slide, {255: 2})])) == [0]
    assert pages(save("volume.tif", [(slide, {254: 2}), (second, {254: 2}), (slide, {254: 2})])) == [0, 1, 2]
    assert pages(save("all.tif", [(slide, marked), (small, marked)])) == [0]
    np.testing.assert_array_equal(one(tmp_path / "last.tif").pixels, COLOR)


@pytest.mark.parametrize(("suffix", "options"), [(".png", {}), (".jpg", {"quality": 60}), (".tif", {})])
def test_gray_stored_in_color_is_known(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (60, 50), dtype=np.uint8)
    Image.fromarray(gray).convert("RGB").save(tmp_path / f"x{suffix}", **options)
    picture = one(tmp_path / f"x{suffix}")
    assert picture.values.ndim == 3 and picture.is_gray
    tinted = np.stack([gray] * 3, axis=-1)
    tinted[33, 17] = 200, 190, 200  # a pixel that a sample does not meet
    Image.fromarray(tinted).save(tmp_path / "tinted.png")
    assert not one(tmp_path / "tinted.png").is_gray


def bomb(path: Path, side: int) -> Path:
    """Write a PNG of a few bytes that declares a large image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_picture_that_declares_too_much_is_refused(tmp_path: Path, side: int) -> None:
    with pytest.raises(UnreadableError, match="it declares"):
        one(bomb(tmp_path / "x.png", side))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"hello", "its header is broken"),
        (b"\x89PNG\r\n\x1a\n123", "its header is broken"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(UnreadableError, match=reason):
        one(tmp_path / "x.png")
    (tmp_path / "x.docx").write_bytes(b"hello")
    with pytest.raises(UnreadableError, match="its format is not known"):
        one(tmp_path / "x.docx")
    with pytest.raises(UnreadableError, match=r"it cannot be opened \(No such file"):
        one(tmp_path / "missing.png")


def test_a_truncated_picture_is_refused(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".tif"):
        path = tmp_path / f"x{suffix}"
        Image.fromarray(COLOR).save(path)
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(UnreadableError):
            one(path)


def volume() -> np.ndarray:
    """Brightest right, less bright in front, least at the head; in the order right, front, head."""
    right, front, head = np.meshgrid(np.arange(6), np.arange(7), np.arange(5), indexing="ij")
    return (100 * right + 10 * front + head).astype(np.int16)


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, 1, -1)])
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_a_volume_looks_the_same_however_it_was_stored(
    tmp_path: Path, flips: tuple[int, int, int], name: str
) -> None:
    stored = volume()[:: flips[0], :: flips[1], :: flips[2]].transpose(1, 0, 2)
    affine = np.eye(4)
    affine[:3, :3] = np.diag([flip * size for flip, size in zip(flips, (1, 2, 5), strict=True)])[:, [1, 0, 2]]
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / name)
    found = list(read_images(tmp_path / name, ReaderTable(window=(300, 600))))
    assert len(found) == 5 and found[0].pixels.shape == (7, 6)
    assert found[0].facts["plane"] == "axial" and found[0].spacing == (2.0, 1.0)
    gray = np.clip(volume() / 600, 0, 1) * 255
    # the patient's right is on the left of the picture, the front above, and the head comes first
    np.testing.assert_allclose(found[0].pixels, gray[::-1, ::-1, 4].T, atol=0.51)
    [coronal] = read_images(tmp_path / name, ReaderTable(window=(300, 600), plane="coronal", frames="middle"))
    np.testing.assert_allclose(coronal.pixels, gray[::-1, 3, ::-1].T, atol=0.51)
    assert coronal.spacing == (5.0, 1.0)


def test_of_four_dimensions_the_first_volume_is_taken_and_its_scale_followed(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.stack([volume(), volume() * 0], -1), np.diag([1, 1, 5, 1]))
    image.header.set_slope_inter(2, -10)
    nibabel.save(image, tmp_path / "x.nii")
    found = next(read_images(tmp_path / "x.nii", ReaderTable(window=(300, 600))))
    values = nibabel.load(tmp_path / "x.nii").get_fdata()[..., 0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.pixels, np.clip(values[::-1, ::-1, 4].T / 600, 0, 1) * 255, atol=0.51)


@pytest.mark.parametrize("side", [500, 8000])
def test_a_volume_that_declares_too_much_is_refused(tmp_path: Path, side: int) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((side, side, side))
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name, content in (("x.nii", header.binaryblock), ("x.nii.gz", gzip.compress(header.binaryblock))):
        (tmp_path / name).write_bytes(content + bytes(100))
        with pytest.raises(UnreadableError, match=r"its volume has|the file is too short"):
            one(tmp_path / name)


def test_the_settings_of_a_card_are_checked() -> None:
    with pytest.raises(ValueError, match="width of a window"):
        ReaderTable(window=(40, 0))
    with pytest.raises(ValueError, match="frames must be"):
        ReaderTable(frames=0)
