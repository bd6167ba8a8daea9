"""MedNets in the cache: the facts of each, and a check that its weights are unchanged."""

import functools
from pathlib import Path

import msgspec

from ...core.files import sha256_file
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
