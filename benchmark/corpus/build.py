"""Building a corpus: sources read in parallel, unit by unit, resumed after any kind of end."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.files import claim_lock, writable_folder, write_bytes
from ...core.process_pool import map_in_processes
from ...core.progress import show_count
from ...tasks.pseudonymize import salt_trace
from .build_part import CorpusPart, CorpusSettings, make_part
from .corpus import CORPUS, CORPUS_FORMAT, PARTS, SHARDS, Corpus, read_corpus
from .finish import finish_corpus
from .source import CorpusSource, WorkUnit

PLAN = "plan.json"
"""In the folder of the parts: what the build under way was asked for."""


@dataclass(frozen=True)
class _Survey:
    """What there is to do: units per source, and the hash of everything that decides the result."""

    units: tuple[int, ...]
    request: str


def build_corpus(
    folder: Path, sources: Sequence[CorpusSource], settings: CorpusSettings, jobs: int = 1
) -> Corpus:
    """Build a corpus, or go on with one that was interrupted; a finished one is left as it is.

    Args:
        folder: where it shall stand.
        sources: in the order in which they keep an image that several of them hold.
        settings: what is done to the images.
        jobs: processes.

    Raises:
        UserError: the folder holds another corpus or another build, a second process works on it, or a
            source is of the other variant.
        StoppedError: no room on the disk, or a process died; running it again goes on.
    """
    for source in sources:
        if source.facts.variant != settings.variant:
            raise UserError(
                f"'{source.facts.name}' is {source.facts.variant}: build it with --variant "
                f"{source.facts.variant}, or correct its card."
            )
    writable_folder(folder)
    with claim_lock(folder / ".lock") as ours:
        if not ours:
            raise UserError(
                f"Another process builds {folder} just now: wait for it, or choose another folder."
            )
        survey = _survey_sources(sources, settings)
        done = _open_existing(folder, survey.request)
        return done or _build_parts(folder, sources, settings, survey, jobs)


def _build_parts(
    folder: Path, sources: Sequence[CorpusSource], settings: CorpusSettings, survey: _Survey, jobs: int
) -> Corpus:
    parts = [
        CorpusPart(folder, source.facts.name, number)
        for source, count in zip(sources, survey.units, strict=True)
        for number in range(count)
    ]
    waiting = sum(not part.table.exists() for part in parts)
    with show_count("units of up to a thousand files", len(parts), len(parts) - waiting) as step:
        images = problems = 0
        work = partial(_build_unit, folder=folder, settings=settings)
        for made, failed in map_in_processes(work, _pending_units(folder, sources), jobs):
            images, problems = images + made, problems + failed
            step(f"{images:,} images, {problems:,} problems")
    return finish_corpus(folder, [source.facts for source in sources], parts, settings, survey.request)


def _build_unit(
    piece: tuple[CorpusSource, WorkUnit], folder: Path, settings: CorpusSettings
) -> tuple[int, int]:
    return make_part(*piece, folder, settings)


def _pending_units(folder: Path, sources: Sequence[CorpusSource]) -> Iterator[tuple[CorpusSource, WorkUnit]]:
    for source in sources:
        for unit in source.units():
            if not CorpusPart(folder, source.facts.name, unit.number).table.exists():
                yield source, unit


def _survey_sources(sources: Sequence[CorpusSource], settings: CorpusSettings) -> _Survey:
    """Go over the units without reading them."""
    digest = hashlib.sha256()
    digest.update(repr((CORPUS_FORMAT, settings.variant, settings.side, salt_trace(settings.salt))).encode())
    counts = []
    for source in sources:
        digest.update(msgspec.msgpack.encode(source.facts))
        count = 0
        for unit in source.units():
            digest.update(msgspec.msgpack.encode((unit.number, unit.what)))
            count += 1
        counts.append(count)
    return _Survey(tuple(counts), digest.hexdigest())


def _open_existing(folder: Path, request: str) -> Corpus | None:
    """Take up what is there: a finished corpus is returned, another build is refused."""
    if (folder / CORPUS).exists():
        corpus = read_corpus(folder)
        if corpus.request != request:
            raise UserError(
                f"{folder} holds a finished corpus of other sources or settings: choose another folder, or "
                "delete it."
            )
        shutil.rmtree(folder / PARTS, ignore_errors=True)  # killed just before
        return corpus
    plan = folder / PARTS / PLAN
    if not plan.exists():
        write_bytes(plan, request.encode())
    elif plan.read_text(encoding="utf-8") != request:
        raise UserError(
            f"{folder} holds an unfinished build of other sources or settings, or its sources have changed "
            "since: choose another folder, or delete it."
        )
    for inside in (folder, folder / PARTS, folder / SHARDS):
        for left in inside.glob(".*.tmp"):  # what a kill -9 cut off
            left.unlink(missing_ok=True)
    return None
