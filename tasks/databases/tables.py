"""Typed rows of the catalog's CSV files, read on first use."""

import csv
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar, get_origin

import msgspec

from ...core.errors import unknown_name_error
from .licenses import LicenseTerms, terms_of

EvidenceKind = Literal["read", "recalled"]
CRAWL = "web:"
"""Prefix of the ids of web crawls in outside.csv; a card may omit it."""


class ImageDatabase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One public medical image database; unknown facts are None or empty."""

    id: str
    name: str
    variant: Literal["gray", "color", "mixed"]
    modality: str
    anatomy: str
    images: int | None = None
    """2-D images, slices or frames; whole slides if the note says so."""
    volumes: int | None = None
    """Volumes, studies or videos."""
    patients: int | None = None
    labels: str = ""
    label_type: str
    license: str
    license_evidence: Literal["read", "memory", "unknown"]
    access: Literal["open", "registration", "challenge", "request", "credentialed"]
    home: str
    year: int
    kind: Literal["source", "derived", "aggregate"]
    parents: tuple[str, ...] = ()
    """Sets that it derives from; ids of this catalog or of outside.csv."""
    parents_evidence: EvidenceKind | None = None
    overlaps: tuple[str, ...] = ()
    group_key: str
    """Grouping that its files provide: patient, study, none, ..."""
    verification: Literal["verified", "recalled"]
    evidence: str
    """Source of the row's facts, or a remark that they were not read."""
    count_evidence: Literal["primary", "secondary", "memory"]
    note: str = ""

    @property
    def terms(self) -> frozenset[LicenseTerms]:
        """Classes of terms in the license's words."""
        return terms_of(self.license)


class ContaminationLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A corpus that shares images with a downstream task."""

    downstream: str
    parent: str = ""
    corpus: str
    relation: Literal["parent", "contains", "sibling", "overlaps"]
    evidence: EvidenceKind


class CompositionShare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Contribution of one database to a composition."""

    variant: Literal["gray", "color"]
    part: Literal["core", "fill", "extra"]
    """core: permissive; fill: only while the core is too small; extra: not for every use."""
    modality: str
    id: str
    """Database id, or idc-... for many collections of the NCI Imaging Data Commons."""
    rule: str
    """Selection of images: caps per patient, study or series."""
    images: int
    patients: int | None = None
    license: str


class IdcCollection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One modality of one collection of the NCI Imaging Data Commons."""

    collection: str
    modality: str
    """DICOM code: CR, CT, DX, MG, MR, NM, PT, SM, US, XA."""
    series: int
    studies: int
    patients: int
    instances: int
    license: str
    gigabytes: int
    use: Literal["ok", "filter", "non-commercial", "exclude"]
    reason: str = ""


_RowT = TypeVar("_RowT", bound=msgspec.Struct)


def read_csv_rows(name: str, kind: type[_RowT]) -> tuple[_RowT, ...]:
    """Read a CSV of this folder; an empty cell takes the field's default."""
    tuples = {field.name for field in msgspec.structs.fields(kind) if get_origin(field.type) is tuple}
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        content = [
            {key: cell.split(";") if key in tuples else cell for key, cell in row.items() if cell}
            for row in csv.DictReader(file)
        ]
    return tuple(msgspec.convert(content, list[kind], strict=False))  # a CSV holds nothing but text


def read_mapping(name: str) -> Mapping[str, str]:
    """Read a CSV of two columns as a mapping from the first to the second."""
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return dict(list(csv.reader(file))[1:])


@cache
def databases() -> Mapping[str, ImageDatabase]:
    """Return every database by its id, in catalog order."""
    return {row.id: row for row in read_csv_rows("sources.csv", ImageDatabase)}


@cache
def contamination_links() -> tuple[ContaminationLink, ...]:
    """Return every known contamination of a downstream task by a corpus."""
    return read_csv_rows("contamination.csv", ContaminationLink)


@cache
def composition_shares() -> tuple[CompositionShare, ...]:
    """Return the shares of the Gray-MedNet and Color-MedNet compositions."""
    return read_csv_rows("compositions.csv", CompositionShare)


@cache
def idc_collections() -> tuple[IdcCollection, ...]:
    """Return the NCI Imaging Data Commons by collection and modality."""
    return read_csv_rows("idc.csv", IdcCollection)


@cache
def sets_without_row() -> Mapping[str, str]:
    """Return the sets of outside.csv: id to description."""
    return read_mapping("outside.csv")


@cache
def collection_databases() -> Mapping[str, str]:
    """Return the database id of each Imaging Data Commons collection that has one."""
    names = {row.collection for row in idc_collections()}
    homes = ((row.id, re.search(r"IDC (\w+)$", row.home)) for row in databases().values())
    return {home[1]: id for id, home in homes if home and home[1] in names}


@cache
def _names_to_ids() -> Mapping[str, str]:
    """Return every normalized name of a database to its id."""
    named = {normalize_name(row.name): row.id for row in databases().values()}
    collected = {normalize_name(name): id for name, id in collection_databases().items()}
    known = {id: id for id in (*databases(), *sets_without_row())}
    crawls = {id.removeprefix(CRAWL): id for id in sets_without_row()}
    return named | collected | crawls | dict(read_mapping("aliases.csv")) | known


def normalize_name(word: str) -> str:
    """Normalize case, spaces and underscores of a name."""
    return re.sub(r"[\s_]+", "-", word.strip().casefold()).removeprefix("idc:")


def canonical_id(word: str) -> str:
    """Return the id for a name, or the normalized name if the catalog does not know it."""
    return _names_to_ids().get(normalize_name(word), normalize_name(word))


def is_known(word: str) -> bool:
    """Whether the catalog knows a name."""
    return normalize_name(word) in _names_to_ids()


def find_database(word: str) -> ImageDatabase:
    """Return the database of a name; `UserError` suggests the nearest id."""
    id = canonical_id(word)
    if id not in databases():
        raise unknown_name_error("database", word, databases())
    return databases()[id]


def sum_known(values: Iterable[int | None]) -> int:
    """Sum the values, counting None as 0."""
    return sum(value or 0 for value in values)
