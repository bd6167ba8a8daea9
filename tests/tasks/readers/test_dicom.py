"""DICOM: pydicom's own files, and files of every kind of values that these tests write."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicoms import BUNDLED, SECRET, bundled, write
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_windowing

from mednet_bench.tasks.images.reader import ReaderTable, UnreadableError, read_images
from mednet_bench.tasks.images.window import to_levels

FILES = sorted(
    path
    for path in BUNDLED.rglob("*")
    if path.is_file() and (path.suffix == ".dcm" or path.read_bytes()[128:132] == b"DICM")
)
NO_PIXELS = (
    "chrJapMulti", "chrJapMultiExplicitIR6", "chrKoreanMulti", "chrSQEncoding", "chrSQEncoding1", "fall",
    "hotiron", "hotmetalblue", "pet", "pet20step", "spring", "summer", "winter", "ExplVR_BigEndNoMeta",
    "ExplVR_LitEndNoMeta", "UN_sequence", "DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-empty",
    "DICOMDIR-implicit", "DICOMDIR-nooffset", "DICOMDIR-nopatient", "DICOMDIR-reordered", "empty_charset_LEI",
    "no_meta_group_length", "priv_SQ", "reportsi", "reportsi_with_empty_number_tags", "rtplan",
    "rtplan_truncated", "rtstruct", "test-SR", "waveform_ecg",
    *(path.stem for path in FILES if "TINY_ALPHA" in path.parts),  # 50 headers of an empty series
)  # fmt: skip
PLUGIN = (
    "GDCMJ2K_TextGBR", "JPEG-lossy", "JPGExtended", "JPEGLSNearLossless_08", "JPEGLSNearLossless_16",
    "MR_small_jpeg_ls_lossless", "SC_rgb_jls_lossy_line", "SC_rgb_jls_lossy_sample", "SC_rgb_jpeg_gdcm",
)  # fmt: skip
REFUSED = {
    **dict.fromkeys(NO_PIXELS, "it holds no pixel data"),
    **dict.fromkeys(PLUGIN, "needs optional packages: pip install mednet-bench[dicom]"),
    "JPEG2000-embedded-sequence-delimiter": "a compressed frame declares another size than the header",
    "MR_truncated": "its pixel data are cut off: 8,130 of 8,192 bytes",
    "badVR": "its number of frames is no number from 1",
    "meta_missing_tsyntax": "its header lacks the number of rows or columns",
    "nested_priv_SQ": "its header lacks the number of rows or columns",
    "no_meta": "it has no DICOM prefix",
}


def one(path: Path, **reading: Any) -> Any:
    """Read a file of one image."""
    [picture] = read_images(path, ReaderTable(**reading))
    return picture


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_that_pydicom_bundles_is_read_or_refused_for_a_listed_reason(path: Path) -> None:
    try:
        found = list(read_images(path))
    except UnreadableError as error:
        broken = path.stem == "JPEG-lossy" and "compressed pixel data are broken" in str(error)  # to plugins
        assert broken or REFUSED.get(path.stem, "nothing refuses it") in str(error)
        return
    assert path.stem not in REFUSED or path.stem in PLUGIN  # with the plugins those are read
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
    for picture in found:
        assert picture.pixels.shape[:2] == (dataset.Rows, dataset.Columns)
        assert picture.pixels.dtype == np.uint8
    if found[0].facts["window"] == "none: as stored" and dataset.BitsStored == 8:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            values = np.rint(apply_color_lut(values, dataset) / 257)  # from 16 bits
        np.testing.assert_array_equal(np.stack([each.pixels for each in found]).squeeze(), values.squeeze())


@pytest.mark.parametrize("name", ["MR_small", "MR_small_RLE", "693_J2KI", "dicomdirtests/98892001/CT5N/2062"])
def test_a_window_of_the_header_gives_what_pydicom_computes(name: str) -> None:
    path = bundled(name if "/" in name else f"{name}.dcm")
    dataset = pydicom.dcmread(path)
    shown = apply_windowing(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    ends = np.array([-(2 ** (dataset.BitsStored - 1)), 2 ** (dataset.BitsStored - 1) - 1], float)
    if "RescaleSlope" in dataset:
        ends = ends * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    wanted = 255 * (shown - ends[0]) / (ends[1] - ends[0])
    picture = one(path)
    assert picture.facts["window"].startswith("header: ")
    np.testing.assert_allclose(picture.pixels, wanted, atol=0.51)


def test_the_window_is_the_cards_then_the_headers_then_the_percentiles(tmp_path: Path) -> None:
    stored = np.arange(1000, dtype=np.int16).reshape(20, 50)
    scaled = {"RescaleSlope": 2, "RescaleIntercept": -100}
    bare = write(tmp_path / "bare.dcm", stored, **scaled)
    windowed = write(tmp_path / "windowed.dcm", stored, **scaled, WindowCenter=[300, 7], WindowWidth=[201, 7])
    card = one(windowed, window=(300, 200))
    header, percentiles = one(windowed), one(bare)
    assert [each.facts["window"] for each in (card, header, percentiles)] == [
        "card", "header: 300, 201 LINEAR", "percentiles",
    ]  # fmt: skip
    values = stored * 2.0 - 100
    np.testing.assert_allclose(card.pixels, np.clip((values - 200) / 200, 0, 1) * 255, atol=0.51)
    np.testing.assert_allclose(header.pixels, np.clip((values - 199.5) / 200, 0, 1) * 255, atol=0.51)
    low, high = np.percentile(values, [0.5, 99.5])
    np.testing.assert_allclose(
        percentiles.pixels, np.clip((values - low) / (high - low), 0, 1) * 255, atol=0.8
    )


@pytest.mark.parametrize(
    "padding",
    [
        {"PixelPaddingValue": -2000},
        {"PixelPaddingValue": 63536},  # the same, as scanners write it that take it for unsigned
        {"PixelPaddingValue": -2048, "PixelPaddingRangeLimit": -1999},
    ],
)
@pytest.mark.parametrize("tissue", [[100, 200], [100]])
def test_padding_is_no_part_of_the_percentiles(
    tmp_path: Path, padding: dict[str, int], tissue: list[int]
) -> None:
    values = np.full((64, 64), -2000, np.int16)
    values[20:] = np.resize(tissue, (44, 64))
    values[30, 30] = 201
    path = write(tmp_path / "padded.dcm", values)
    dataset = pydicom.dcmread(path)
    for name, value in padding.items():
        dataset.add_new(name, "US" if value > 0 else "SS", value)
    dataset.save_as(path)
    window = one(path).window
    assert (window.low, window.high) == (100, 200 if len(tissue) == 2 else 201)


def test_what_is_no_number_does_not_hide_a_nearly_even_image(tmp_path: Path) -> None:
    values = np.full((64, 64), np.nan, np.float32)
    values[:9, :9] = 5
    values[0, 0] = 9
    np.save(tmp_path / "x.npy", values)
    assert one(tmp_path / "x.npy").pixels.max() == 255


@pytest.mark.parametrize("slope", [1, -3])
def test_monochrome1_is_inverted_and_a_negative_slope_is_not_forgotten(tmp_path: Path, slope: int) -> None:
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    facts = {"BitsStored": 12, "RescaleSlope": slope, "RescaleIntercept": 0}
    rising = one(write(tmp_path / "2.dcm", stored, **facts)).pixels
    falling = one(write(tmp_path / "1.dcm", stored, PhotometricInterpretation="MONOCHROME1", **facts)).pixels
    np.testing.assert_array_equal(rising, 255 - falling)
    assert (int(rising[0, 0]) < int(rising[-1, -1])) == (slope > 0)


def test_bits_that_do_not_count_carry_neither_sign_nor_image(tmp_path: Path) -> None:
    true = np.linspace(-2048, 2047, 600).astype(np.int16).reshape(20, 30)
    dirty = (true & 0x0FFF) | np.int16(0x3000)  # an overlay in the upper bits, and no sign
    window = {"WindowCenter": 0, "WindowWidth": 4096}
    clean = one(write(tmp_path / "clean.dcm", true, BitsStored=12, **window)).pixels
    np.testing.assert_array_equal(
        one(write(tmp_path / "dirty.dcm", dirty, BitsStored=12, **window)).pixels, clean
    )
    np.testing.assert_allclose(clean, (true + 2048) / 4095 * 255, atol=0.51)


def test_values_may_end_above_the_lowest_bit(tmp_path: Path) -> None:
    true = np.arange(600, dtype=np.uint16).reshape(20, 30)
    window = {"WindowCenter": 300, "WindowWidth": 600, "BitsStored": 12}
    clean = one(write(tmp_path / "clean.dcm", true, **window)).pixels
    shifted = true << 4 | 7  # HighBit is 15: the lowest four bits do not count
    np.testing.assert_array_equal(one(write(tmp_path / "x.dcm", shifted, HighBit=15, **window)).pixels, clean)
    dataset = pydicom.dcmread(bundled("MR_small_RLE.dcm"))
    dataset.HighBit, dataset.BitsStored = 15, 12
    dataset.save_as(tmp_path / "rle.dcm")
    with pytest.raises(UnreadableError, match="do not end at the lowest bit"):
        one(tmp_path / "rle.dcm")


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [("MONOCHROME2", "INVERSE", True), ("MONOCHROME2", "IDENTITY", False), ("MONOCHROME1", "INVERSE", True)],
)
def test_the_shape_of_the_presentation_lut_is_obeyed(
    tmp_path: Path, photometric: str, shape: str, inverted: bool
) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    elements = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    shown = one(write(tmp_path / "x.dcm", stored, **elements)).pixels
    np.testing.assert_array_equal(shown, 255 - stored if inverted else stored)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 150, "WindowWidth": 101}])
def test_padding_is_black_whatever_its_value(
    tmp_path: Path, photometric: str, window: dict[str, int]
) -> None:
    values = np.tile(np.arange(100, 200, dtype=np.int16), (64, 1))
    pads = -2000 if photometric == "MONOCHROME1" else 3000  # would be white
    values[:9] = pads
    elements = {"PhotometricInterpretation": photometric, **window}
    path = write(tmp_path / "x.dcm", values, **elements)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "SS", pads)
    dataset.save_as(path)
    shown = one(path).pixels
    assert not shown[:9].any() and shown[9:].min() < 5 and shown[9:].max() > 250


def test_padding_of_floats_is_no_part_of_the_percentiles(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", np.zeros((8, 8), np.uint16))
    dataset = pydicom.dcmread(path)
    values = np.tile(np.linspace(1, 2, 8, dtype=np.float32), (8, 1))
    values[:3] = -1e6
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.FloatPixelData, dataset.BitsAllocated, dataset.FloatPixelPaddingValue = values.tobytes(), 32, -1e6
    dataset.save_as(path)
    window = one(path).window
    assert (window.low, window.high) == (1, 2)


def test_a_modality_table_and_the_groups_of_a_frame_are_obeyed(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    table = Dataset()
    table.LUTDescriptor, table.LUTData, table.ModalityLUTType = [256, 0, 16], list(range(1255, 999, -1)), "US"
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    window = {"WindowCenter": 1128, "WindowWidth": 256}
    shown = one(write(tmp_path / "t.dcm", stored, ModalityLUTSequence=[table], **window)).pixels
    np.testing.assert_allclose(shown, 255 - stored, atol=1)
    frames = []
    for slope in (1, 2):
        scale, view, frame = Dataset(), Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = slope, 0
        view.WindowCenter, view.WindowWidth = 128, 256
        frame.PixelValueTransformationSequence, frame.FrameVOILUTSequence = [scale], [view]
        frames.append(frame)
    path = write(tmp_path / "f.dcm", np.stack([stored, stored]), PerFrameFunctionalGroupsSequence=frames)
    first, second = (picture.pixels for picture in read_images(path))
    np.testing.assert_array_equal(first, stored)
    np.testing.assert_array_equal(second, np.minimum(stored.astype(int) * 2, 255))


def test_planes_of_color_and_a_profile_of_it(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = write(tmp_path / "x.dcm", rgb, ICCProfile=b"profile ")
    dataset = pydicom.dcmread(path)
    dataset.PlanarConfiguration, dataset.PixelData = 1, rgb.transpose(2, 0, 1).tobytes()
    dataset.save_as(path)
    picture = one(path)
    np.testing.assert_array_equal(picture.pixels, rgb)
    assert picture.facts["profile"] == "ICC, not applied" and not picture.is_gray


@pytest.mark.parametrize("word", ["", " ", "UNKNOWN", "anonymous", "-"])
def test_a_patient_id_that_names_nobody_is_not_known(tmp_path: Path, word: str) -> None:
    picture = one(write(tmp_path / "x.dcm", np.ones((4, 4), np.int16), PatientID=word))
    assert (picture.group, picture.patient_known) == ("1.2.3", False)


def test_sixteen_bits_keep_what_eight_would_round_away(tmp_path: Path) -> None:
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = write(tmp_path / "x.dcm", stored, BitsStored=12)
    deep = one(path, window=(2047.5, 4095))
    pixels = to_levels(deep.brightness, 16)
    assert deep.deep and pixels.dtype == np.uint16
    np.testing.assert_allclose(pixels, stored / 4095 * 65535, atol=0.51)
    assert not one(write(tmp_path / "y.dcm", stored.astype(np.uint8))).deep


def test_frames_are_chosen_evenly(tmp_path: Path) -> None:
    stored = np.arange(9, dtype=np.uint8)[:, None, None] + np.zeros((9, 4, 6), np.uint8)
    path = write(tmp_path / "x.dcm", stored)

    def chosen(frames: Any) -> list[tuple[int, int]]:
        return [
            (each.frame, int(each.pixels[0, 0])) for each in read_images(path, ReaderTable(frames=frames))
        ]

    assert chosen("all") == [(at, at) for at in range(9)]
    assert chosen("middle") == [(4, 4)]
    assert chosen(3) == [(1, 1), (4, 4), (7, 7)]
    assert len(chosen(50)) == 9
    [compressed] = read_images(bundled("SC_rgb_rle_2frame.dcm"), ReaderTable(frames="middle"))
    np.testing.assert_array_equal(
        compressed.pixels, pydicom.dcmread(bundled("SC_rgb_rle_2frame.dcm")).pixel_array[1]
    )


def test_color_of_every_kind_becomes_rgb(tmp_path: Path) -> None:
    from pydicom.pixels import convert_color_space

    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(one(write(tmp_path / "rgb.dcm", rgb)).pixels, rgb)
    ybr = convert_color_space(rgb, "RGB", "YBR_FULL")
    shown = one(write(tmp_path / "ybr.dcm", ybr, PhotometricInterpretation="YBR_FULL")).pixels
    np.testing.assert_allclose(shown.astype(int), rgb.astype(int), atol=2)
    deep = rgb.astype(np.uint16) << 8 | 7
    picture = one(write(tmp_path / "16.dcm", deep))
    np.testing.assert_allclose(picture.pixels, deep / 257, atol=0.51)
    np.testing.assert_array_equal(to_levels(picture.brightness, 16), deep)


def test_a_voi_table_and_a_sigmoid_are_followed(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 12], [int(x) for x in np.arange(256)[::-1] * 16]
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    path = write(tmp_path / "table.dcm", stored, BitsStored=12, VOILUTSequence=[table])
    assert one(path).facts["window"] == "header: VOI table"
    np.testing.assert_allclose(one(path).pixels.ravel(), np.arange(256)[::-1] * 16 / 4095 * 255, atol=0.51)
    curve = {"WindowCenter": 128, "WindowWidth": 64, "VOILUTFunction": "SIGMOID"}
    shown = one(write(tmp_path / "sigmoid.dcm", stored, **curve)).pixels
    np.testing.assert_allclose(shown, 255 / (1 + np.exp(-4 * (stored - 128.0) / 64)), atol=0.51)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Rows": 60000, "Columns": 60000}, "declares an image of 60000 x 60000 pixels, and at most"),
        ({"Rows": 0}, "declares an image of 4 x 0 pixels"),
        ({"NumberOfFrames": 2**31 - 1}, "its pixel data are cut off: 16 of 34,359,738,352 bytes"),
        ({"PhotometricInterpretation": SECRET}, "its photometric interpretation is missing, or"),
        ({"SamplesPerPixel": 3}, "it declares 3 samples per pixel with MONOCHROME2"),
        ({"Columns": None}, "its header lacks the number of rows or columns"),
        ({"BitsStored": 9, "HighBit": 8}, "declares more bits than a value has"),
        ({"HighBit": 5}, "declares more bits than a value has"),
        ({"Modality": "SM", "ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, "is the label, overview"),
        ({"WindowCenter": 1, "WindowWidth": 9, "VOILUTFunction": "LOG"}, "its VOI LUT function is none"),
        (
            {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PixelRepresentation": 1},
            "with a sign",
        ),
    ],
)
def test_a_header_that_lies_is_refused_before_anything_is_allocated(
    tmp_path: Path, elements: dict[str, Any], reason: str
) -> None:
    path = write(tmp_path / "x.dcm", np.zeros((4, 4), np.uint8), **elements)
    with pytest.raises(UnreadableError, match=reason) as raised:
        list(read_images(path))
    assert SECRET not in str(raised.value)


def test_boxes_that_lead_nowhere_do_not_lead_pydicom_into_an_endless_search(tmp_path: Path) -> None:
    content = bundled("GDCMJ2K_TextGBR.dcm").read_bytes()
    at = content.index(b"jp2h") - 4
    (tmp_path / "x.dcm").write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    with pytest.raises(UnreadableError, match="the boxes around its JPEG 2000 data are broken"):
        one(tmp_path / "x.dcm")


def test_a_deflated_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mednet_bench.tasks.readers.dicom.LARGEST_FILE", 100_000)
    with pytest.raises(UnreadableError, match="it inflates to more than"):
        list(read_images(bundled("image_dfl.dcm")))


def test_nothing_that_identifies_is_in_the_facts_and_the_group_is_as_asked(tmp_path: Path) -> None:
    path = write(tmp_path / f"{SECRET}.dcm", np.ones((4, 4), np.int16), WindowCenter=1, WindowWidth=5)
    picture = one(path)
    assert SECRET not in str(dict(picture.facts)) and "1.2.3" not in str(dict(picture.facts))
    assert picture.group == f"{SECRET}-17"
    assert one(path, group_by="study").group == "1.2.3"
    nameless = write(tmp_path / "x.dcm", np.ones((4, 4), np.int16), PatientID=None, StudyInstanceUID=None)
    assert one(nameless).group == "1.2.3.4"


def test_a_file_without_suffix_or_with_another_is_read_by_its_first_bytes(tmp_path: Path) -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for name in ("IM0001", "1.2.840.7", "x.png"):
        np.testing.assert_array_equal(one(write(tmp_path / name, pixels)).pixels, pixels)


def test_an_uncompressed_file_without_prefix_is_read_as_older_machines_wrote_it(tmp_path: Path) -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    whole = write(tmp_path / "whole.dcm", pixels, SpecificCharacterSet="ISO_IR 100").read_bytes()
    begin = 144 + int.from_bytes(whole[140:144], "little")
    (tmp_path / "old.dcm").write_bytes(whole[begin:])
    np.testing.assert_array_equal(one(tmp_path / "old.dcm").pixels, pixels)


def test_spacing_is_down_then_right(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", np.zeros((4, 4), np.uint8), PixelSpacing=[2, 0.5])
    assert one(path).spacing == (2.0, 0.5)
    assert one(bundled("examples_rgb_color.dcm")).spacing is None
    assert one(write(path, np.zeros((4, 4), np.uint8), PixelAspectRatio=[2, 1])).spacing == (2.0, 1.0)
