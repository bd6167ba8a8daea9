"""Input of all reports: the records of run directories, as rows of averaged seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec

from ...benchmark.audits.contamination.outcome import ContaminationAudit
from ...benchmark.audits.leakage.outcome import LeakageAudit
from ...benchmark.schema.plan import Cell, Fold, Plan
from ...benchmark.schema.records import PRIMARY_METRIC, MetricFacts, Record, RecordStore, TaskFacts
from ...benchmark.training.metrics import BUILT_IN_METRICS
from ..statistics.metric_influence import find_metric
from ..statistics.paired import MARGIN
from ..statistics.stats import MetricStat

BASELINE = "scratch"
"""Init without pretraining, to which differences are measured."""

FOLD_SEPARATOR = "+"
"""Between the keys of the fold records of a repeat in the key of their mean."""

Block = tuple[str, int, int, str, str, float, str]
"""Task, size, input size, architecture, protocol, fraction and setting."""


@dataclass(frozen=True, eq=False)
class LeaderboardRow:
    """One row of a leaderboard: the seeds of one cell that may be averaged.

    Attributes:
        size: stored image size in pixels.
        input_size: image size in pixels as the network sees it.
        protocol: with its options, if any: "partial (stages=2)".
        fraction: share of the labels, 0 to 1; -1/n for n per class, as `Cell.fraction`.
        setting: short hash that inits must share to be compared, see `setting_hash`.
        variant: setting and a short hash of the init's identity; only equal variants are averaged.
        ambiguous: the visible columns do not say which rows may be compared: show the variant.
        label: short description of the init, e.g. "pretrained here on 7,308 images".
        overlap: declared corpora of the init that share a parent data set with the task.
        audit: search for the task's images among those that the init has seen; None without one.
        n_train: labeled training images, mean over seeds; NaN where no record counts them.
        n_val: labeled validation images, mean over seeds; NaN where no record counts them.
        seeds: unique, ascending.
        keys: record keys, one per seed, in the same order; of a cross-validated row those of all folds of the
            seed, see `fold_keys`.
        stats: metric -> statistics over the seeds where it is defined.
        random: the init has no pretraining; only `BASELINE` is known of in records without this fact.
        derived_from: name of the init from whose weights this one is derived; "" if none.
        origin: "here" or "card" for one pretraining of many possible ones, as in `InitFacts`.
        leaked: train or val contain most test images, near copies of them or images of their patients, so
            that scores do not apply to new images.
        passes: fewest passes of a training over its labels; 0 where nothing was trained, or it is unknown.
        folds: number of folds of a cross-validated row, whose seeds are repeats; 0 for others.
    """

    task: str
    size: int
    input_size: int
    arch: str
    init: str
    protocol: str
    fraction: float
    setting: str
    variant: str
    ambiguous: bool
    label: str
    overlap: tuple[str, ...]
    audit: ContaminationAudit | None
    n_train: float
    n_val: float
    seeds: tuple[int, ...]
    keys: tuple[str, ...]
    stats: dict[str, MetricStat]
    random: bool = False
    derived_from: str = ""
    origin: str = ""
    leaked: bool = False
    passes: float = 0.0
    folds: int = 0

    @property
    def block(self) -> Block:
        """Fields that rows must share to be compared with each other."""
        return *comparable_fields(self), self.setting

    @property
    def protocol_name(self) -> str:
        """The protocol without its options."""
        return self.protocol.partition(" (")[0]

    @property
    def contaminated(self) -> bool:
        """Whether the weights have seen images of the task, as declared or as found by an audit."""
        return bool(self.overlap) or (self.audit is not None and self.audit.contaminated)

    @property
    def inconclusive(self) -> bool:
        """Whether its scores allow no conclusion: contaminated or leaked."""
        return self.contaminated or self.leaked

    def by_seed(self, scores: Mapping[str, float | None]) -> dict[int, float]:
        """Return seed -> score from scores by key, without seeds whose score is undefined."""
        pairs = ((seed, scores.get(key)) for seed, key in zip(self.seeds, self.keys, strict=True))
        return {seed: value for seed, value in pairs if value is not None}


def fold_keys(key: str) -> tuple[str, ...]:
    """Return the keys of the records behind the key of a row: one, or one per fold."""
    return tuple(key.split(FOLD_SEPARATOR))


def folds_of(cell: Cell) -> int:
    """Return the number of folds that a cell is one of; 0 without cross-validation."""
    return cell.view.folds if isinstance(cell.view, Fold) else 0


_comparable = attrgetter("task", "size", "input_size", "arch", "protocol", "fraction")


def comparable_fields(of: object) -> tuple[str, int, int, str, str, float]:
    """Return the visible fields of a cell or row that inits must share to be compared."""
    return _comparable(of)


def visible_fields(of: Cell | LeaderboardRow) -> tuple[str, int, int, str, str, float, str]:
    """Return the fields that distinguish rows in tables; equal rows differ in their variant."""
    return *comparable_fields(of), of.init


def look_up_metric(name: str, recorded: Mapping[str, MetricFacts] = MappingProxyType({})) -> MetricFacts:
    """Return the facts of a metric: a built-in's own, else those that records keep of a plug-in's.

    One without facts is shown under its name, and higher is better.
    """
    if name in BUILT_IN_METRICS:
        return BUILT_IN_METRICS[name].facts
    facts = recorded.get(name, MetricFacts())
    return msgspec.structs.replace(facts, title=facts.title or name)


@dataclass(frozen=True)
class MissingCell:
    """Planned score cell without an ok record, with the reason."""

    cell: Cell
    reason: str


@dataclass(frozen=True)
class IncompleteRepeat:
    """Cross-validated repeat that lacks folds, so that no average contains it.

    Attributes:
        cell: of one of its folds.
        lacking: indices of the folds without an ok record.
    """

    cell: Cell
    lacking: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ReportInput:
    """Records, rows and audits of one or several run directories.

    Attributes:
        folders: run directories, each once, in the order given.
        places: key -> folders that contain its record; the one whose record counts is first.
        differing: keys whose records have different scores in two folders.
        plan: merged plans of the last invocation in each folder; None where none is readable.
        planless: folders without a readable plan.
        records: every readable record of every step, by key. The protocol of a cell with options contains
            them, here and in plan and rows: "partial (stages=2)".
        counted: the score records of `rows`: ok, and every seed once; of a cross-validated seed the mean of
            its folds, see `merge_folds`.
        fold_records: key of such a mean -> the records of its folds, in order.
        incomplete: cross-validated seeds that lack folds and are left out.
        rows: averages, in display order.
        failed: failed records of every step whose cell did not succeed under another key.
        missing: planned score cells without an ok record.
        unreadable: truncated or altered record files.
        damaged: keys of counted records whose predictions are missing or were altered.
        repeated: task -> number of records that repeat a seed and were dropped for a later one.
        tasks: task -> facts, where any record has them.
        metrics: every metric of a counted record, sorted.
        metric_facts: metric of a plug-in -> its title, direction and range.
        leakage: (task, size, data) -> audit of its splits, if any.
        margin: of equivalence, in units of the metric of the verdicts.
        verdict_metric: metric of the verdicts, one of `JUDGED_METRICS`.
        prevalence: share of positives for PPV and NPV of binary tasks; 0 is that of each test set.
        unit: what a test unit of the verdicts is, see `patient_results`.
    """

    folders: tuple[Path, ...]
    places: dict[str, tuple[Path, ...]]
    differing: tuple[str, ...]
    plan: Plan | None
    planless: tuple[Path, ...]
    records: tuple[Record, ...]
    counted: tuple[Record, ...]
    rows: tuple[LeaderboardRow, ...]
    failed: tuple[Record, ...]
    missing: tuple[MissingCell, ...]
    unreadable: tuple[Path, ...]
    repeated: dict[str, int]
    tasks: dict[str, TaskFacts]
    metrics: tuple[str, ...]
    damaged: frozenset[str] = frozenset()
    leakage: Mapping[tuple[str, int, str], LeakageAudit] = field(default_factory=dict)
    metric_facts: Mapping[str, MetricFacts] = field(default_factory=dict)
    margin: float = MARGIN
    verdict_metric: str = PRIMARY_METRIC
    fold_records: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    incomplete: tuple[IncompleteRepeat, ...] = ()
    prevalence: float = 0.0
    unit: Literal["image", "patient"] = "image"

    def choose_verdict_metric(self, name: str) -> "ReportInput":
        """Return the same input with verdicts on another metric.

        Raises:
            UserError: no metric of this name has a known error.
        """
        find_metric(name)
        return self if name == self.verdict_metric else replace(self, verdict_metric=name)

    @property
    def primary(self) -> str:
        """Primary metric: AUC where any record has it, else the first by name."""
        return PRIMARY_METRIC if PRIMARY_METRIC in self.metrics or not self.metrics else self.metrics[0]

    def cells_of(self, record: Record) -> tuple[Record, ...]:
        """Return the records that a counted one stands for: its folds, or itself."""
        return self.fold_records.get(record.key, (record,))

    @property
    def counted_cells(self) -> tuple[Record, ...]:
        """Records of all cells of the rows; every fold is one."""
        return tuple(cell for record in self.counted for cell in self.cells_of(record))

    @property
    def derived_inits(self) -> frozenset[str]:
        """Inits derived from another's weights, which serve to explain that one."""
        return frozenset(row.init for row in self.rows if row.derived_from)

    @property
    def random_inits(self) -> frozenset[str]:
        """Inits without pretraining: `BASELINE`, and others that say so."""
        return frozenset(row.init for row in self.rows if row.random)

    @property
    def sign(self) -> int:
        """1 where a higher primary metric is better, -1 where a lower one is, 0 where neither is."""
        return look_up_metric(self.primary, self.metric_facts).sign

    def scores_of(self, metric: str) -> dict[str, float | None]:
        """Return the values of one metric by key; None where undefined."""
        return {record.key: record.metrics.get(metric) for record in self.counted}

    @property
    def leakage_audits(self) -> tuple[LeakageAudit, ...]:
        """Leakage audits of the data that the records were computed on, with or without copies."""
        used = {record.leakage_key for record in self.counted}
        return tuple(audit for place, audit in sorted(self.leakage.items()) if place in used)

    @property
    def strays(self) -> tuple[Path, ...]:
        """Damaged record files that no run replaces: not in any plan, or folders."""
        planned = {planned.key for planned in self.plan.cells} if self.plan else None
        damaged = (RecordStore(self.places[key][0]).path(key) for key in sorted(self.damaged))
        return tuple(
            path
            for path in (*self.unreadable, *damaged)
            if path.is_dir() or (planned is not None and path.stem not in planned)
        )

    def generated(self, task: str) -> bool:
        """Return whether the images of `task` are generated; by the plan if no record says."""
        if facts := self.tasks.get(task):
            return facts.generated
        return self.plan is not None and task in self.plan.generated

    def unit_of(self, task: str) -> str:
        """Return the independent unit of a task: its source group, since images of one origin count once."""
        facts = self.tasks.get(task)
        return facts.source_group if facts and facts.source_group else task

    def step(self, step: str) -> tuple[Record, ...]:
        """Return the ok records of one step: pretrain, tune or score."""
        return tuple(r for r in self.records if r.cell.step == step and r.status == "ok")

    def prediction_files(self, key: str) -> tuple[Path | None, ...]:
        """Return the files with the predictions of `key`, one per fold; None where missing or damaged."""
        return tuple(map(self.predictions_of, fold_keys(key)))

    def predictions_of(self, key: str) -> Path | None:
        """Return the file with the predictions of record `key`; None where missing or damaged."""
        folders = self.places.get(key, ())
        path = RecordStore(folders[0]).predictions_of(key) if folders and key not in self.damaged else None
        return path if path and path.is_file() else None
