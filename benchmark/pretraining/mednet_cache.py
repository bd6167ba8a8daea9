"""Weights that runs pretrain, with their facts: each run directory has its own, and the cache all.

All machines of a run compute with the file in its run directory; on one file system it is a hard link.
"""

import functools
import os
import shutil
from pathlib import Path

import msgspec

from ...core.files import cache_folder, explain_write_errors, sha256_file, write_atomic
from ..schema.records import ValidationPoint


class PretrainFacts(msgspec.Struct, frozen=True, kw_only=True):
    """JSON file beside the weights: how they were made."""

    images: dict[str, int]
    """Distinct images of each source that the network was trained on."""
    draws: int
    """Images shown in all, repetitions included."""
    side: int
    """Input size in pixels."""
    scores: dict[str, float | None]
    """Primary metric on the held-out images of each source."""
    curve: tuple[ValidationPoint, ...]
    seconds: float
    sha256: str
    start: str = ""
    """Name of the init of its initial weights; "" is random."""
    objective: str = "supervised"
    """Label of the objective; older files do not have it."""
    augmentation: str = "standard"
    distance_from_start: float | None = None
    """L2 distance of the weights from the initial ones, relative to these; None for random ones."""
    parts: int = 1
    """Parts of each batch, processed one after the other to save memory."""
    notes: tuple[str, ...] = ()
    """Sentences for the record."""

    def label(self, variant: str) -> str:
        """Return the label of the MedNet in tables."""
        count, names = f"{sum(self.images.values()):,}", ", ".join(self.images)
        initial = f" from {self.start}" if self.start else ""
        by = "" if self.objective == "supervised" else f" ({self.objective})"
        mednet = f"{variant.capitalize()}-MedNet pretrained here{by}{initial}"
        return f"{mednet} on {count} images at {self.side} px ({names})"


def read_pretrain_facts(weights: Path) -> PretrainFacts | None:
    """Return the facts of finished weights; None where these must be made (again).

    Weights without facts, or with another hash than in the facts, are not trusted: their origin is unknown.
    """
    try:
        found = weights.stat()
        facts = msgspec.json.decode(facts_path(weights).read_bytes(), type=PretrainFacts)
        intact = _digest(weights, found.st_mtime_ns, found.st_size) == facts.sha256
    except (OSError, msgspec.DecodeError):
        return None
    return facts if intact else None


@functools.lru_cache(maxsize=64)  # every cell asks; loading the weights compares their hash once more
def _digest(weights: Path, _modified: int, _size: int) -> str:
    return sha256_file(weights)


def facts_path(weights: Path) -> Path:
    """Return where the facts of finished weights are."""
    return weights.with_suffix(".json")


def cached_weights(weights: Path) -> Path:
    """Return where the cache of this machine has the weights of a run directory."""
    return cache_folder() / "mednet" / weights.name


def find_pretrain_facts(weights: Path) -> PretrainFacts | None:
    """Return the facts of finished weights in the run directory or the cache; None without any."""
    return read_pretrain_facts(weights) or read_pretrain_facts(cached_weights(weights))


def copy_from_cache(weights: Path) -> None:
    """Put weights of the cache into the run directory, then the facts, without which they do not count.

    Raises:
        UnwritableError: the run directory cannot be written to.
        DiskFullError: the disk is full.
    """
    cached = cached_weights(weights)
    for source, new in ((cached, weights), (facts_path(cached), facts_path(weights))):
        with explain_write_errors(new):
            new.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)  # damaged
        try:
            os.link(source, new)
        except OSError:  # another file system, or one without hard links
            with source.open("rb") as file:
                write_atomic(new, lambda target, file=file: shutil.copyfileobj(file, target))
