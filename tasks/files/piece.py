"""Some files of a task, decoded by one process into a file of squares that it leaves in a scratch folder."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from ...benchmark.files import writing
from ..levels import sixteen_bits
from ..readers.reader import Picture, Reading, UnreadableError, pictures
from .fit import fitted


@dataclass(frozen=True)
class Piece:
    """Files that are decoded together: the place of the first in the listing, and where they are."""

    start: int
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Known:
    """What is known of one image beside its pixels; the patient and the traits stay in the user's cache.

    Attributes:
        file: of which file it is, counted over the whole listing.
        frame: which frame of it.
        patient: raw, by the header; "" where it has none.
        traits: of its file; see `Split.traits`.
        mark: digest of its square.
    """

    file: int
    frame: int
    patient: str
    traits: Mapping[str, float | str]
    mark: bytes


@dataclass(eq=False)
class Decoded:
    """What one piece holds.

    Attributes:
        start: of the piece.
        known: of each image, in the order of the squares.
        deep: whether one of them has more than 8 bits.
        facts: how often each fact about the reading holds, as ("window", "header").
        faults: files that cannot be read, and why.
    """

    start: int
    known: list[Known] = field(default_factory=list)
    deep: bool = False
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Decoder:
    """How pieces are decoded, as plain data that processes can share.

    Attributes:
        reading: how files are read.
        color: three channels instead of one.
        side: of the squares in pixels.
        scratch: where the squares go: uint16 over the whole range, one after the other.
    """

    reading: Reading
    color: bool
    side: int
    scratch: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one square."""
        return (self.side, self.side, 3) if self.color else (self.side, self.side)

    def squares(self, start: int) -> Path:
        """Where the squares of a piece are."""
        return self.scratch / f"{start}.squares"

    def __call__(self, piece: Piece) -> Decoded:
        """Decode a piece; a file that cannot be read is a fault and the others go on.

        Raises:
            DiskFullError, UserError: the squares cannot be written.
        """
        _keep_memory()
        found = Decoded(piece.start)
        path = self.squares(piece.start)
        with writing(path), path.open("wb") as out:
            for number, file in enumerate(piece.paths, piece.start):
                try:
                    for picture in pictures(file, self.reading):
                        square = fitted(picture, self.color, self.side, self.reading.bits)
                        found.deep |= square.dtype == np.uint16
                        content = sixteen_bits(square).tobytes()
                        out.write(content)
                        mark = sha256(content).digest()
                        about = _traits(file, picture)
                        found.known.append(Known(number, picture.frame, picture.group, about, mark))
                        found.facts.update(_facts(picture).items())
                except UnreadableError as error:
                    found.faults.append((number, str(error)))
        return found


def _keep_memory() -> None:
    """Make glibc keep what is freed; each image would else fault its pages in anew, half of the time.

    It learns from the largest block that was ever freed, up to 32 MiB; other allocators do not mind.
    """
    np.empty(2**25 - 2**16, np.uint8)


def _facts(picture: Picture) -> dict[str, str]:
    height, width = picture.values.shape[:2]
    colour = "RGB" if picture.values.ndim == 3 else "grey"
    return {"pixels": f"{width} x {height}", **picture.facts, "colour": colour}


def _traits(path: Path, picture: Picture) -> dict[str, float | str]:
    """Return what a file says beside its pixels; whoever knows only this should tell no label."""
    height, width = picture.values.shape[:2]
    down, right = picture.spacing or (math.nan, math.nan)
    size = {"bytes": float(path.stat().st_size), "height": float(height), "width": float(width)}
    return {**size, "mm down": down, "mm right": right, **picture.facts, **picture.traits}
