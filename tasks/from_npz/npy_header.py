"""Header of a .npy array, read before memory is allocated for its values."""

import math
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.lib import format as npy


@dataclass(frozen=True)
class NpyHeader:
    """Declared shape and type of an array; `columns` means Fortran order."""

    shape: tuple[int, ...]
    dtype: np.dtype
    columns: bool

    @property
    def bytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """Read the header at the file's position, leaving the file at the values.

    Raises:
        ValueError: unknown version. Broken bytes raise nearly any exception.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"npy format {version} is not known")
    shape, columns, dtype = readers[version](file)
    return NpyHeader(shape, dtype, columns)
