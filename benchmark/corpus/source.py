"""Interface of a source of images: its card, facts, units of work and items."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from numpy.typing import NDArray

from ...core.registry import Registry
from ...tasks.task import DataLocations, Kind, Variant
from .corpus import SourceFacts

NO_LABEL = (-1,)
"""Label of an image of a source without labels."""


class SourceCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of the TOML card of a source that is not an npz; `SourceFacts` describes the others."""

    name: str
    kind: str
    """Kind of source, a name in `SOURCES`: folder, table, dicom, nifti, ..."""
    path: str = "."
    """The folder or table, relative to the card."""
    root: str = ""
    """Folder of a table's paths, relative to the card; "" is the table's folder."""
    variant: Variant
    modality: str
    license: str
    source_group: str
    database: str = ""
    parents: tuple[str, ...] = ()
    citation: str = ""
    labels: Kind | Literal["none"] = "multiclass"
    classes: tuple[str, ...] = ()
    """In label order; empty takes those found in the data, in alphabetical order. None without labels."""
    path_column: str = ""
    label_column: str = ""
    group_column: str = ""
    group_pattern: str = ""
    """Regular expression whose first group is the patient in a file's path below `path`."""
    max_per_group: int = 0
    """Largest number of images of one patient or study; 0 keeps all."""
    labels_from: str = "folder"
    """For DICOM: "folder" (the first below `path`), a header field (Modality, BodyPartExamined), or a CSV
    relative to the card, whose `key_column` holds series, studies or patients."""
    key_column: str = ""
    slices_per_series: int = 0
    """Largest number of files of a DICOM series, or slices of a volume, evenly spaced; 0 keeps all."""
    series_per_patient: int = 0
    """Largest number of DICOM series of one patient, evenly spaced; 0 keeps all."""
    reader: dict[str, Any] = {}
    """Fields of `tasks.images.reader.ReaderTable`."""


@dataclass(frozen=True, eq=False)
class SourceItem:
    """One image of a source.

    Attributes:
        pixels: uint8, [h, w] or [h, w, 3] RGB.
        label: the class index alone, or 0 and 1 per class; `NO_LABEL` in a source without labels.
        group: raw id of the patient, study or smear, "" if unknown; never stored unhashed.
        name: file relative to the source's root, for the list of problems.
    """

    pixels: NDArray
    label: tuple[int, ...]
    group: str = ""
    name: str = ""


@dataclass(frozen=True)
class ReadProblem:
    """A file (relative to the root) that could not be read, and why, without patient data."""

    name: str
    reason: str


@dataclass(frozen=True)
class WorkUnit:
    """Smallest piece of work of one process; a killed build repeats its unfinished units.

    Attributes:
        number: counted from 0 within the source.
        what: plain data for msgpack and pickle that changes whenever the unit's content does (sizes and
            time stamps of files are therefore part of it).
    """

    number: int
    what: Any


class CorpusSource(Protocol):
    """Images in a fixed order; must be picklable, since processes read them."""

    @property
    def facts(self) -> SourceFacts:
        """Facts that are known before any image is read; the counts are 0."""
        ...

    def units(self) -> Iterator[WorkUnit]:
        """List the units without decoding any image; called twice, with the same result."""
        ...

    def read(self, unit: WorkUnit) -> Iterator[SourceItem | ReadProblem]:
        """Decode a unit, one image at a time."""
        ...


@dataclass(frozen=True)
class SourceKind:
    """Functions that open a kind of source.

    Attributes:
        open: takes a card and the card's folder.
        named: takes NAME of `KIND:NAME` on the command line, the locations of data, and whether the user
            has agreed to a download; None where a card is needed.
    """

    open: Callable[[SourceCard, Path], CorpusSource]
    named: Callable[[str, DataLocations, bool], CorpusSource] | None = None


SOURCES: Registry[SourceKind] = Registry("kind of source", "mednet_bench.benchmark.corpus.sources")
