"""Some files of a task, decoded by one process into a file of squares that it leaves in a scratch folder."""

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
    """Files that are decoded together: the place of the first in the listing, and where they are."""

    start: int
    paths: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class DecodedChunk:
    """What is known of the images of a piece; patients and traits stay in the user's cache.

    Attributes:
        start: of the piece.
        files: of which file each image is, counted over the whole listing, in the order of the squares.
        frames: which frame of it.
        patients: raw patient by the header, else study or series; "" where it has none.
        patient_known: whether that is a patient.
        marks: SHA-256 of each square.
        blank: whether each image is of one value, so that it equals others and shows nothing.
        traits: of their files.
        deep: whether one of them has more than 8 bits.
        facts: how often each fact about the reading holds, as ("window", "header").
        faults: files that cannot be read, and why.
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
    """What gathers while a piece is decoded."""

    rows: list[tuple[int, int, str, bool, bytes, bool]] = field(default_factory=list)
    traits: list[Traits] = field(default_factory=list)
    deep: bool = False
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def to_chunk(self, start: int) -> DecodedChunk:
        """Return all of it, in little room."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * 6
        files, frames, patients, known, marks, blank = columns
        return DecodedChunk(
            start, files, frames, patients, known, marks, blank, columns_of(self.traits), self.deep,
            self.facts, tuple(self.faults),
        )  # fmt: skip


@dataclass(frozen=True)
class ChunkDecoder:
    """How pieces are decoded, as plain data that processes can share.

    Attributes:
        reading: how files are read.
        color: three channels instead of one.
        side: of the squares in pixels.
        scratch: where the squares go: uint16 over the whole range, one after the other.
    """

    reading: ReaderTable
    color: bool
    side: int
    scratch: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one square."""
        return (self.side, self.side, 3) if self.color else (self.side, self.side)

    def squares_path(self, start: int) -> Path:
        """Where the squares of a piece are."""
        return self.scratch / f"{start}.squares"

    def __call__(self, piece: FileChunk) -> DecodedChunk:
        """Decode a piece; a file that cannot be read is a fault and the others go on.

        Raises:
            DiskFullError, UserError: the squares cannot be written.
        """
        _keep_freed_memory()
        seen = _ChunkResults()
        path = self.squares_path(piece.start)
        with explain_write_errors(path), path.open("wb") as out:
            for number, file in enumerate(piece.paths, piece.start):
                try:
                    for picture in read_images(file, self.reading):
                        out.write(self._square(number, file, picture, seen))
                except UnreadableError as error:
                    seen.faults.append((number, str(error)))
        return seen.to_chunk(piece.start)

    def _square(self, number: int, file: Path, picture: ReadImage, seen: _ChunkResults) -> memoryview:
        square = letterbox(picture, self.color, self.side, self.reading.bits)
        content = np.ascontiguousarray(to_uint16(square)).data
        seen.deep |= square.dtype == np.uint16
        blank = not (np.ptp(picture.values, axis=(0, 1)).any() and np.ptp(square, axis=(0, 1)).any())
        mark, known = sha256(content).digest(), picture.patient_known
        seen.rows.append((number, picture.frame, picture.group, known, mark, blank))
        seen.traits.append(traits_of(file, picture))
        height, width = picture.values.shape[:2]
        color = "RGB" if picture.values.ndim == 3 else "gray"
        facts = {"pixels": f"{width} x {height}", **picture.facts, "color": color}
        seen.facts.update(facts.items())
        return content


def _keep_freed_memory() -> None:
    """Make glibc keep what is freed; each image would else fault its pages in anew, half of the time.

    It learns from the largest block that was ever freed, up to 32 MiB; other allocators do not mind.
    """
    np.empty(2**25 - 2**16, np.uint8)
