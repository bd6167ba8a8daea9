"""numpy's own files (.npy, .npz): one image, or frames of one size, in one array."""

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
"""Which array of an npz is read where it holds several."""
FEWEST_FRAMES = 5
"""Of three axes or more, a last one shorter than this holds channels: 1 of gray or 3 of RGB."""


def read_array(path: Path, reading: ReaderTable) -> Iterator[ReadImage]:
    """Yield the image, or the chosen frames, of the array of a file; see `pictures` for the errors."""
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
    """Return frames, height, width, and (3,) of color or () of gray, where an array can be images."""
    if header.dtype.kind not in "uif":  # pickled objects among them, which are never loaded
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
    """Open the file of an array, inside of npz too; yields it, its format, and the most bytes it can hold."""
    with path.open("rb") as file:
        zipped = file.read(len(ZIP)) == ZIP  # by the content and not by the name, which may lie
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
    """Find the one array of an npz, or the one of the usual name."""
    arrays = [member for member in archive.infolist() if member.filename.endswith(".npy")]
    called = [member for member in arrays if member.filename.removesuffix(".npy") in MEMBERS]
    chosen = called if len(arrays) > 1 else arrays
    if len(chosen) != 1:
        some = f"{len(arrays)} arrays, of which not just one is" if arrays else "no array"
        raise UnreadableError(f"it holds {some} called {' or '.join(MEMBERS)}: save one array per file")
    return chosen[0]


def _owns(head: bytes) -> bool:
    """Tell by the magic; a zip is an npz if its first file is an array."""
    named = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head.startswith(NPY) or (head.startswith(ZIP) and named.endswith(b".npy"))


READERS.add("array", FormatReader(_SUFFIXES, _owns, read_array))
