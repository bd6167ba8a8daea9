"""Parallel decoding of a task's files with bounded memory."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.process_pool import map_in_processes
from ...core.progress import stderr_console
from .decode_chunk import ChunkDecoder, DecodedChunk, FileChunk
from .file_traits import TraitColumns, join_columns
from .listing import FileListing
from .schema import FilesSpec

_LOG = logging.getLogger(__name__)

FILES_PER_CHUNK = 64
"""Files that a process decodes at a time."""
FEW_FILES = 400
"""Number of files below which starting processes takes longer than it saves."""


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """All images of a task, in the order of the listing, then of the frames in a file.

    Fields as in `DecodedChunk`, over all chunks; `decoder` and `starts` locate their scratch files.
    """

    files: NDArray[np.int64]
    frames: NDArray[np.int64]
    patients: tuple[str, ...]
    patient_known: tuple[bool, ...]
    marks: tuple[bytes, ...]
    blank: tuple[bool, ...]
    traits: TraitColumns
    deep: bool
    empty: tuple[tuple[int, str], ...]
    facts: Counter[tuple[str, str]]
    decoder: ChunkDecoder
    starts: tuple[int, ...]

    def iterate_squares(self) -> Iterator[NDArray[np.uint16]]:
        """Yield all images in order, [m, side, side] or [m, side, side, 3], deleting their files."""
        for start in self.starts:
            path = self.decoder.squares_path(start)
            yield np.fromfile(path, np.uint16).reshape(-1, *self.decoder.shape)
            path.unlink()  # frees disk space early


def decode_all(listing: FileListing, spec: FilesSpec, side: int, jobs: int, scratch: Path) -> DecodedImages:
    """Decode every file to squares in `scratch`; only a few chunks are in memory at a time.

    Args:
        side: side of the squares in pixels.
        jobs: number of processes; 0 takes the available cores.

    Raises:
        UserError: files cannot be read; names the first, with the reason.
        DiskFullError: the disk is full.
    """
    decoder = ChunkDecoder(spec.reading, spec.variant == "color", side, scratch)
    jobs = 1 if len(listing.paths) < FEW_FILES else jobs or available_cores()
    found: list[DecodedChunk] = []
    with _show_progress(spec.name, len(listing.paths)) as advance:
        for each in map_in_processes(decoder, _chunks(listing), jobs):
            found.append(each)
            advance(FILES_PER_CHUNK)
    _raise_first_fault(listing, [fault for each in found for fault in each.faults])
    found.sort(key=lambda each: each.start)
    facts: Counter[tuple[str, str]] = Counter()
    for each in found:
        facts += each.facts
    return DecodedImages(
        files=np.array([file for each in found for file in each.files], np.int64),
        frames=np.array([frame for each in found for frame in each.frames], np.int64),
        patients=tuple(patient for each in found for patient in each.patients),
        patient_known=tuple(known for each in found for known in each.patient_known),
        marks=tuple(mark for each in found for mark in each.marks),
        blank=tuple(blank for each in found for blank in each.blank),
        traits=join_columns((len(each.files), each.traits) for each in found),
        deep=any(each.deep for each in found),
        empty=tuple(one for each in found for one in each.empty),
        facts=facts,
        decoder=decoder,
        starts=tuple(each.start for each in found),
    )


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chunks(listing: FileListing) -> Iterator[FileChunk]:
    for start in range(0, len(listing.paths), FILES_PER_CHUNK):
        paths = listing.paths[start : start + FILES_PER_CHUNK]
        yield FileChunk(start, tuple(listing.root / path for path in paths))


def _raise_first_fault(listing: FileListing, faults: list[tuple[int, str]]) -> None:
    if not faults:
        return
    number, reason = min(faults)
    place = listing.places[number]
    where = place if ", line " in place else f"{listing.root / place}"
    others = f" ({len(faults):,} of {len(listing.paths):,} files cannot be read)" if len(faults) > 1 else ""
    raise UserError(f"{where}: the file cannot be read: {reason}{others}: mend it, or leave it out.")


@contextmanager
def _show_progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar in a terminal and log one line; yields (files) -> None."""
    from rich.progress import Progress

    console = stderr_console()
    _LOG.log(
        logging.DEBUG if console.is_terminal else logging.INFO, f"preparing {total:,} files of {name} (once)"
    )
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(f"preparing {name} (once)", total=total)
        yield lambda files: bars.update(bar, advance=files)
