"""Numbers in a DICOM header, without the cost of pydicom's own elements or their errors."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def number(dataset: "Dataset", keyword: str, default: float | None = None) -> float | None:
    """Return the first value of an element as a finite number, or `default` where there is none."""
    try:
        element: Any = dataset.get_item(keyword)
        value = element.value
        if isinstance(value, bytes):  # as it stands in the file; pydicom would take much longer to convert it
            if element.VR == "US" and len(value) == 2:
                return int.from_bytes(value, "little" if element.is_little_endian else "big")
            value = value if element.VR in ("DS", "IS") else dataset.get(keyword)
        if isinstance(value, bytes):
            value = value.split(b"\\", 1)[0].strip(b" \0")
        elif not isinstance(value, str | int | float):
            value = value[0]
        result = float(value)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        return default
    return result if math.isfinite(result) else default


def bits_stored(dataset: "Dataset") -> int:
    """Return how many bits of a value count."""
    return int(number(dataset, "BitsStored") or number(dataset, "BitsAllocated") or 0)
