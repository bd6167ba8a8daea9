"""One call that reads the images of any supported file, or says in one sentence why it cannot."""

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

from ...core.registry import Registry
from .window import BYTES, GrayWindow, brightness, to_levels

LARGEST_IMAGE = 2**27
"""Pixels of one image, 11,585 x 11,585: what a file declares beyond that is refused before allocating."""
LARGEST_FILE = 2**31
"""Bytes of one file, or of one volume in it, that are held in memory."""


class UnreadableError(ValueError):
    """A file that cannot be read; the message is one sentence that holds nothing of a patient."""


@dataclass(frozen=True)
class ReaderTable:
    """How files are read; the fields of the `reader` table of a card.

    Attributes:
        window: (center, width) in the units of the values (HU for CT); None leaves the choice to the
            file's header, and then to the 0.5 and 99.5 percentiles.
        frames: which frames, pages or slices of one file: all, the middle one, or so many, evenly spaced.
        bits: that are kept of a file that has more than 8.
        group_by: which key of a DICOM header images of one origin share; the next narrower one where the
            header lacks it.
        plane: how a volume is cut; acquisition is the plane that was scanned.
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
        """Return which of `count` frames are read, in order: the middles of that many equal parts."""
        if self.frames == "all":
            return range(count)
        parts = min(1 if self.frames == "middle" else self.frames, count)
        return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One image.

    Attributes:
        values: of any real type, [h, w] or [h, w, 3] RGB; maybe a view that cannot be written to.
        window: which of the values are black and white; those beyond are clipped.
        deep: the file has more than 8 bits, of which `levels` can show 16.
        frame: which frame, page or slice of the file, from 0.
        spacing: millimeters from pixel to pixel (down, right), or only their proportion; None where the file
            tells neither.
        group: the raw key of a patient or study, or ""; hash it with a salt before it goes anywhere.
        patient_known: whether `group` is a patient, not a study or series.
        facts: how it was read (window and origin, photometric interpretation): nothing that identifies.
        traits: numbers and words of the header from which a shortcut could be learnt, such as the scanner;
            they may tell of a patient, and stay in the user's cache.
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
        """Whether the values are gray levels or colors of 8 bits already."""
        return self.values.dtype == np.uint8 and (self.window.low, self.window.high) == (0, 255)

    @property
    def brightness(self) -> NDArray[np.float32]:
        """From black at 0 to white at 1, of the shape of the values."""
        return brightness(self.values, self.window)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Gray levels or colors of 8 bits, of the shape of the values."""
        return self.values if self.as_stored else to_levels(self.brightness).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class FormatReader:
    """How files of one format are recognized and read.

    Attributes:
        suffixes: in lower case, with the dot.
        owns: whether a file that begins with these bytes (at most 1024) is of the format.
        read: yields the chosen images; it may raise anything at broken bytes.
    """

    suffixes: tuple[str, ...]
    owns: Callable[[bytes], bool]
    read: Callable[[Path, ReaderTable], Iterator[ReadImage]]


READERS: Registry[FormatReader] = Registry("reader", "mednet_bench.tasks.readers")


def readable_suffixes() -> tuple[str, ...]:
    """Return the suffixes of every format that can be read, in lower case."""
    return tuple(sorted(suffix for _, reader in READERS.items() for suffix in reader.suffixes))


def read_images(path: Path, reading: ReaderTable | None = None) -> Iterator[ReadImage]:
    """Read the images of one file, one at a time.

    Args:
        path: a file of any supported format; its first bytes decide, then its suffix.
        reading: which frames, and how; by default all of them.

    Raises:
        UnreadableError: whatever is wrong with the file, in one sentence without path or patient.
    """
    name, reader = _reader_of(path)
    found = reader.read(path, reading or ReaderTable())
    while True:
        try:
            with silence_libraries():  # only while decoding: the caller's own warnings are the caller's
                picture = next(found)
        except StopIteration:
            return
        except UnreadableError:
            raise
        except MemoryError as error:
            raise UnreadableError(f"it needs more memory than there is to be read as {name}") from error
        # a decoder raises anything at broken bytes, and its message may quote them
        except Exception as error:
            raise UnreadableError(f"its {name} content is broken ({type(error).__name__})") from error
        yield picture


def _reader_of(path: Path) -> tuple[str, FormatReader]:
    """Find the format by the first bytes, else by the suffix."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
            size = file.seek(0, 2)
    except OSError as error:
        raise UnreadableError(f"it cannot be opened ({error.strerror})") from error
    except ValueError as error:  # a table may name a file by characters that no path has
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
    """Refuse a declared image size before anything is allocated for it."""
    if height < 1 or width < 1:
        raise UnreadableError(f"it declares an image of {width} x {height} pixels")
    if height * width > LARGEST_IMAGE:
        raise UnreadableError(
            f"it declares an image of {width} x {height} pixels, and at most {LARGEST_IMAGE:,} are read"
        )


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Keep what libraries have to say about odd files off the terminal; they quote headers."""
    _add_null_handlers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def _add_null_handlers() -> None:
    """Without a handler Python prints what is logged as a last resort."""
    for library in ("PIL", "pydicom", "nibabel"):
        log = logging.getLogger(library)
        if not log.handlers:
            log.addHandler(logging.NullHandler())
