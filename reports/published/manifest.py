"""`published.json`: inputs with their licenses and a hash of every file, and the check of these hashes."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from ...baselines.zoo.card import FAMILY, zoo_cards
from ...benchmark.schema.records import RECORD_FORMAT, InitFacts, Record
from ...core.errors import UserError
from ...core.files import read_regular, sha256_file
from ...tasks.databases.tables import databases

MANIFEST = "published.json"
PUBLISHED_FORMAT = 1
UNKNOWN = "unknown"


class PublishedTask(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Task at one stored size in pixels, with what a reader must know to cite its images."""

    task: str
    size: int
    data: str
    """Content hash of the images and labels."""
    test_images: tuple[int, ...]
    """Numbers of test images; of a cross-validated task those of its folds."""
    title: str
    license: str
    citation: str
    source: str
    generated: bool


class PublishedInit(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Weights of an init, and the corpora that they are declared to have seen."""

    init: str
    identity: str
    label: str
    license: str
    citation: str
    source: str
    corpora: dict[str, str]
    """Corpus -> its license."""
    recalled: tuple[str, ...]
    """Facts that are from memory, as in `InitFacts`."""


class PublishedManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `published.json`; a fact that no record or card states is "unknown"."""

    format: int = PUBLISHED_FORMAT
    record_format: int = RECORD_FORMAT
    mednet_bench: str
    """Version that published the records."""
    tasks: tuple[PublishedTask, ...]
    inits: tuple[PublishedInit, ...]
    files: dict[str, str]
    """Path of every other file -> its SHA-256."""


def list_tasks(records: Iterable[Record]) -> tuple[PublishedTask, ...]:
    """List the tasks of ok score records, sorted."""
    found: dict[tuple[str, int, str], tuple[Record, set[int]]] = {}
    for record in records:
        place = (record.cell.task, record.cell.size, record.hashes.data)
        found.setdefault(place, (record, set()))[1].update({record.counts.test} if record.counts else ())
    return tuple(sorted(_task(record, counts) for record, counts in found.values()))


def _task(record: Record, counts: set[int]) -> PublishedTask:
    facts, rows = record.task, databases()
    ids = dict.fromkeys((record.cell.task, facts.source_group if facts else ""))
    homes = "; ".join(f"{rows[name].name}: {rows[name].home}" for name in ids if name in rows)
    return PublishedTask(
        task=record.cell.task,
        size=record.cell.size,
        data=record.hashes.data or UNKNOWN,
        test_images=tuple(sorted(counts)),
        title=facts.title if facts else UNKNOWN,
        license=(facts and facts.license) or UNKNOWN,
        citation=(facts and facts.citation) or UNKNOWN,
        source="drawn by mednet-bench" if facts and facts.generated else homes or UNKNOWN,
        generated=bool(facts and facts.generated),
    )


def list_inits(records: Iterable[Record]) -> tuple[PublishedInit, ...]:
    """List the inits of records by name and identity of their weights, sorted."""
    found = {(r.cell.init, r.init.identity): _init(r.cell.init, r.init) for r in records if r.init}
    return tuple(sorted(found.values()))


def _init(name: str, facts: InitFacts) -> PublishedInit:
    family, _, variant = (facts.derived_from or name).partition("/")
    card, rows = zoo_cards().get(variant) if family == FAMILY else None, databases()
    source = facts.label if family == "imagenet" else (card.url or card.page or card.hub) if card else ""
    source = "pretrained by the publisher of the records" if facts.origin == "here" else source
    return PublishedInit(
        init=name,
        identity=facts.identity,
        label=facts.label,
        license="none needed: random weights" if facts.random else facts.license or UNKNOWN,
        citation=(card.citation if card else "") or UNKNOWN,
        source="drawn at random" if facts.random else source or UNKNOWN,
        corpora={each: rows[each].license if each in rows else UNKNOWN for each in facts.corpora},
        recalled=facts.recalled,
    )


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a published run by path, without the manifest and `report/`."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    return {
        name: sha256_file(folder / name)
        for name in names
        if name != MANIFEST and not name.startswith("report/")
    }


def check_published(folder: Path) -> PublishedManifest:
    """Return the manifest of a published run whose files all have its hashes.

    Raises:
        UserError: the folder is no published run, another version wrote it, or a file is not as published.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder} is no published run: publish it first (mednet-bench publish {folder} --to DIR)."
        )
    try:
        manifest = msgspec.json.decode(read_regular(folder / MANIFEST), type=PublishedManifest)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / MANIFEST} cannot be read: publish the run again.") from error
    formats = (manifest.format, manifest.record_format)
    if formats != (PUBLISHED_FORMAT, RECORD_FORMAT):
        raise UserError(
            f"{folder} was published by mednet-bench {manifest.mednet_bench} in a format that this version "
            "does not read: use that version, or publish the run again."
        )
    if fault := _fault(manifest.files, folder):
        raise UserError(f"{folder} is not as it was published: {fault}; leave it out, or publish it again.")
    return manifest


def _fault(published: dict[str, str], folder: Path) -> str:
    """Return what is wrong with the first wrong file, or ""."""
    try:
        files = hash_files(folder)
    except OSError as error:
        return f"{error.filename} cannot be read"
    for name in sorted({*published, *files}):
        if name not in files:
            return f"{name} is missing"
        if name not in published:
            return f"{name} is not in {MANIFEST}"
        if files[name] != published[name]:
            return f"{name} has another SHA-256 than in {MANIFEST}"
    return ""
