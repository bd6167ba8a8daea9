"""Images of a single value, perhaps between the black bars of a letterbox: they show nothing."""

import numpy as np
from numpy.typing import NDArray

from .bit_depth import Levels


def have_one_value(images: Levels) -> NDArray[np.bool_]:
    """Return whether each image [n, h, w(, 3)] has one value per channel, bars of a letterbox apart: [n].

    Such images are equal by chance, as a window or a failed export empties many alike.
    """
    found = (_is_even(image) or _is_even(image.swapaxes(0, 1)) for image in images)
    return np.fromiter(found, np.bool_, len(images))


def _is_even(image: Levels) -> bool:
    """Whether all rows have the value of the middle one, but as many black rows above as below."""
    middle = image[len(image) // 2]
    if (middle != middle[0]).any():  # nearly always
        return False
    other = np.flatnonzero((image != middle[0]).reshape(len(image), -1).any(axis=1))
    above = int(np.searchsorted(other, len(image) // 2))
    bars = np.r_[:above, len(image) - (len(other) - above) : len(image)]
    return np.array_equal(other, bars) and abs(2 * above - len(other)) <= 1 and not image[other].any()
