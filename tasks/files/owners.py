"""Of whom each image is, by all that a table, a path and a header tell: whoever is known by one is whole."""

from collections.abc import Sequence


def widened(wide: Sequence[str], narrow: Sequence[str]) -> tuple[str, ...]:
    """Return the wider key of each image, as its patient, else the narrower, as its study.

    An image of which only the narrower is known takes the wider that the others of its study have: else a
    gap in one column would part a patient. Where those are of several patients, the numbers of studies
    come again from patient to patient and tell nothing.

    Args:
        wide: [n], "" where it is not known.
        narrow: [n], likewise.
    """
    held: dict[str, set[str]] = {}
    for one, other in zip(wide, narrow, strict=True):
        if one and other:
            held.setdefault(other, set()).add(one)
    only = {other: next(iter(ones)) for other, ones in held.items() if len(ones) == 1}
    return tuple(one or only.get(other, other) for one, other in zip(wide, narrow, strict=True))
