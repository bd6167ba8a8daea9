"""Images of files that were decoded for other splits or labels, taken from the arrays in the cache."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ..images.bit_depth import Levels, to_uint16
from ..images.dicom_headers import is_candidate
from ..images.reader import silence_libraries
from ..readers.dicom import group_of, knows_patient, load_dataset
from ..task import SPLITS
from .arrays import ArrayFolder
from .decode import FILES_PER_CHUNK, DecodedImages
from .decode_chunk import ChunkDecoder
from .file_traits import TraitColumns
from .listing import FileListing
from .schema import FilesSpec

DECODED_FILE = "decoded.npz"
"""What `DecodedImages` holds beside pixels, patients and traits; `row` is the place of each stored image."""


def save_decoded(folder: Path, images: DecodedImages, splits: NDArray[np.int64]) -> None:
    """Write what `load_decoded` needs beside the arrays; no patient, and files by their number only."""
    facts = msgspec.json.encode([(*key, many) for key, many in images.facts.items()])
    np.savez(
        folder / DECODED_FILE,
        files=images.files,
        frames=images.frames,
        marks=np.frombuffer(b"".join(images.marks), np.uint8).reshape(len(images.marks), -1),
        blank=np.array(images.blank, bool),
        row=np.concatenate([np.flatnonzero(splits == number) for number in range(len(SPLITS))]),
        facts=np.frombuffer(facts, np.uint8),
        empty=np.frombuffer(msgspec.json.encode(images.empty), np.uint8),
    )


@dataclass(frozen=True, eq=False)
class StoredImages(DecodedImages):
    """Decoded images whose squares lie in the arrays of another split."""

    squares: tuple[Levels, ...]
    """Images of each split, memory-mapped."""
    place: NDArray[np.int64]
    """Place of each image among those of `squares`, one after the other."""

    def iterate_squares(self) -> Iterator[NDArray[np.uint16]]:
        """Yield all images in the order of the files, as `DecodedImages` does."""
        ends = np.cumsum([len(each) for each in self.squares])
        for start in range(0, len(self.place), FILES_PER_CHUNK):
            chosen = self.place[start : start + FILES_PER_CHUNK]
            split = np.searchsorted(ends, chosen, side="right")
            images = [
                self.squares[at][place - ends[at]] for at, place in zip(split, chosen, strict=True)
            ]  # from the end of its split
            yield to_uint16(np.stack(images))


def load_decoded(
    folder: ArrayFolder, listing: FileListing, spec: FilesSpec, side: int
) -> StoredImages | None:
    """Return the images of the same files from a folder of arrays; None if they are not all there.

    Only headers of DICOM files are read again, since no patient is stored.
    """
    with suppress(OSError, ValueError, KeyError, EOFError, UserError, msgspec.MsgspecError):
        with np.load(folder.path / DECODED_FILE, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        splits = [folder.split(name) for name in SPLITS]
        place = np.argsort(found["row"])
        traits = _join_traits([split.traits for split in splits], place)
        headers = [_header_group(listing.root / path, spec.reading.group_by) for path in listing.paths]
        facts: list[tuple[str, str, int]] = msgspec.json.decode(
            found["facts"].tobytes(), type=list[tuple[str, str, int]]
        )
        empty = msgspec.json.decode(found["empty"].tobytes(), type=tuple[tuple[int, str], ...])
        squares = tuple(split.images for split in splits)
        return StoredImages(
            files=found["files"],
            frames=found["frames"],
            patients=tuple(headers[file][0] for file in found["files"]),
            patient_known=tuple(headers[file][1] for file in found["files"]),
            marks=tuple(mark.tobytes() for mark in found["marks"]),
            blank=tuple(found["blank"].tolist()),
            traits=traits,
            empty=empty,
            deep=squares[0].dtype == np.uint16,
            facts=Counter({(key, value): many for key, value, many in facts}),
            decoder=ChunkDecoder(spec.reading, spec.variant == "color", side, folder.path),
            starts=(),
            squares=squares,
            place=place,
        )
    return None


def _join_traits(traits: list[TraitColumns], place: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return the columns of all splits in the order of the files; text is pseudonymous already."""
    return {name: np.concatenate([each[name] for each in traits])[place] for name in traits[0]}


def _header_group(path: Path, group_by: str) -> tuple[str, bool]:
    """Return the group in the header of a DICOM file and whether it is a patient, as reading it does."""
    if not is_candidate(path):
        return "", False
    try:
        with silence_libraries():
            dataset = load_dataset(path, pixels=False)
            return group_of(dataset, group_by), knows_patient(dataset, group_by)
    except Exception:  # no DICOM, but a file without suffix
        return "", False
