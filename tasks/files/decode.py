"""Files decoded by several processes into one growing file of squares, whatever their number."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...benchmark.errors import UserError
from ..levels import sixteen_bits
from ..pool import share
from ..readers.reader import Picture, Reading, UnreadableError, pictures
from .fit import fitted
from .listing import Listing
from .spec import Spec

PER_PIECE = 64
"""Files that a process decodes in one go."""
FEW = 400
"""Files for which starting processes takes longer than it saves."""


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


@dataclass(frozen=True, eq=False)
class Decoded:
    """What one piece holds.

    Attributes:
        squares: uint16 over the whole range, [m, side, side] or [m, side, side, 3].
        known: [m], of each image.
        deep: whether one of them has more than 8 bits.
        facts: how often each fact about the reading holds, as ("window", "header").
        faults: files that cannot be read, and why.
    """

    squares: NDArray[np.uint16]
    known: list[Known]
    deep: bool = False
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)


def decode(piece: Piece, reading: Reading, color: bool, side: int) -> Decoded:
    """Decode a piece; a file that cannot be read is a fault and the others go on."""
    _keep_memory()
    squares: list[NDArray[np.uint16]] = []
    known: list[Known] = []
    facts: Counter[tuple[str, str]] = Counter()
    faults: list[tuple[int, str]] = []
    deep = False
    for number, path in enumerate(piece.paths, piece.start):
        try:
            for picture in pictures(path, reading):
                square = fitted(picture, color, side, reading.bits)
                deep |= square.dtype == np.uint16
                squares.append(sixteen_bits(square))
                mark = sha256(squares[-1].data).digest()
                traits = _traits(path, picture)
                known.append(Known(number, picture.frame, picture.group, traits, mark))
                facts.update(_facts(picture).items())
        except UnreadableError as error:
            faults.append((number, str(error)))
    shape = (0, side, side, 3) if color else (0, side, side)
    return Decoded(np.array(squares or np.zeros(shape), np.uint16), known, deep, facts, faults)


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


@dataclass(frozen=True, eq=False)
class Images:
    """All images of a task, in the order of the listing and, within a file, of its frames.

    Attributes:
        rows: [n], which row of the file of squares each is.
        known: [n], of each image.
        deep: whether one of them has more than 8 bits.
        facts: as of `Decoded`, over all.
    """

    rows: NDArray[np.int64]
    known: tuple[Known, ...]
    deep: bool
    facts: Counter[tuple[str, str]]

    @property
    def files(self) -> NDArray[np.int64]:
        """Of which file each image is, [n]."""
        return np.array([each.file for each in self.known], np.int64)


def decode_all(listing: Listing, spec: Spec, side: int, jobs: int, out: BinaryIO) -> Images:
    """Decode every file; no more than a few pieces are in memory at a time.

    Args:
        listing: the files.
        spec: how they are read.
        side: of the squares.
        jobs: processes; 0 takes the cores at hand.
        out: receives the squares, uint16, in the order in which they get done.

    Raises:
        UserError: files cannot be read; the first is named, with the reason.
    """
    work = partial(decode, reading=spec.reading, color=spec.variant == "color", side=side)
    jobs = 1 if len(listing.paths) < FEW else jobs or cores()
    known: list[Known] = []
    facts: Counter[tuple[str, str]] = Counter()
    faults: list[tuple[int, str]] = []
    deep = False
    with _progress(spec.name, len(listing.paths)) as step:
        for each in share(work, _pieces(listing), jobs):
            out.write(each.squares.data)
            known += each.known
            deep |= each.deep
            facts += each.facts
            faults += each.faults
            step(PER_PIECE)
    _refuse(listing, faults)
    order = sorted(range(len(known)), key=lambda row: (known[row].file, known[row].frame))
    return Images(np.array(order, np.int64), tuple(known[row] for row in order), deep, facts)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pieces(listing: Listing) -> Iterator[Piece]:
    for start in range(0, len(listing.paths), PER_PIECE):
        paths = listing.paths[start : start + PER_PIECE]
        yield Piece(start, tuple(listing.root / path for path in paths))


def _refuse(listing: Listing, faults: list[tuple[int, str]]) -> None:
    if not faults:
        return
    number, reason = min(faults)
    place = listing.places[number]
    where = place if ", line " in place else f"{listing.root / place}"
    others = f" ({len(faults):,} of {len(listing.paths):,} files cannot be read)" if len(faults) > 1 else ""
    raise UserError(f"{where}: the file cannot be read: {reason}{others}: mend it, or leave it out.")


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar in a terminal and one line elsewhere; yields (files) -> None."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.print(f"preparing {total:,} files of {name} (once)", soft_wrap=True, markup=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(f"preparing {name} (once)", total=total)
        yield lambda files: bars.update(bar, advance=files)
