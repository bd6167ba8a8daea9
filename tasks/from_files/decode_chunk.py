"""Decoding of a chunk of files by one process into a scratch file of squares."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.files import explain_write_errors
from ...core.hardware import keep_freed_memory
from ..images.bit_depth import Levels, to_uint16
from ..images.reader import ReaderTable, ReadImage, UnreadableError, read_images
from .file_traits import TraitColumns, Traits, columns_of, traits_of
from .letterbox import fitted_size, letterbox

NO_NUMBERS = "hold no finite number"
ONE_VALUE = "hold one value only"
ONE_LEVEL = "hold several values, of which their window and size leave one level"
SOME_NOT_NUMBERS = "hold values that are no finite numbers, which become black"
"""Why an image shows nothing, or not all."""


@dataclass(frozen=True)
class FileChunk:
    """Files that are decoded together, and the index of the first in the listing."""

    start: int
    paths: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class DecodedChunk:
    """Facts of the images of a chunk; patients and traits stay in the user's cache.

    Attributes:
        start: index of the chunk's first file.
        files: index in the listing of each image's file, in the order of the squares.
        frames: frame of that file.
        patients: raw patient from the header, else study or series, else "".
        patient_known: whether `patients` holds a patient.
        marks: SHA-256 of each letterboxed image.
        blank: whether an image has one value only, so that equality with others is no evidence.
        deep: whether any file has more than 8 bits.
        empty: index of the file of each image that shows nothing, and the reason.
        facts: count of each fact about the reading, as ("window", "header").
        faults: unreadable files, with the reason.
    """

    start: int
    files: tuple[int, ...]
    frames: tuple[int, ...]
    patients: tuple[str, ...]
    patient_known: tuple[bool, ...]
    marks: tuple[bytes, ...]
    blank: tuple[bool, ...]
    traits: TraitColumns
    deep: bool
    empty: tuple[tuple[int, str], ...]
    facts: Counter[tuple[str, str]]
    faults: tuple[tuple[int, str], ...]


@dataclass(eq=False)
class _ChunkResults:
    """Results collected while a chunk is decoded."""

    rows: list[tuple[int, int, str, bool, bytes, bool]] = field(default_factory=list)
    traits: list[Traits] = field(default_factory=list)
    deep: bool = False
    empty: list[tuple[int, str]] = field(default_factory=list)
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def to_chunk(self, start: int) -> DecodedChunk:
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * 6
        files, frames, patients, known, marks, blank = columns
        return DecodedChunk(
            start, files, frames, patients, known, marks, blank, columns_of(self.traits), self.deep,
            tuple(self.empty), self.facts, tuple(self.faults),
        )  # fmt: skip


@dataclass(frozen=True)
class ChunkDecoder:
    """Settings of the decoding, as plain data that processes can share.

    Squares of `side` pixels go to the folder `scratch`: uint16 over the whole range, concatenated.
    """

    reading: ReaderTable
    color: bool
    side: int
    scratch: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one square."""
        return (self.side, self.side, 3) if self.color else (self.side, self.side)

    def squares_path(self, start: int) -> Path:
        """Return the scratch file of a chunk."""
        return self.scratch / f"{start}.squares"

    def __call__(self, piece: FileChunk) -> DecodedChunk:
        """Decode a chunk, recording unreadable files as faults; errors as `explain_write_errors`."""
        keep_freed_memory()
        results = _ChunkResults()
        path = self.squares_path(piece.start)
        with explain_write_errors(path), path.open("wb") as out:
            for number, file in enumerate(piece.paths, piece.start):
                try:
                    for picture in read_images(file, self.reading):
                        out.write(self._square(number, file, picture, results))
                except UnreadableError as error:
                    results.faults.append((number, str(error)))
        return results.to_chunk(piece.start)

    def _square(self, number: int, file: Path, picture: ReadImage, results: _ChunkResults) -> memoryview:
        square = letterbox(picture, self.color, self.side, self.reading.bits)
        content = np.ascontiguousarray(to_uint16(square)).data
        results.deep |= square.dtype == np.uint16
        reason, blank = why_empty(picture, square)
        if reason:
            results.empty.append((number, reason))
        mark, known = sha256(content).digest(), picture.patient_known
        results.rows.append((number, picture.frame, picture.group, known, mark, blank))
        results.traits.append(traits_of(file, picture))
        height, width = picture.values.shape[:2]
        kind = "gray" if picture.values.ndim == 2 else "gray stored as RGB"
        color = kind if picture.is_gray else "RGB"
        facts = {"pixels": f"{width} x {height}", **picture.facts, "color": color}
        results.facts.update(facts.items())
        return content


def why_empty(picture: ReadImage, square: Levels) -> tuple[str, bool]:
    """Return why an image shows nothing or may mislead, or "", and whether it is of one level.

    `square` is the letterboxed image, whose margins are black.
    """
    values, not_numbers = picture.values, False
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.any():
            return NO_NUMBERS, True
        not_numbers = not finite.all()
    if not _varies(values):
        return ONE_VALUE, True
    height, width = fitted_size(picture, len(square))
    top, left = (len(square) - height) // 2, (len(square) - width) // 2
    if not _varies(square[top : top + height, left : left + width]):
        return ONE_LEVEL, True
    return SOME_NOT_NUMBERS if not_numbers else "", False


def _varies(values: NDArray[Any]) -> bool:
    """Whether the values of any channel differ, [h, w] or [h, w, 3]; a few rows settle nearly all images."""
    return any(np.ptp(values[::step], axis=(0, 1)).any() for step in (64, 1))
