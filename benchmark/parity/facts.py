"""The published values, as the data files beside this module state them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...core.toml_files import read_toml

METRICS = ("auc", "accuracy")


class Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was published of one (task, arch, size), in the file's unit."""

    auc: float
    accuracy: float
    auc_sd: float | None = None
    accuracy_sd: float | None = None


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One data file."""

    source: str
    unit: float
    """What a value of 1 in the file means: 0.01 where it is in percent."""
    runs: int
    """How many runs a published mean is made of, at least."""
    note: str
    rows: dict[str, dict[str, dict[str, Values]]]
    """Side of the stored images in pixels -> arch -> task -> values."""
    epoch: str = ""
    """The rule, beside the script's own, whose test scores are compared; "" is the script's own."""

    def archs(self, size: int) -> tuple[str, ...]:
        """Return the architectures with values for this side."""
        return tuple(self.rows.get(str(size), {}))

    def tasks(self, size: int, arch: str) -> tuple[str, ...]:
        """Return the tasks with values for this side and arch."""
        return tuple(self.rows.get(str(size), {}).get(arch, {}))

    def published(self, task: str, arch: str, size: int) -> Iterator["Published"]:
        """Iterate over the metrics of one row."""
        row = self.rows[str(size)][arch][task]
        for metric in METRICS:
            sd = getattr(row, f"{metric}_sd")
            value = getattr(row, metric) * self.unit
            yield Published(metric, value, None if sd is None else sd * self.unit, self.runs)


@dataclass(frozen=True)
class Published:
    """A published mean in 0..1, its standard deviation over runs where stated, and the number of runs."""

    metric: str
    value: float
    sd: float | None
    runs: int


def read_facts(path: Path) -> Facts:
    """Read a data file; a mistake in it is a mistake in this package."""
    return msgspec.convert(read_toml(path), Facts)
