"""What a source of images is to a corpus: facts, units of work, and what reading one gives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from ...core.registry import Registry
from ...tasks.task import DataLocations, Kind, Variant
from .corpus import SourceFacts


class SourceCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of the TOML card of a source that is no npz; see `SourceFacts` for those not said here."""

    name: str
    kind: str
    """Of source: folder, table, dicom, nifti, ...: a name in `SOURCES`."""
    path: str = "."
    """The folder or table, relative to the card."""
    root: str = ""
    """Where a table's paths begin, relative to the card; the table's folder if empty."""
    variant: Variant
    modality: str
    license: str
    source_group: str
    database: str = ""
    parents: tuple[str, ...] = ()
    citation: str = ""
    labels: Kind = "multiclass"
    classes: tuple[str, ...] = ()
    """In label order; empty takes those that are found, in alphabetical order."""
    path_column: str = ""
    label_column: str = ""
    group_column: str = ""
    group_pattern: str = ""
    """A regular expression whose first parenthesis is the patient in a file's path below `path`."""
    max_per_group: int = 0
    """Most images of one patient or study that are kept; 0 keeps all."""
    labels_from: str = "folder"
    """Of a DICOM source: the first folder below `path`, a header field (Modality, BodyPartExamined), or a
    CSV relative to the card, whose `key_column` holds series, studies or patients."""
    key_column: str = ""
    slices_per_series: int = 0
    """Most files of one DICOM series, or slices of one volume, evenly spaced; 0 keeps all."""
    series_per_patient: int = 0
    """Most DICOM series of one patient, evenly spaced; 0 keeps all."""
    reader: dict[str, Any] = {}
    """Fields of `tasks.readers.reader.Reading`."""


@dataclass(frozen=True, eq=False)
class SourceItem:
    """One image of a source.

    Attributes:
        pixels: uint8, [h, w] or [h, w, 3] RGB.
        label: the class index alone, or 0 and 1 per class.
        group: the raw patient, study or smear, "" if not known; it never leaves the process unhashed.
        name: the file relative to the source's root, in case that the image turns out to be unusable.
    """

    pixels: NDArray
    label: tuple[int, ...]
    group: str = ""
    name: str = ""


@dataclass(frozen=True)
class ReadProblem:
    """What could not be read: the file relative to the source's root, and why, without patient data."""

    name: str
    reason: str


@dataclass(frozen=True)
class WorkUnit:
    """What one process does in one go, and what a killed build may lose.

    Attributes:
        number: counted from 0 within the source.
        what: plain data that msgpack and pickle can write, and that changes whenever reading the unit
            would give something else (so sizes and time stamps of files are part of it).
    """

    number: int
    what: Any


class CorpusSource(Protocol):
    """Images in a fixed order; an implementation must survive pickling, for reading is done in processes."""

    @property
    def facts(self) -> SourceFacts:
        """Say what is known before an image is read; the counts are 0."""
        ...

    def units(self) -> Iterator[WorkUnit]:
        """List the work without decoding any image, the same each time; it is iterated twice."""
        ...

    def read(self, unit: WorkUnit) -> Iterator[SourceItem | ReadProblem]:
        """Decode a unit, one image at a time."""
        ...


@dataclass(frozen=True)
class SourceKind:
    """How a kind of source is opened.

    Attributes:
        open: from a card and the folder that the card lies in.
        named: from what stands behind ``KIND:`` on the command line, where data lie, and whether the user
            has agreed to a download; None where a card is needed.
    """

    open: Callable[[SourceCard, Path], CorpusSource]
    named: Callable[[str, DataLocations, bool], CorpusSource] | None = None


SOURCES: Registry[SourceKind] = Registry("kind of source", "mednet_bench.benchmark.corpus.sources")
