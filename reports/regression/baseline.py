"""Baseline file of `regress`: scores of a good run by seed, with hashes of their inputs."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from ...benchmark.schema.records import MetricFacts, Record
from ...core.errors import UserError
from ...core.files import write_bytes
from ..analysis.report_input import (
    LeaderboardRow,
    ReportInput,
    comparable_fields,
    look_up_metric,
    visible_fields,
)
from ..statistics.stats import describe_values
from .changes import ComparisonPlace

BASELINE_FORMAT = 1
DIGITS = 16
"""Stored digits of a hash: enough to be unique, few enough to review."""


class ComparisonBasis(msgspec.Struct, frozen=True, kw_only=True):
    """What run and baseline must share to be comparable.

    The input contract is not part of it: a regression test must notice if images reach the network in
    another way.
    """

    data: str
    card: str
    protocol_version: int
    recipe: str
    identity: str
    """Identity of the weights; for a MedNet pretrained in the run its sources and budget, not its tensors."""


class SeedScore(msgspec.Struct, frozen=True, array_like=True):
    """The score of one seed."""

    value: float
    subset: str
    """Hash of the label subset."""
    weights: str
    """Hash of the loaded weights, or the seed and the PyTorch that drew random ones."""


class BaselineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the baseline."""

    task: str
    size: int
    input_size: int
    arch: str
    init: str
    protocol: str
    fraction: float
    metric: str
    n_seeds: int
    mean: float
    """For readers; judgments use `values`."""
    sd: float | None
    """Over seeds, for readers; None for a single seed."""
    basis: ComparisonBasis
    trained: bool
    """Whether the cells trained the network, so that another machine does not repeat scores exactly."""
    values: dict[int, SeedScore]
    """Seed -> score."""

    @property
    def place(self) -> ComparisonPlace:
        """Fields that the matching row of a run has, too."""
        return *comparable_fields(self), self.init


class BaselineFile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole baseline file."""

    format: int = BASELINE_FORMAT
    made: str
    """UTC time at which its last cell was finished."""
    commit: str
    dirty: bool
    device: str
    versions: dict[str, str]
    metric_facts: dict[str, MetricFacts] = {}
    """Metric of a plug-in -> its title, direction and range."""
    lines: tuple[BaselineRow, ...]

    def write(self, path: Path) -> None:
        """Write the file atomically, one line per row, so that reviews show changed rows."""
        write_bytes(path, msgspec.json.encode(self).replace(b'{"task":', b'\n{"task":') + b"\n")


def read_baseline(path: Path) -> BaselineFile:
    """Read a baseline file; `UserError` if it is missing or invalid."""
    try:
        baseline = msgspec.json.decode(path.read_bytes(), type=BaselineFile)
    except FileNotFoundError:
        raise UserError(f"There is no baseline {path}: make one from a good run with --update.") from None
    except (OSError, msgspec.DecodeError) as error:
        why = f"The baseline {path} cannot be read ({error}): make it anew with --update."
        raise UserError(why) from error
    full = bool(baseline.lines) and all(line.values for line in baseline.lines)
    if baseline.format != BASELINE_FORMAT or not full:
        raise UserError(f"The baseline {path} is of another format, or empty: make it anew with --update.")
    return baseline


def baseline_of(results: ReportInput, metrics: Sequence[str]) -> BaselineFile:
    """Make a baseline of a finished run.

    Raises:
        UserError: cells are missing, rows are ambiguous, or a metric is undefined for a seed or has no
            direction.
    """
    run = ", ".join(map(str, results.folders))
    if results.missing or not results.rows:
        raise UserError(f"{run} lacks planned cells: finish the run before it becomes a baseline.")
    if len({visible_fields(row) for row in results.rows}) < len(results.rows):
        raise UserError(f"{run} holds rows that must not be averaged: make the baseline of a fresh run.")
    for name in metrics:
        if not look_up_metric(name, results.metric_facts).sign:
            raise UserError(f"Neither end of {name} is better, so that nothing can fall: leave it out.")
    records = {record.key: record for record in results.counted}
    last = max(results.counted, key=lambda record: record.finished)
    return BaselineFile(
        made=last.finished,
        commit=last.provenance.commit,
        dirty=any(record.provenance.dirty for record in results.counted),
        device=last.provenance.device,
        versions=last.provenance.versions,
        metric_facts={name: facts for name, facts in results.metric_facts.items() if name in metrics},
        lines=tuple(
            _line(row, [records[key] for key in row.keys], name) for row in results.rows for name in metrics
        ),
    )


def _line(row: LeaderboardRow, records: Sequence[Record], name: str) -> BaselineRow:
    values = {record.cell.seed: seed_score(record, name) for record in records}
    defined = {seed: value for seed, value in values.items() if value is not None}
    if len(defined) < len(values):
        raise UserError(f"{name} is undefined for a seed of {row.task} with {row.init}: leave it out.")
    stat = describe_values(np.array([value.value for value in defined.values()]))
    return BaselineRow(
        task=row.task,
        size=row.size,
        input_size=row.input_size,
        arch=row.arch,
        init=row.init,
        protocol=row.protocol,
        fraction=row.fraction,
        metric=name,
        n_seeds=stat.n,
        mean=round(stat.mean, 6),
        sd=round(stat.sd, 6) if stat.n > 1 else None,
        basis=basis_of(records[0]),
        trained=any(record.curve for record in records),
        values=defined,
    )


def basis_of(record: Record) -> ComparisonBasis:
    """Return what a record must share with a baseline row."""
    hashes = record.hashes
    return ComparisonBasis(
        data=hashes.data,
        card=hashes.card,
        protocol_version=record.protocol_version,
        recipe=record.recipe_hash,
        identity=record.init.identity if record.init else "",
    )


def seed_score(record: Record, name: str) -> SeedScore | None:
    """Return the baseline entry of a record; None where the metric is undefined."""
    value = record.metrics.get(name)
    if value is None:
        return None
    weights = _short(record.hashes.weights)
    if weights.startswith("random:"):  # another PyTorch version may draw other weights from the same seed
        weights += f", torch {record.provenance.versions.get('torch', 'unknown')}"
    return SeedScore(value, _short(record.hashes.subset), weights)


def _short(value: str) -> str:
    kind, colon, digits = value.rpartition(":")
    return f"{kind}{colon}{digits[:DIGITS]}"
