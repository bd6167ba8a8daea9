"""Reader of the MedMNIST npz layout; every defect of a file is a one-sentence `UserError`."""

import logging
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ...core.errors import UserError
from ..subgroups import RESERVED, as_text, check_subgroups
from ..task import SPLITS, Kind, Split, Variant, no_pixels
from .npy_header import NpyHeader, read_npy_header
from .npz_errors import open_npz

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class NpzLayout:
    """Required arrays of a file.

    Attributes:
        kind: multilabel needs labels [n, classes] of 0 and 1, other kinds class indices.
        classes: number of classes.
        variant: gray needs images [n, side, side], color [n, side, side, 3].
        required: splits that must hold images; others are optional.
        subgroups: text columns, required in the test split only.
        cure: advice for a damaged file (``"download it again"``).
    """

    kind: Kind
    classes: int
    variant: Variant
    required: tuple[str, ...] = SPLITS
    cure: str = "copy it again"
    subgroups: tuple[str, ...] = ()


def read_npz(path: Path, layout: NpzLayout, pixels: bool = True) -> dict[str, Split]:
    """Read the splits of a file, checked against its layout.

    Args:
        path: an npz with ``{train,val,test}_images``, ``*_labels``, optional ``*_groups``, and the layout's
            subgroup columns, e.g. ``*_sex``.
        layout: required arrays.
        pixels: read the images; otherwise these are [n, 0, 0], and only their headers are checked.

    Returns:
        Non-empty splits: square uint8 images of one side, labels squeezed to int64, groups and columns.

    Raises:
        UserError: missing, damaged, larger than memory, or another layout; pickles are never loaded.
    """
    _LOG.debug(f"reading {path}")
    with open_npz(path, layout.cure) as archive:
        headers, splits = read_npz_headers(path, archive, layout)
        if len({headers[f"{name}_images"].shape[1] for name in splits}) > 1:
            raise UserError(f"{path}: its splits hold images of different sizes: export them with one size.")
        _check_memory(path, sum(header.bytes for header in headers.values()))
        found = {name: _split(path, archive, name, headers, layout, pixels) for name in splits}
    check_subgroups(str(path), found)
    return found


def read_npz_headers(
    path: Path, archive: zipfile.ZipFile, layout: NpzLayout
) -> tuple[dict[str, NpyHeader], tuple[str, ...]]:
    """Return the header of each array, and the splits with images; `UserError` as `read_npz`."""
    headers = {name: _header(archive, name) for name in _arrays(archive, layout.subgroups)}
    splits = tuple(name for name in SPLITS if _holds_images(path, name, headers, layout))
    for name in splits:
        _check_images(path, f"{name}_images", headers[f"{name}_images"], layout)
    return headers, splits


def image_side(path: Path) -> int:
    """Return the image side in pixels from the headers of an npz; `UserError` as `read_npz`."""
    with open_npz(path, "copy it again") as archive:
        for name in _arrays(archive):
            header = _header(archive, name)
            if name.endswith("_images") and len(header.shape) >= 3:
                return header.shape[1]
    raise UserError(f"{path} has no array {SPLITS[0]}_images: save the images under that name.")


def _arrays(archive: zipfile.ZipFile, columns: Iterable[str] = ()) -> list[str]:
    wanted = {f"{split}_{what}" for split in SPLITS for what in (*RESERVED, *columns)}
    return [name.removesuffix(".npy") for name in archive.namelist() if name.removesuffix(".npy") in wanted]


def _header(archive: zipfile.ZipFile, name: str) -> NpyHeader:
    """Read shape and type only; the declared size must equal the stored one."""
    member = f"{name}.npy"
    with archive.open(member) as file:
        header = read_npy_header(file)
        stored = archive.getinfo(member).file_size - file.tell()
    if header.dtype.hasobject:
        raise UserError(
            f"{archive.filename}: {name} holds Python objects, which are never loaded: save plain arrays."
        )
    if header.bytes != stored:  # a forged header could request any amount of memory
        raise ValueError(f"{name} declares {header.bytes} bytes and has {stored}")
    return header


def _holds_images(path: Path, split: str, headers: Mapping[str, NpyHeader], layout: NpzLayout) -> bool:
    for what in ("images", "labels"):
        name = f"{split}_{what}"
        if split in layout.required and name not in headers:
            raise UserError(
                f"{path} has no array {name}: it needs images and labels of {', '.join(layout.required)}."
            )
    images = headers.get(f"{split}_images")
    empty = images is None or not images.shape or images.shape[0] == 0
    if empty and split in layout.required:
        raise UserError(f"{path}: {split}_images is empty: put images into it.")
    return not empty and f"{split}_labels" in headers


def _check_images(path: Path, name: str, header: NpyHeader, layout: NpzLayout) -> None:
    if header.dtype != np.uint8:
        raise UserError(
            f"{path}: {name} is {header.dtype} and must be uint8 with values from 0 to 255: convert it."
        )
    shape = header.shape[:-1] if layout.variant == "gray" and header.shape[3:] == (1,) else header.shape
    fits = len(shape) == 3 if layout.variant == "gray" else len(shape) == 4 and shape[3] == 3
    if not fits or shape[1] != shape[2] or shape[1] == 0:
        wanted = "[n, side, side]" if layout.variant == "gray" else "[n, side, side, 3]"
        raise UserError(
            f"{path}: {name} has the shape {list(header.shape)}, but {layout.variant} images are {wanted}: "
            "correct the file or its variant."
        )


def _check_memory(path: Path, needed: int) -> None:
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not POSIX: rely on MemoryError
        return
    if needed > there:
        raise UserError(
            f"{path} unpacks to {needed / 1e9:.1f} GB and this machine has {there / 1e9:.1f} GB of memory: "
            "choose a smaller size."
        )


def _split(
    path: Path,
    archive: zipfile.ZipFile,
    split: str,
    headers: Mapping[str, NpyHeader],
    layout: NpzLayout,
    pixels: bool,
) -> Split:
    name = f"{split}_images"
    images = _array(archive, name) if pixels else no_pixels(headers[name].shape[0])
    if layout.variant == "gray":
        images = images.reshape(images.shape[:3])
    labels, groups = labels_and_groups(path, archive, split, headers, layout)
    return Split(images, labels, groups, _columns(path, archive, split, headers, layout))


def _columns(
    path: Path, archive: zipfile.ZipFile, split: str, headers: Mapping[str, NpyHeader], layout: NpzLayout
) -> dict[str, NDArray[np.str_]]:
    """Read the subgroup columns; only test must have them, since only test scores are reported."""
    found = {}
    for column in layout.subgroups:
        name = f"{split}_{column}"
        if name in headers:
            n = headers[f"{split}_images"].shape[0]
            found[column] = as_text(f"{path}: {name}", _array(archive, name), n)
        elif split == "test":
            raise UserError(f"{path} has no array {name}: add it, or leave '{column}' out of subgroups.")
    return found


def labels_and_groups(
    path: Path, archive: zipfile.ZipFile, split: str, headers: Mapping[str, NpyHeader], layout: NpzLayout
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Read the labels and groups of a split; `UserError` as `read_npz`."""
    n = headers[f"{split}_images"].shape[0]
    labels = _labels(path, f"{split}_labels", _array(archive, f"{split}_labels"), n, layout)
    name = f"{split}_groups"
    if name not in headers:
        return labels, None
    groups = _array(archive, name)
    groups = groups[:, 0] if groups.ndim == 2 and groups.shape[1] == 1 else groups
    if groups.shape != (n,) or groups.dtype.kind not in "iu":
        raise UserError(
            f"{path}: {name} is {groups.dtype} {list(groups.shape)} for {n} images: it must hold "
            "one whole number per image, its patient, smear or lesion."
        )
    groups = groups.astype(np.int64)
    if groups.min(initial=0) < -1:
        raise UserError(
            f"{path}: {name} holds numbers below -1 or above 2**63 - 1: number the groups from 0, with -1 "
            "where none is known."
        )
    # images without a group get distinct numbers, also over splits
    own = -2 - np.arange(n) - (SPLITS.index(split) << 40)
    return labels, np.where(groups == -1, own, groups)


def _array(archive: zipfile.ZipFile, name: str) -> NDArray:
    with archive.open(f"{name}.npy") as file:
        return npy.read_array(file, allow_pickle=False)


def _labels(path: Path, name: str, raw: NDArray, n: int, layout: NpzLayout) -> NDArray[np.int64]:
    multilabel = layout.kind == "multilabel"
    labels = raw[:, 0] if not multilabel and raw.ndim == 2 and raw.shape[1] == 1 else raw
    wanted = (n, layout.classes) if multilabel else (n,)
    if labels.shape != wanted:
        raise UserError(
            f"{path}: {name} has the shape {list(raw.shape)}, and {n} images of a {layout.kind} set with "
            f"{layout.classes} classes need {list(wanted)}: correct the labels or the kind and classes."
        )
    if labels.dtype.kind not in "iub" and not _are_whole(labels):
        raise UserError(f"{path}: {name} must hold whole numbers and is {labels.dtype}: save class indices.")
    top = 1 if multilabel else layout.classes - 1
    if labels.min() < 0 or labels.max() > top:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise UserError(
            f"{path}: {name} holds {wrong:g}, but labels run from 0 to {top} here ({layout.kind}, "
            f"{layout.classes} classes): correct the labels or the classes."
        )
    return labels.astype(np.int64)


def _are_whole(labels: NDArray) -> bool:
    return labels.dtype.kind == "f" and bool(np.isfinite(labels).all() and (labels == np.rint(labels)).all())
