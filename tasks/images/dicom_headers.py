"""What a listing needs to know of a DICOM file before it is decoded: its series, and its place in it."""

from dataclasses import dataclass
from pathlib import Path

from ..readers.dicom import DICOM_SUFFIXES, KEYS, load_dataset
from .dicom_numbers import element_number, element_text


@dataclass(frozen=True)
class DicomKeys:
    """Keys of one file; they identify a patient and stay on the machine.

    Attributes:
        patient: raw PatientID, "" where the header has none; `study` and `series` likewise.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        number: InstanceNumber, the place in the series.
        value: of the field that was asked for, "" where the header has none.
    """

    patient: str = ""
    study: str = ""
    series: str = ""
    number: float = 0.0
    value: str = ""


def is_candidate(path: Path) -> bool:
    """Tell whether a file is DICOM, or says so, or says nothing: files of a series often have no suffix."""
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
    """Read the keys of a file, and one more field; None where it is broken, which reading it will tell."""
    from .reader import silence_libraries

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
