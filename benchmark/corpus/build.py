"""Build a corpus: read its sources in parallel, in units, and resume after interruptions."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.files import writable_folder, write_bytes
from ...core.leases import claim_lock
from ...core.process_pool import map_in_processes
from ...core.progress import show_count
from ...tasks.pseudonymize import salt_trace
from .arrow import require_arrow
from .build_part import CorpusPart, CorpusSettings, make_part
from .corpus import CORPUS, CORPUS_FORMAT, PARTS, SHARDS, Corpus, read_corpus
from .finish import finish_corpus
from .source import CorpusSource, WorkUnit

PLAN = "plan.json"
"""File in the folder of the parts: hash of the request of the unfinished build."""


@dataclass(frozen=True)
class _Survey:
    """Number of units of each source, and the hash of everything that decides the result."""

    units: tuple[int, ...]
    request: str


def build_corpus(
    folder: Path, sources: Sequence[CorpusSource], settings: CorpusSettings, jobs: int = 1
) -> Corpus:
    """Build a corpus, or resume an interrupted build; a finished corpus is returned unchanged.

    An image that several sources hold is kept from the first.

    Raises:
        UserError: the folder holds another corpus or another build, a second process works on it, a source
            is of the other variant, or pyarrow is not installed.
        StoppedError: the disk is full or a process died; the same call resumes.
    """
    require_arrow()
    for source in sources:
        if source.facts.variant != settings.variant:
            raise UserError(
                f"'{source.facts.name}' is {source.facts.variant}: build it with --variant "
                f"{source.facts.variant}, or correct its card."
            )
    writable_folder(folder)
    with claim_lock(folder / ".lock", watch=True) as ours:
        if not ours:
            raise UserError(
                f"Another process builds {folder} just now: wait for it, or choose another folder."
            )
        survey = _survey_sources(sources, settings)
        return _open_existing(folder, survey.request) or _build_parts(
            folder, sources, settings, survey, jobs, ours.check
        )


def _build_parts(
    folder: Path,
    sources: Sequence[CorpusSource],
    settings: CorpusSettings,
    survey: _Survey,
    jobs: int,
    check: Callable[[], object],
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
        for image_count, problem_count in map_in_processes(work, _pending_units(folder, sources), jobs):
            check()
            images, problems = images + image_count, problems + problem_count
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
    """List the units without reading any image."""
    digest = hashlib.sha256()
    digest.update(repr((CORPUS_FORMAT, settings.variant, settings.side, salt_trace(settings.salt))).encode())
    counts = []
    for source in sources:
        facts = msgspec.msgpack.encode(source.facts)
        digest.update(facts.replace(b"\xa7license", b"\xa7licence"))  # so that corpora of version 0.1 stay
        count = 0
        for unit in source.units():
            digest.update(msgspec.msgpack.encode((unit.number, unit.what)))
            count += 1
        counts.append(count)
    return _Survey(tuple(counts), digest.hexdigest())


def _open_existing(folder: Path, request: str) -> Corpus | None:
    """Return the finished corpus of a folder, if any; `UserError` if it holds another build."""
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
        for partial_file in inside.glob(".*.tmp"):  # left by kill -9
            partial_file.unlink(missing_ok=True)
    return None
