"""Published values, read from the data files beside this module."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...core.toml_files import read_toml

PARITY_METRICS = ("auc", "accuracy")


class PublishedValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Published values of one (task, arch, size), in the file's unit."""

    auc: float
    accuracy: float
    auc_sd: float | None = None
    accuracy_sd: float | None = None


class StudyFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of one data file."""

    source: str
    unit: float
    """Factor of the file's values: 0.01 if they are in percent."""
    runs: int
    """Smallest number of runs of a published mean."""
    note: str
    rows: dict[str, dict[str, dict[str, PublishedValues]]]
    """Side of the stored images in pixels -> arch -> task -> values."""
    epoch: str = ""
    """Rule that chooses the epoch whose test scores are compared; "" is the rule of the authors' script."""

    def archs(self, size: int) -> tuple[str, ...]:
        """Return the architectures with values for this size."""
        return tuple(self.rows.get(str(size), {}))

    def tasks(self, size: int, arch: str) -> tuple[str, ...]:
        """Return the tasks with values for this size and arch."""
        return tuple(self.rows.get(str(size), {}).get(arch, {}))

    def published(self, task: str, arch: str, size: int) -> Iterator["PublishedMean"]:
        """Yield the mean of each metric of one row."""
        row = self.rows[str(size)][arch][task]
        for metric in PARITY_METRICS:
            sd = getattr(row, f"{metric}_sd")
            value = getattr(row, metric) * self.unit
            yield PublishedMean(metric, value, None if sd is None else sd * self.unit, self.runs)


@dataclass(frozen=True)
class PublishedMean:
    """A published mean in 0..1, its standard deviation over runs if stated, number of runs."""

    metric: str
    value: float
    sd: float | None
    runs: int


def read_facts(path: Path) -> StudyFacts:
    """Read a data file."""
    return msgspec.convert(read_toml(path), StudyFacts)
