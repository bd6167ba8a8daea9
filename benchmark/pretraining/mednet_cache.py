"""The MedNets in the cache: what is known of each, and whether its weights are still those that were made."""

import functools
from pathlib import Path

import msgspec

from ...core.files import sha256_file
from ..schema.records import ValidationPoint


class PretrainFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the weights: how they were made. Also the label of every table."""

    images: dict[str, int]
    """Different images of each source that the network was trained on."""
    draws: int
    """Images shown in all, repetitions included."""
    side: int
    """Side in pixels at which they were shown."""
    scores: dict[str, float | None]
    """Primary metric on the held-out images of each source."""
    curve: tuple[ValidationPoint, ...]
    seconds: float
    sha256: str
    start: str = ""
    """Name of the init that it began with; "" is random weights."""
    parts: int = 1
    """Parts of each batch that the network saw one after the other, since memory was short."""

    def label(self, variant: str) -> str:
        """Return the phrase that every table shows."""
        count, names = f"{sum(self.images.values()):,}", ", ".join(self.images)
        begun = f" from {self.start}" if self.start else ""
        made = f"{variant.capitalize()}-MedNet pretrained here{begun}"
        return f"{made} on {count} images at {self.side} px ({names})"


def read_pretrain_facts(weights: Path) -> PretrainFacts | None:
    """Return what is known of finished weights; None where they have yet to be made, or made anew.

    Weights without their facts, or of another hash than there, cannot be trusted: nothing says what they are.
    """
    try:
        found = weights.stat()
        facts = msgspec.json.decode(facts_path(weights).read_bytes(), type=PretrainFacts)
        intact = _digest(weights, found.st_mtime_ns, found.st_size) == facts.sha256
    except (OSError, msgspec.DecodeError):
        return None
    return facts if intact else None


@functools.lru_cache(maxsize=64)  # every cell asks; whoever loads the weights compares their hash once more
def _digest(weights: Path, _modified: int, _size: int) -> str:
    return sha256_file(weights)


def facts_path(weights: Path) -> Path:
    """Return where the facts of finished weights are."""
    return weights.with_suffix(".json")
