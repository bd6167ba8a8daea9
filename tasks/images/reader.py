"""Reading of images in any supported format, with one-sentence errors."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.registry import Registry
from .window import BYTES, GrayWindow, brightness, to_levels

LARGEST_IMAGE = 2**27
"""In pixels, 11,585 x 11,585; larger declared sizes are refused before allocation."""
LARGEST_FILE = 2**31
"""In bytes, of one file or of one volume in it."""


GRAY_TOLERANCE = 2 / 255
"""Largest difference of the channels of a gray pixel, as a share of the range; JPEG rounds each channel."""


class UnreadableError(ValueError):
    """A file cannot be read; the message is one sentence without patient data."""


@dataclass(frozen=True)
class ReaderTable:
    """Reader settings: the `reader` table of a card.

    Attributes:
        window: (center, width) in units of the values (HU for CT); None takes the header's window, else the
            0.5 and 99.5 percentiles.
        frames: frames, pages or slices per file: all, the middle one, or that many, evenly spaced.
        bits: bits kept of a file with more than 8.
        group_by: DICOM id that groups images; the next narrower one if the header lacks it.
        plane: slicing plane of a volume; acquisition is the scanned one.
    """

    window: tuple[float, float] | None = None
    frames: Literal["all", "middle"] | int = "all"
    bits: Literal[8, 16] = 16
    group_by: Literal["patient", "study", "series"] = "patient"
    plane: Literal["acquisition", "axial", "coronal", "sagittal"] = "acquisition"

    def __post_init__(self) -> None:
        if self.window is not None and not self.window[1] > 0:
            raise ValueError("the width of a window must be above 0")
        if not isinstance(self.frames, str) and self.frames < 1:
            raise ValueError("frames must be 'all', 'middle' or a number from 1")

    def frame_indices(self, count: int) -> Sequence[int]:
        """Return the indices of the frames to read, in order: the centers of equal parts of `count`."""
        if self.frames == "all":
            return range(count)
        parts = min(1 if self.frames == "middle" else self.frames, count)
        return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One image.

    Attributes:
        values: any real type, [h, w] or [h, w, 3] RGB; maybe a read-only view.
        window: values of black and white; values beyond are clipped.
        deep: whether the file has more than 8 bits.
        frame: frame, page or slice of the file, from 0.
        spacing: millimeters per pixel (down, right), or only their ratio; None if unknown.
        group: raw id of a patient or study, or ""; hash it with a salt before storing it.
        facts: reading facts (window and its origin, photometric interpretation) without ids.
        traits: header fields that may allow shortcuts, such as the scanner; they may identify a patient and
            stay in the user's cache.
        patient_known: whether `group` is a patient, not a study or series.
    """

    values: NDArray
    window: GrayWindow = BYTES
    deep: bool = False
    frame: int = 0
    spacing: tuple[float, float] | None = None
    group: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    traits: Mapping[str, float | str] = field(default_factory=dict)
    patient_known: bool = False

    @property
    def as_stored(self) -> bool:
        """Whether the values are 8-bit levels already."""
        return self.values.dtype == np.uint8 and (self.window.low, self.window.high) == (0, 255)

    @property
    def is_gray(self) -> bool:
        """Whether no pixel has a color: one channel, or three that are equal but for rounding."""
        if self.values.ndim == 2:
            return True
        most = GRAY_TOLERANCE * abs(self.window.high - self.window.low)
        for step in (16, 1):  # a sample settles nearly all images of color
            red, green, blue = np.moveaxis(self.values[::step, ::step], 2, 0)
            low, high = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
            if (high.astype(np.float64) - low).max() > most:
                return False
        return True

    @property
    def brightness(self) -> NDArray[np.float32]:
        """Brightness from 0 (black) to 1 (white), of the shape of the values."""
        return brightness(self.values, self.window)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """8-bit levels, of the shape of the values."""
        return self.values if self.as_stored else to_levels(self.brightness).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class FormatReader:
    """Detection and reading of one format.

    Attributes:
        suffixes: in lower case, with the dot.
        owns: whether a file with these first bytes (at most 1024) has the format.
        read: yields the selected images; may raise any exception at broken bytes.
    """

    suffixes: tuple[str, ...]
    owns: Callable[[bytes], bool]
    read: Callable[[Path, ReaderTable], Iterator[ReadImage]]


READERS: Registry[FormatReader] = Registry("reader", "mednet_bench.tasks.readers")


def readable_suffixes() -> tuple[str, ...]:
    """Return the suffixes of all readable formats, in lower case."""
    return tuple(sorted(suffix for _, reader in READERS.items() for suffix in reader.suffixes))


def read_images(path: Path, reading: ReaderTable | None = None) -> Iterator[ReadImage]:
    """Yield the images of one file; its format is detected by the first bytes, else by suffix.

    Raises:
        UnreadableError: the file cannot be read; one sentence without path or patient.
        UserError: reading its format needs a package that is not installed.
    """
    name, reader = _reader_of(path)
    found = reader.read(path, reading or ReaderTable())
    while True:
        try:
            with silence_libraries():  # only while decoding, to keep the caller's warnings
                picture = next(found)
        except StopIteration:
            return
        except (UnreadableError, UserError):
            raise
        except MemoryError as error:
            raise UnreadableError(f"it needs more memory than there is to be read as {name}") from error
        # decoders raise any exception at broken bytes, with messages that may quote them
        except Exception as error:
            raise UnreadableError(f"its {name} content is broken ({type(error).__name__})") from error
        yield picture


def _reader_of(path: Path) -> tuple[str, FormatReader]:
    """Detect the format by the first bytes, else by the suffix."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
            size = file.seek(0, 2)
    except OSError as error:
        raise UnreadableError(f"it cannot be opened ({error.strerror})") from error
    except ValueError as error:  # characters that no path can have
        raise UnreadableError("it cannot be opened (its name is none)") from error
    if not size:
        raise UnreadableError("it is empty")
    if size > LARGEST_FILE:
        raise UnreadableError(f"it has {size:,} bytes, and at most {LARGEST_FILE:,} are read: split it")
    for name, reader in READERS.items():
        if reader.owns(head):
            return name, reader
    for name, reader in READERS.items():
        if path.name.lower().endswith(reader.suffixes):
            return name, reader
    raise UnreadableError(f"its format is not known: {', '.join(readable_suffixes())} and DICOM can be read")


def check_declared_size(height: int, width: int) -> None:
    """Refuse a declared image size before memory is allocated for it."""
    if height < 1 or width < 1:
        raise UnreadableError(f"it declares an image of {width} x {height} pixels")
    if height * width > LARGEST_IMAGE:
        raise UnreadableError(
            f"it declares an image of {width} x {height} pixels, and at most {LARGEST_IMAGE:,} are read"
        )


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Suppress messages of libraries on odd files, as they quote headers."""
    _add_null_handlers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def _add_null_handlers() -> None:
    """Add handlers to library loggers, as Python prints messages of loggers without one."""
    for library in ("PIL", "pydicom", "nibabel"):
        log = logging.getLogger(library)
        if not log.handlers:
            log.addHandler(logging.NullHandler())
