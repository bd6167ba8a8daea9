"""Slices of NIfTI volumes, from a folder per class or a table; a volume is its own group."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from ....core.errors import UserError
from ....tasks.readers.nifti import _SUFFIXES
from ..file_source import FileEntry, FileSource, reader_of
from ..source import SOURCES, SourceCard, SourceKind
from .folder import open_folder
from .table import open_table

VOLUMES_PER_UNIT = 10
"""Volumes that one process reads as one unit: each holds hundreds of slices."""


def open_nifti(card: SourceCard, folder: Path) -> FileSource:
    """Open a folder with a sub-folder per class, or a CSV; errors as theirs."""
    path = folder / card.path
    if not path.exists():
        raise UserError(f"The card of '{card.name}' names {path}, which does not exist: correct 'path'.")
    source = open_folder(card, folder) if path.is_dir() else open_table(card, folder)
    listing = partial(_volume_entries, source.listing)
    return replace(source, listing=listing, reader=reader_of(card), per_unit=VOLUMES_PER_UNIT)


def _volume_entries(listing: Callable[[], Iterable[FileEntry]]) -> Iterator[FileEntry]:
    """Skip files that are no volumes (their JSON sidecars); slices of a volume share a group."""
    for entry in listing():
        if entry.path.lower().endswith(_SUFFIXES):
            yield msgspec.structs.replace(entry, group=entry.group or entry.path)


SOURCES.add("nifti", SourceKind(open_nifti))
