"""The published values, as the data files beside this module state them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...core.toml_files import read_toml

PARITY_METRICS = ("auc", "accuracy")


class PublishedValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was published of one (task, arch, size), in the file's unit."""

    auc: float
    accuracy: float
    auc_sd: float | None = None
    accuracy_sd: float | None = None


class StudyFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One data file."""

    source: str
    unit: float
    """What a value of 1 in the file means: 0.01 where it is in percent."""
    runs: int
    """How many runs a published mean is made of, at least."""
    note: str
    rows: dict[str, dict[str, dict[str, PublishedValues]]]
    """Side of the stored images in pixels -> arch -> task -> values."""
    epoch: str = ""
    """The rule, beside the script's own, whose test scores are compared; "" is the script's own."""

    def archs(self, size: int) -> tuple[str, ...]:
        """Return the architectures with values for this side."""
        return tuple(self.rows.get(str(size), {}))

    def tasks(self, size: int, arch: str) -> tuple[str, ...]:
        """Return the tasks with values for this side and arch."""
        return tuple(self.rows.get(str(size), {}).get(arch, {}))

    def published(self, task: str, arch: str, size: int) -> Iterator["PublishedMean"]:
        """Iterate over the metrics of one row."""
        row = self.rows[str(size)][arch][task]
        for metric in PARITY_METRICS:
            sd = getattr(row, f"{metric}_sd")
            value = getattr(row, metric) * self.unit
            yield PublishedMean(metric, value, None if sd is None else sd * self.unit, self.runs)


@dataclass(frozen=True)
class PublishedMean:
    """A published mean in 0..1, its standard deviation over runs where stated, and the number of runs."""

    metric: str
    value: float
    sd: float | None
    runs: int


def read_facts(path: Path) -> StudyFacts:
    """Read a data file; a mistake in it is a mistake in this package."""
    return msgspec.convert(read_toml(path), StudyFacts)
