"""numpy files (.npy, .npz): one image, or frames of one size, in one array."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ..from_npz.npy_header import NpyHeader, read_npy_header
from ..images.reader import (
    READERS,
    FormatReader,
    ReaderTable,
    ReadImage,
    UnreadableError,
    check_declared_size,
)
from ..images.stored import DEFLATE_RATIO, stored_values
from ..images.window import BYTES, choose_window

_SUFFIXES = (".npy", ".npz")
NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"
MEMBERS = ("image", "images")
"""Names of the array to read if an npz holds several."""
FEWEST_FRAMES = 5
"""A last axis shorter than this, of at least three axes, holds channels: 1 gray or 3 RGB."""


def read_array(path: Path, reading: ReaderTable) -> Iterator[ReadImage]:
    """Yield the image, or the selected frames, of an array file; errors as `read_images`."""
    with _open_array(path) as (file, name, most):
        header = read_npy_header(file)
        frames, tall, wide, channels = _image_shape(header)
        content = stored_values(file, file.tell(), header.bytes, most, "array")
    order = "F" if header.columns else "C"
    values = np.frombuffer(content, header.dtype).reshape(header.shape, order=order)
    values = values.reshape(frames, tall, wide, *channels)
    deep = header.dtype != np.uint8
    # one window for all frames, so that they can be compared
    window = choose_window(values, reading.window) if deep else BYTES
    facts = {"format": name, "stored": header.dtype.name, "window": window.origin}
    for at in reading.frame_indices(frames):
        yield ReadImage(values[at], window, deep, at, facts=facts)


def _image_shape(header: NpyHeader) -> tuple[int, int, int, tuple[int, ...]]:
    """Return frames, height, width, and (3,) for color or () for gray; refuse other shapes."""
    if header.dtype.kind not in "uif":  # includes pickled objects, which are never loaded
        raise UnreadableError(f"its values are {header.dtype.name}, which make no gray levels")
    shape, channels = header.shape, ()
    if len(shape) > 2 and shape[-1] < FEWEST_FRAMES:
        if shape[-1] not in (1, 3):
            raise UnreadableError(f"its last axis holds {shape[-1]} channels: 1 (gray) or 3 (RGB) are read")
        shape, channels = shape[:-1], (3,) if shape[-1] == 3 else ()
    if len(shape) not in (2, 3):
        raise UnreadableError("its array is neither [h, w], [h, w, 3], [n, h, w] nor [n, h, w, 3]")
    frames, tall, wide = (1, *shape)[-3:]
    check_declared_size(tall, wide)
    if frames < 1:
        raise UnreadableError("its array holds no image")
    return frames, tall, wide, channels


@contextmanager
def _open_array(path: Path) -> Iterator[tuple[IO[bytes], str, int]]:
    """Open an array, also inside an npz; yields it, its format, and its maximum size in bytes."""
    with path.open("rb") as file:
        zipped = file.read(len(ZIP)) == ZIP  # by content, as names can be wrong
        file.seek(0)
        if not zipped:
            yield file, "npy", path.stat().st_size
            return
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise UnreadableError("it is a broken npz, or its end is cut off") from None
        with archive:
            member = _member(archive)
            with archive.open(member) as inside:
                yield inside, "npz", min(member.file_size, member.compress_size * DEFLATE_RATIO)


def _member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one array of an npz, or the one named in `MEMBERS`."""
    arrays = [member for member in archive.infolist() if member.filename.endswith(".npy")]
    called = [member for member in arrays if member.filename.removesuffix(".npy") in MEMBERS]
    chosen = called if len(arrays) > 1 else arrays
    if len(chosen) != 1:
        some = f"{len(arrays)} arrays, of which not just one is" if arrays else "no array"
        raise UnreadableError(f"it holds {some} called {' or '.join(MEMBERS)}: save one array per file")
    return chosen[0]


def _owns(head: bytes) -> bool:
    """Detect the magic; a zip is an npz if its first file is an array."""
    named = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head.startswith(NPY) or (head.startswith(ZIP) and named.endswith(b".npy"))


READERS.add("array", FormatReader(_SUFFIXES, _owns, read_array))
