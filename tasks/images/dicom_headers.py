"""Ids of a DICOM file, read without decoding its pixels."""

from dataclasses import dataclass
from pathlib import Path

from ..readers.dicom import DICOM_SUFFIXES, KEYS, load_dataset
from .dicom_numbers import element_number, element_text
from .reader import silence_libraries


@dataclass(frozen=True)
class DicomKeys:
    """Ids of one file; they identify a patient and stay on the machine; "" if missing.

    Attributes:
        number: InstanceNumber, the position in the series.
        value: the additional field of `read_keys`.
    """

    patient: str = ""
    study: str = ""
    series: str = ""
    number: float = 0.0
    value: str = ""


def is_candidate(path: Path) -> bool:
    """Whether a file may be DICOM, by prefix, suffix or lack of one, which is common in series."""
    suffix = path.suffix.lower()
    if path.name.upper() == "DICOMDIR":
        return False
    if suffix in ("", *DICOM_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_keys(path: Path, field: str = "") -> DicomKeys | None:
    """Read the ids of a file and one more field; None if it is broken."""
    try:
        with silence_libraries():
            dataset = load_dataset(path, pixels=False)
            keys = {level: element_text(dataset, keyword) for level, keyword in KEYS.items()}
            value = element_text(dataset, field) if field else ""
            return DicomKeys(
                **keys, number=element_number(dataset, "InstanceNumber", 0.0) or 0.0, value=value
            )
    except Exception:  # anything, at broken bytes
        return None
