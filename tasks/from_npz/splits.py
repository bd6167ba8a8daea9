"""Images of an npz in batches of rows: a file of any size, read once in order."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from ...core.errors import UserError
from ..task import Split
from .arrays import NpzLayout, labels_and_groups, read_npz_headers
from .npz_errors import explain_defects, open_npz


class NpzRows:
    """One split of a file, read in batches of rows; labels and groups are read at once.

    Raises:
        UserError: as `read_npz`, or the split is missing or its images are in Fortran order.
    """

    def __init__(self, path: Path, layout: NpzLayout, split: str) -> None:
        self.path, self._layout, self._array, self._begin = path, layout, f"{split}_images", 0
        with open_npz(path, layout.cure) as archive:
            headers, splits = read_npz_headers(path, archive, layout)
            if split not in splits:
                raise UserError(f"{path} has no split '{split}' with images: it has {', '.join(splits)}.")
            header = headers[self._array]
            if header.columns:
                raise UserError(
                    f"{path}: {self._array} is stored by columns: save np.ascontiguousarray of it."
                )
            self._labels, self._groups = labels_and_groups(path, archive, split, headers, layout)
        self._shape = header.shape[1:3] if layout.variant == "gray" else header.shape[1:4]
        self._bytes = header.bytes
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, start: int, stop: int) -> Split:
        """Read rows; going backwards restarts the file. `UserError` if it is damaged."""
        row = math.prod(self._shape)
        with explain_defects(self.path, self._layout.cure):
            content = self._read(start * row, (stop - start) * row)
        images = np.frombuffer(content, np.uint8).reshape(stop - start, *self._shape)
        groups = None if self._groups is None else self._groups[start:stop]
        return Split(images, self._labels[start:stop], groups)

    def _read(self, offset: int, size: int) -> bytes:
        """Read pixels; the bytes in between are decompressed and discarded."""
        if self._file is None or self._file.tell() > self._begin + offset:
            archive = zipfile.ZipFile(self.path)  # the member keeps the file open, and closes it
            member = archive.getinfo(f"{self._array}.npy")
            self._begin = member.file_size - self._bytes  # after the array's header
            self._file = archive.open(member)
        self._file.seek(self._begin + offset)
        content = self._file.read(size)
        if len(content) != size:
            raise EOFError(f"{self._array} ends early")
        return content
