"""Small DICOM files that tests write, full of names that must not reappear."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

BUNDLED = Path(pydicom.data.__file__).parent
SECRET = "MUSTERMANN"
"""Value of every element that could identify a patient."""


def bundled(name: str) -> Path:
    """Return a file that pydicom brings along."""
    return BUNDLED / "test_files" / name


def holds(path: Path, secrets: Iterable[str]) -> list[str]:
    """Name the secrets in a file: as bytes, as numpy writes text, and in what is compressed."""
    content = path.read_bytes()
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            content += "".join(str(arrays[name].tolist()) for name in arrays.files).encode()
    return [each for each in secrets if each.encode() in content or each.encode("utf-32-le") in content]


def write(path: Path, stored: np.ndarray, **elements: Any) -> Path:
    """Write values, [h, w], [frames, h, w] or [h, w, 3]; `elements` are added, and None takes away."""
    color = stored.ndim == 3 and stored.shape[-1] == 3
    rows, columns = stored.shape[:2] if color else stored.shape[-2:]
    bits = 8 * stored.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(), "Modality": "CT",
        "PatientName": f"{SECRET}^ERIKA", "PatientID": f"{SECRET}-17", "InstitutionName": SECRET,
        "StudyDescription": SECRET, "SeriesDescription": SECRET, "WindowCenterWidthExplanation": SECRET,
        "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "Rows": rows, "Columns": columns,
        "SamplesPerPixel": 3 if color else 1,
        "PhotometricInterpretation": "RGB" if color else "MONOCHROME2",
        "BitsAllocated": bits, "BitsStored": bits, "HighBit": elements.get("BitsStored", bits) - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"), **elements,
    }  # fmt: skip
    if color:
        values["PlanarConfiguration"] = 0
    if stored.ndim == 3 and not color:
        values["NumberOfFrames"] = len(stored)
    for name, value in values.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    dataset.save_as(path, enforce_file_format=True)
    return path
