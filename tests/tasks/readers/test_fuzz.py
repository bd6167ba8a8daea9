"""Broken files: each mutant is read or refused with a reason, in bounded time and memory."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicoms import bundled, write
from PIL import Image

DICOM = (
    "MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "rtdose_rle.dcm",
    "GDCMJ2K_TextGBR.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "image_dfl.dcm", "liver_1frame.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
)  # fmt: skip


def seeds(folder: Path) -> None:
    """Fill a folder with a whole file of every kind."""
    rng = np.random.default_rng(0)
    for name in DICOM:
        shutil.copy(bundled(name), folder / name)
    deep = rng.integers(0, 4096, (40, 30), dtype=np.uint16)
    color = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    write(folder / "voi.dcm", deep, BitsStored=12, WindowCenter=600, WindowWidth=400, RescaleSlope=2)
    shape = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    write(folder / "padded.dcm", deep << 4, BitsStored=12, HighBit=15, PixelPaddingValue=9, **shape)
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp"):
        Image.fromarray(color).save(folder / name)
    Image.fromarray(deep).save(folder / "b.png")
    Image.fromarray(color).save(folder / "b.tif", compression="tiff_lzw")
    small = Image.fromarray(color).resize((15, 20))
    Image.fromarray(color).save(folder / "c.tif", save_all=True, append_images=[small, small])
    Image.fromarray(color).quantize(7).save(folder / "c.png", transparency=2)
    volume = nibabel.Nifti1Image(rng.integers(0, 99, (8, 9, 10)).astype(np.int16), np.diag([1, 1, 3, 1]))
    nibabel.save(volume, folder / "a.nii")
    nibabel.save(volume, folder / "a.nii.gz")
    np.save(folder / "a.npy", deep)
    np.savez_compressed(folder / "a.npz", color)


@pytest.mark.parametrize("cases", [400, pytest.param(2_000, marks=pytest.mark.slow)])
def test_every_mutant_is_read_or_refused_with_a_reason(tmp_path: Path, cases: int) -> None:
    seeds(tmp_path)
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), str(tmp_path), str(cases)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    # libtiff writes to the terminal from C, without a path: nothing but a detour could stop it
    spoken = [line for line in result.stderr.splitlines() if not line.startswith("tempfile.tif:")]
    assert spoken == []
    outcomes = json.loads(result.stdout)
    assert outcomes["read"] > 50 and outcomes["refused"] > 50  # the mutants are neither harmless nor hopeless
