"""Files decoded by several processes into one growing file of squares, whatever their number."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...benchmark.errors import UserError
from ..pool import share
from ..readers.reader import Reading, UnreadableError, pictures
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


@dataclass(frozen=True, eq=False)
class Decoded:
    """What one piece holds.

    Attributes:
        images: uint8 [m, side, side] or [m, side, side, 3].
        files: [m], of which file each is, counted over the whole listing.
        frames: [m], which frame of it.
        patients: raw patient by the header, "" where it has none; it stays in the process.
        facts: how often each fact about the reading holds, as ("window", "header").
        faults: files that cannot be read, and why.
    """

    images: NDArray[np.uint8]
    files: list[int]
    frames: list[int]
    patients: list[str]
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)


def decode(piece: Piece, reading: Reading, color: bool, side: int) -> Decoded:
    """Decode a piece; a file that cannot be read is a fault and the others go on."""
    shape = (0, side, side, 3) if color else (0, side, side)
    found = Decoded(np.zeros(shape, np.uint8), [], [], [])
    squares: list[NDArray[np.uint8]] = []
    for number, path in enumerate(piece.paths, piece.start):
        try:
            for picture in pictures(path, reading):
                squares.append(fitted(picture, color, side))
                found.files.append(number)
                found.frames.append(picture.frame)
                found.patients.append(picture.group)
                height, width = picture.pixels.shape[:2]
                shown = {**picture.facts, "colour": "RGB" if picture.pixels.ndim == 3 else "grey"}
                found.facts.update([("pixels", f"{width} x {height}"), *shown.items()])
        except UnreadableError as error:
            found.faults.append((number, str(error)))
    return replace(found, images=np.stack(squares)) if squares else found


@dataclass(frozen=True, eq=False)
class Images:
    """All images of a task, in the order of the listing and, within a file, of its frames.

    Attributes:
        rows: [n], which row of the file of squares each is.
        files: [n], of which file each is.
        frames: [n], which frame of it.
        patients: raw patient by the header, "" where it has none.
        facts: as of `Decoded`, over all.
    """

    rows: NDArray[np.int64]
    files: NDArray[np.int64]
    frames: NDArray[np.int64]
    patients: tuple[str, ...]
    facts: Counter[tuple[str, str]]


def decode_all(listing: Listing, spec: Spec, side: int, jobs: int, out: BinaryIO) -> Images:
    """Decode every file; no more than a few pieces are in memory at a time.

    Args:
        listing: the files.
        spec: how they are read.
        side: of the squares.
        jobs: processes; 0 takes the cores at hand.
        out: receives the squares in the order in which they get done.

    Raises:
        UserError: files cannot be read; the first is named, with the reason.
    """
    work = partial(decode, reading=replace(spec.reading, bits=8), color=spec.variant == "color", side=side)
    jobs = 1 if len(listing.paths) < FEW else jobs or cores()
    files: list[int] = []
    frames: list[int] = []
    patients: list[str] = []
    facts: Counter[tuple[str, str]] = Counter()
    faults: list[tuple[int, str]] = []
    with _progress(spec.name, len(listing.paths)) as step:
        for each in share(work, _pieces(listing), jobs):
            out.write(each.images.tobytes())
            files += each.files
            frames += each.frames
            patients += each.patients
            facts += each.facts
            faults += each.faults
            step(PER_PIECE)
    _refuse(listing, faults)
    order = np.lexsort((frames, files))
    mine = tuple(patients[row] for row in order)
    return Images(order, np.array(files, np.int64)[order], np.array(frames, np.int64)[order], mine, facts)


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
