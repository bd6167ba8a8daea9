"""The file that `regress` judges against: a good run's scores, seed by seed, and what they rest on."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from ...benchmark.schema.records import MetricFacts, Record
from ...core.errors import UserError
from ...core.files import write_bytes
from ..analysis.results import LeaderboardRow, Results, comparable_fields, visible_fields
from ..elements.format import metric_label
from ..statistics.stats import describe_values
from .changes import ComparisonPlace

BASELINE_FORMAT = 1
DIGITS = 16
"""Digits of a hash that are kept: enough to tell hashes apart, few enough to read a change in a review."""


class ComparisonBasis(msgspec.Struct, frozen=True, kw_only=True):
    """What must be the same for a comparison with the baseline to mean anything.

    The input contract is not part of it: images that reach the network in another way are what a
    regression test must notice.
    """

    data: str
    card: str
    protocol_version: int
    recipe: str
    identity: str
    """What decides the weights; of a MedNet made in the run, its sources and budget, not its tensors."""


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
    """For a reader; judgments use `values`."""
    sd: float | None
    """Over seeds, likewise; None for a single one."""
    basis: ComparisonBasis
    trained: bool
    """The network was trained in every cell, so that another machine repeats no score exactly."""
    values: dict[int, SeedScore]
    """Seed -> score."""

    @property
    def place(self) -> ComparisonPlace:
        """What makes a row of a run the same question."""
        return *comparable_fields(self), self.init


class BaselineFile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole baseline file."""

    format: int = BASELINE_FORMAT
    made: str
    """UTC, when the last of its cells was finished."""
    commit: str
    dirty: bool
    device: str
    versions: dict[str, str]
    metric_facts: dict[str, MetricFacts] = {}
    """How the metrics that plug-ins describe are to be read."""
    lines: tuple[BaselineRow, ...]

    def write(self, path: Path) -> None:
        """Write the file whole or not at all; every row on a line of its own, so that a review shows it."""
        write_bytes(path, msgspec.json.encode(self).replace(b'{"task":', b'\n{"task":') + b"\n")


def read_baseline(path: Path) -> BaselineFile:
    """Read a baseline file; `UserError` says what is wrong with it."""
    try:
        baseline = msgspec.json.decode(path.read_bytes(), type=BaselineFile)
    except FileNotFoundError:
        raise UserError(f"There is no baseline {path}: make one from a good run with --update.") from None
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(
            f"The baseline {path} cannot be read ({error}): make it anew with --update."
        ) from error
    if (
        baseline.format != BASELINE_FORMAT
        or not baseline.lines
        or not all(line.values for line in baseline.lines)
    ):
        raise UserError(f"The baseline {path} is of another format, or empty: make it anew with --update.")
    return baseline


def baseline_of(results: Results, metrics: Sequence[str]) -> BaselineFile:
    """Make a baseline of a finished run.

    Raises:
        UserError: cells are missing, rows cannot be told apart, or a metric is undefined for a seed or has
            no better end.
    """
    run = ", ".join(map(str, results.folders))
    if results.missing or not results.rows:
        raise UserError(f"{run} lacks planned cells: finish the run before it becomes a baseline.")
    if len({visible_fields(row) for row in results.rows}) < len(results.rows):
        raise UserError(f"{run} holds rows that must not be averaged: make the baseline of a fresh run.")
    for name in metrics:
        if not metric_label(name, results.metric_facts).sign:
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
    """Return what a record rests on."""
    hashes = record.hashes
    return ComparisonBasis(
        data=hashes.data,
        card=hashes.card,
        protocol_version=record.protocol_version,
        recipe=record.recipe_hash,
        identity=record.init.identity if record.init else "",
    )


def seed_score(record: Record, name: str) -> SeedScore | None:
    """Return what a baseline keeps of a record; None where the metric is undefined."""
    value = record.metrics.get(name)
    if value is None:
        return None
    weights = _short(record.hashes.weights)
    if weights.startswith("random:"):  # another PyTorch may draw others from the same seed
        weights += f", torch {record.provenance.versions.get('torch', 'unknown')}"
    return SeedScore(value, _short(record.hashes.subset), weights)


def _short(value: str) -> str:
    kind, colon, digits = value.rpartition(":")
    return f"{kind}{colon}{digits[:DIGITS]}"
