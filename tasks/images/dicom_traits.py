"""What a DICOM header says from which a network could learn a shortcut, if the pixels betray it."""

from typing import TYPE_CHECKING

from .dicom_numbers import element_number, element_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

TEXT_ELEMENTS = (
    "Manufacturer",
    "ManufacturerModelName",
    "BodyPartExamined",
    "ViewPosition",
    "ConvolutionKernel",
    "ScanningSequence",
    "ContrastBolusAgent",
    "BurnedInAnnotation",
    "LossyImageCompression",
    "PatientSex",
    "PatientAge",
)
"""Elements of which a value usually stands for many patients; what is written by hand may yet name one."""
LONGEST_TEXT = 64
"""Characters that the standard permits; one word of a broken header would else widen a column of text."""
NUMBER_ELEMENTS = ("KVP", "ExposureTime", "XRayTubeCurrent", "SliceThickness", "EchoTime", "RepetitionTime")


def header_traits(dataset: "Dataset") -> dict[str, float | str]:
    """Return the elements that a header has; those that it lacks are left out."""
    found: dict[str, float | str] = {}
    for name in TEXT_ELEMENTS:
        if value := element_text(dataset, name):
            found[name] = value[:LONGEST_TEXT]
    for name in NUMBER_ELEMENTS:
        value = element_number(dataset, name)
        if value is not None:
            found[name] = value
    return found
