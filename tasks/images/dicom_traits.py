"""DICOM header fields that a network could learn as a shortcut, if the pixels reveal them."""

from typing import TYPE_CHECKING

from .dicom_numbers import element_number, element_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

TEXT_ELEMENTS = (
    "Manufacturer", "ManufacturerModelName", "BodyPartExamined", "ViewPosition", "ConvolutionKernel",
    "ScanningSequence", "ContrastBolusAgent", "BurnedInAnnotation", "LossyImageCompression", "PatientSex",
    "PatientAge",
)  # fmt: skip
"""Elements whose values usually cover many patients; free text may still name one."""
LONGEST_TEXT = 64
"""Limit of the standard; one long value of a broken header would widen a whole column."""
NUMBER_ELEMENTS = ("KVP", "ExposureTime", "XRayTubeCurrent", "SliceThickness", "EchoTime", "RepetitionTime")


def header_traits(dataset: "Dataset") -> dict[str, float | str]:
    """Return the elements that the header has."""
    found: dict[str, float | str] = {}
    for name in TEXT_ELEMENTS:
        if value := element_text(dataset, name):
            found[name] = value[:LONGEST_TEXT]
    for name in NUMBER_ELEMENTS:
        value = element_number(dataset, name)
        if value is not None:
            found[name] = value
    return found
