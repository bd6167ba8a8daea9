"""NIfTI volumes (.nii, .nii.gz) as slices in radiological orientation."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.optional import OptionalModule
from ..images.reader import (
    READERS,
    FormatReader,
    ReaderTable,
    ReadImage,
    UnreadableError,
    check_declared_size,
)
from ..images.stored import DEFLATE_RATIO, stored_values
from ..images.window import BYTES, GrayWindow, choose_window

if TYPE_CHECKING:
    import nibabel.imageglobals
    from nibabel import orientations
else:
    nibabel = OptionalModule("nibabel", "nifti", "Reading NIfTI")
    orientations = OptionalModule("nibabel.orientations", "nifti", "Reading NIfTI")

_SUFFIXES = (".nii", ".nii.gz")
GZIP = b"\x1f\x8b"
PLANES = ("sagittal", "coronal", "axial")
"""By the axis that they are perpendicular to, in the order left-posterior-inferior."""


def read_nifti(path: Path, reading: ReaderTable) -> Iterator[ReadImage]:
    """Yield the selected slices of a file's first volume; errors as `read_images`."""
    header, stored = _read_volume(path)
    affine = header.get_best_affine()
    inferior = orientations.axcodes2ornt(("L", "P", "I"))
    turn = orientations.ornt_transform(orientations.io_orientation(affine), inferior)
    if np.isnan(turn).any():
        raise UnreadableError("its orientation is broken: the affine drops an axis")
    axis = _acquisition_axis(header, turn) if reading.plane == "acquisition" else PLANES.index(reading.plane)
    window = _window(header, stored, reading)
    facts = {"format": "NIfTI", "plane": PLANES[axis], "window": window.origin}
    slices = np.moveaxis(orientations.apply_orientation(stored, turn), axis, 0)  # views: nothing is copied
    deep = stored.ndim == 3 and stored.dtype.itemsize > 1
    for at in reading.frame_indices(len(slices)):
        plane = np.ascontiguousarray(slices[at].swapaxes(0, 1))
        yield ReadImage(plane, window, deep, at, _spacing(affine, turn, axis), facts=facts)


def _window(header: Any, stored: NDArray[Any], reading: ReaderTable) -> GrayWindow:
    """Return one window for the whole volume, so that its slices are comparable."""
    if stored.ndim == 4:
        return BYTES
    slope, intercept = header.get_slope_inter()
    slope, intercept = (float(slope), float(intercept or 0.0)) if slope else (1.0, 0.0)
    return choose_window(stored, reading.window, slope, intercept)


def _spacing(affine: NDArray[Any], turn: NDArray[Any], axis: int) -> tuple[float, float] | None:
    """Return the millimeters per pixel (down, right) of slices across `axis`."""
    sizes = np.empty(3)
    sizes[turn[:, 0].astype(int)] = np.linalg.norm(affine[:3, :3], axis=0)
    right, down = (float(sizes[other]) for other in range(3) if other != axis)
    return (down, right) if down > 0 and right > 0 else None


def _read_volume(path: Path) -> tuple[Any, NDArray[Any]]:
    """Read the header and the stored values of the first volume, [i, j, k] or [i, j, k, 3] RGB."""
    with _open_volume(path) as (file, most), nibabel.imageglobals.LoggingOutputSuppressor():
        header = _read_header(file)
        shape, kind = _declared_shape(header)
        size = int(np.prod(shape, dtype=object)) * kind.itemsize
        content = stored_values(file, int(header.get_data_offset()), size, most, "volume")
    values = np.frombuffer(content, kind).reshape(shape, order="F")
    if kind.names:  # RGB; of RGBA the last part carries nothing of the image
        return header, np.stack([values[name] for name in kind.names[:3]], axis=-1)
    return header, values


@contextmanager
def _open_volume(path: Path) -> Iterator[tuple[Any, int]]:
    """Open a file, also inside gzip; yields it and its maximum size in bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP  # by content, as names can be wrong
        file.seek(0)
        if not zipped:
            yield file, size
            return
        with gzip.GzipFile(fileobj=file) as inside:
            yield inside, size * DEFLATE_RATIO


def _read_header(file: Any) -> Any:
    """Read a NIfTI-1 or NIfTI-2 header."""
    start = file.read(540)
    if start[344:347] == b"ni1" or start[4:7] == b"ni2":
        raise UnreadableError("its values are in another file (.img): convert the pair to one .nii")
    kind = nibabel.Nifti2Header if start[4:7] == b"n+2" else nibabel.Nifti1Header
    return kind.from_fileobj(io.BytesIO(start))


def _declared_shape(header: Any) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Return the shape of the first volume and the type of its values, if they can be an image."""
    sides = [int(side) for side in header.get_data_shape()[:3]]
    i, j, k = sides + [1] * (3 - len(sides))
    for rows, columns in ((i, j), (j, k), (i, k)):
        check_declared_size(rows, columns)
    kind = header.get_data_dtype()
    if kind.kind not in "uif" and not kind.names:
        raise UnreadableError(f"its values are {kind.name}, which make no gray levels")
    return (i, j, k), kind


def _acquisition_axis(header: Any, turn: NDArray[Any]) -> int:
    """Return the axis (in the order L, P, I) across which the volume was scanned."""
    across = header.get_dim_info()[2]
    if across is None:  # voxels are thickest across the slices
        sizes = np.asarray(header.get_zooms()[:3], dtype=float)
        across = int(np.argmax(sizes)) if sizes.max() > 1.01 * sizes.min() else 2
    return int(turn[across, 0])


def _owns(head: bytes) -> bool:
    """Detect the magic, also inside gzip."""
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(31).decompress(head, 512)
        except zlib.error:
            return False
    return head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2")


READERS.add("NIfTI", FormatReader(_SUFFIXES, _owns, read_nifti))
