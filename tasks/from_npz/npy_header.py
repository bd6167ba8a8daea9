"""The header of one array of numpy's own format, read before anything is allocated for its values."""

import math
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.lib import format as npy


@dataclass(frozen=True)
class NpyHeader:
    """What an array says that it is.

    Attributes:
        shape: of the array.
        dtype: of its values.
        columns: its last axis runs slowest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    columns: bool

    @property
    def bytes(self) -> int:
        """Return how many bytes its values take."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """Read the header that a file stands before, and leave it before the values.

    Raises:
        ValueError: its version is not known. Broken bytes raise nearly anything else.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"npy format {version} is not known")
    shape, columns, dtype = readers[version](file)
    return NpyHeader(shape, dtype, columns)
