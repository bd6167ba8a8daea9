"""Numbers and words in a DICOM header, without the cost of pydicom's own elements or their errors."""

import math
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag


@cache  # pydicom tries each word as a hexadecimal number first, which takes longer than all the rest
def tag_of(keyword: str) -> "BaseTag":
    """Return the tag of an element."""
    from pydicom.tag import Tag

    return Tag(keyword)


def element_numbers(dataset: "Dataset", keyword: str) -> tuple[float, ...]:
    """Return the values of an element; none where it is missing, or one of them is no finite number."""
    try:
        element: Any = dataset.get_item(tag_of(keyword))
        if element is None:
            return ()
        value = element.value
        if isinstance(value, bytes):  # as it stands in the file; pydicom would take much longer to convert it
            if element.VR == "US" and len(value) == 2:
                return (int.from_bytes(value, "little" if element.is_little_endian else "big"),)
            value = value if element.VR in ("DS", "IS") else dataset.get(keyword)
        if isinstance(value, bytes):
            value = value.strip(b" \0").split(b"\\")
        several = [value] if isinstance(value, str | int | float) else value
        found = tuple(float(each) for each in several)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return ()
    return found if all(map(math.isfinite, found)) else ()


def element_number(dataset: "Dataset", keyword: str, default: float | None = None) -> float | None:
    """Return the first value of an element, or `default` where there is none."""
    return next(iter(element_numbers(dataset, keyword)), default)


def element_text(dataset: "Dataset", keyword: str) -> str:
    """Return an element as text without the blanks around it, "" where there is none."""
    element = dataset.get_item(tag_of(keyword))
    if element is None:
        return ""
    value: Any = element.value
    if isinstance(value, bytes) and value.isascii() and b"\x1b" not in value:  # the same in every alphabet
        return value.decode().strip(" \0")
    return str(dataset.get(keyword) or "").strip()


def element_value(dataset: "Dataset", keyword: str) -> Any:
    """Return the value of an element, None where there is none; pydicom's own `get` is far slower at that."""
    return dataset.get(keyword) if tag_of(keyword) in dataset else None


def bits_stored(dataset: "Dataset") -> int:
    """Return how many bits of a value count."""
    return int(element_number(dataset, "BitsStored") or element_number(dataset, "BitsAllocated") or 0)
