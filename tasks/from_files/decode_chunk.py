"""Decoding of a chunk of files by one process into a scratch file of squares."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from ...core.files import explain_write_errors
from ..images.bit_depth import to_uint16
from ..images.reader import ReaderTable, ReadImage, UnreadableError, read_images
from .file_traits import TraitColumns, Traits, columns_of, traits_of
from .letterbox import letterbox


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
    facts: Counter[tuple[str, str]]
    faults: tuple[tuple[int, str], ...]


@dataclass(eq=False)
class _ChunkResults:
    """Results collected while a chunk is decoded."""

    rows: list[tuple[int, int, str, bool, bytes, bool]] = field(default_factory=list)
    traits: list[Traits] = field(default_factory=list)
    deep: bool = False
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def to_chunk(self, start: int) -> DecodedChunk:
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * 6
        files, frames, patients, known, marks, blank = columns
        return DecodedChunk(
            start, files, frames, patients, known, marks, blank, columns_of(self.traits), self.deep,
            self.facts, tuple(self.faults),
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
        _keep_freed_memory()
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
        blank = not (np.ptp(picture.values, axis=(0, 1)).any() and np.ptp(square, axis=(0, 1)).any())
        mark, known = sha256(content).digest(), picture.patient_known
        results.rows.append((number, picture.frame, picture.group, known, mark, blank))
        results.traits.append(traits_of(file, picture))
        height, width = picture.values.shape[:2]
        color = "RGB" if picture.values.ndim == 3 else "gray"
        facts = {"pixels": f"{width} x {height}", **picture.facts, "color": color}
        results.facts.update(facts.items())
        return content


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory; page faults for each image would else take half of the time.

    glibc adapts to the largest freed block, up to 32 MiB; other allocators are not affected.
    """
    np.empty(2**25 - 2**16, np.uint8)
