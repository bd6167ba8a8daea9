"""What a listing needs to know of a DICOM file before it is decoded: its series, and its place in it."""

from dataclasses import dataclass
from pathlib import Path

from ..readers.dicom import KEYS, SUFFIXES, load
from .dicom_numbers import number, word


@dataclass(frozen=True)
class Header:
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
    if suffix in ("", *SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def header(path: Path, field: str = "") -> Header | None:
    """Read the keys of a file, and one more field; None where it is broken, which reading it will tell."""
    from .reader import quiet

    try:
        with quiet():
            dataset = load(path, pixels=False)
            keys = {level: word(dataset, keyword) for level, keyword in KEYS.items()}
            value = word(dataset, field) if field else ""
            return Header(**keys, number=number(dataset, "InstanceNumber", 0.0) or 0.0, value=value)
    except Exception:  # anything, at broken bytes
        return None
