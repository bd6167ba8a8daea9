"""What a report is made of: run directories, read once, as plain rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from ...benchmark.audits.contamination.outcome import ContaminationAudit
from ...benchmark.audits.leakage.outcome import LeakageAudit
from ...benchmark.schema.plan import Cell, Plan
from ...benchmark.schema.records import MetricFacts, Record, RecordStore, TaskFacts
from ..statistics.paired import MARGIN
from ..statistics.stats import MetricStat

PRIMARY_NAME = "auc"
ERRORS = ("ece", "brier")
"""Our metrics of which lower is better; those of plug-ins say so in `MetricFacts`."""
BASELINE = "scratch"
"""The init that stands for no pretraining; differences are to it."""

Block = tuple[str, int, int, str, str, float, str]
"""Task, stored side, input side, network, protocol, share of the labels, and setting."""


@dataclass(frozen=True, eq=False)
class LeaderboardRow:
    """One row of a leaderboard: the seeds of one cell that may be averaged.

    Attributes:
        task: target.
        size: side in pixels of the images as stored.
        input_size: side in pixels of what the network saw.
        arch: architecture.
        init: pretraining source.
        protocol: how the init met the task.
        fraction: share of the labels, 0 to 1.
        setting: short hash of what inits must share to be compared: data, protocol version, recipe.
        variant: the setting and a short hash of the init's identity; only equal variants are averaged.
        ambiguous: the visible columns alone do not say what may be compared: show the variant.
        label: the init's phrase for tables, e.g. "pretrained here on 7,308 images".
        overlap: declared corpora of the init that share a parent data set with the task.
        audit: what was searched and found of the task's images among what the init has seen; None where
            nobody looked.
        n_train: labeled training images, mean over seeds; NaN where no record counts them.
        n_val: labeled validation images, likewise.
        seeds: the seeds, each once, ascending.
        keys: of the records behind the row, one per seed, in the same order.
        stats: metric -> statistics over the seeds where it is defined.
        derived_from: name of the init from whose weights this one is derived; "" where it is none.
        leaked: train or val hold most of the test images, near copies of them or images of their patients:
            its scores say little of new images.
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
    derived_from: str = ""
    leaked: bool = False

    @property
    def block(self) -> Block:
        """Within one block inits may be compared with each other; across blocks never."""
        return *comparable_fields(self), self.setting

    @property
    def contaminated(self) -> bool:
        """Whether the weights have seen images of the task, as declared or as found."""
        return bool(self.overlap) or (self.audit is not None and self.audit.contaminated)

    @property
    def inconclusive(self) -> bool:
        """Whether nothing may be concluded from its scores: contaminated or leaked."""
        return self.contaminated or self.leaked

    def by_seed(self, scores: Mapping[str, float | None]) -> dict[int, float]:
        """Return seed -> score from the scores by key; a seed whose score is undefined is left out."""
        pairs = ((seed, scores.get(key)) for seed, key in zip(self.seeds, self.keys, strict=True))
        return {seed: value for seed, value in pairs if value is not None}


_comparable = attrgetter("task", "size", "input_size", "arch", "protocol", "fraction")


def comparable_fields(of: object) -> tuple[str, int, int, str, str, float]:
    """Return the visible fields of a cell or row that inits share if they are compared with each other."""
    return _comparable(of)


def visible_fields(of: Cell | LeaderboardRow) -> tuple[str, int, int, str, str, float, str]:
    """Return the fields by which tables tell rows apart; any other difference is one of variants."""
    return *comparable_fields(of), of.init


@dataclass(frozen=True)
class MissingCell:
    """A planned score cell without an ok record, and why it has none."""

    cell: Cell
    reason: str


@dataclass(frozen=True, eq=False)
class Results:
    """Everything a report is made of.

    Attributes:
        folders: the run directories, each once.
        places: key -> the folders that hold a record of it; the one whose record counts is first.
        differing: keys whose records hold other scores in one folder than in another.
        plan: of the last invocation in each folder, united; None where no folder has a readable one.
        planless: folders without a readable plan.
        records: every readable record of every step, by key.
        counted: the score records behind `rows`: ok, and every seed once.
        rows: the averages, in the order in which tables show them.
        failed: failed records of every step whose cell did not succeed otherwise.
        missing: planned score cells without an ok record.
        unreadable: record files that are not whole, or were altered.
        damaged: keys of counted records whose predictions are missing, or not those that they were made with.
        repeated: task -> records that repeat a seed and were left out in favor of a later one.
        tasks: task -> facts, where any record holds them.
        metrics: every metric that a counted record holds, sorted.
        metric_facts: how the metrics that plug-ins describe are to be read, by name.
        leakage: (task, stored side, data) -> the audit of its splits, where one was made.
        margin: of equivalence, in units of the primary metric.
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

    @property
    def primary(self) -> str:
        """The metric that leads: AUC where any record holds it, else the first by name."""
        return PRIMARY_NAME if PRIMARY_NAME in self.metrics or not self.metrics else self.metrics[0]

    @property
    def derived_inits(self) -> frozenset[str]:
        """The inits made from another's weights, which explain that one and are not for use."""
        return frozenset(row.init for row in self.rows if row.derived_from)

    @property
    def sign(self) -> int:
        """1 where a higher primary metric is better, -1 where a lower one is, 0 where neither is."""
        facts = self.metric_facts.get(self.primary, MetricFacts(lower_is_better=self.primary in ERRORS))
        return 0 if facts.lower_is_better is None else -1 if facts.lower_is_better else 1

    def scores_of(self, metric: str) -> dict[str, float | None]:
        """Return the values of one metric by key; None where undefined."""
        return {record.key: record.metrics.get(metric) for record in self.counted}

    @property
    def leakage_audits(self) -> tuple[LeakageAudit, ...]:
        """The audits of just the data that the records were computed on, with or without copies."""
        used = {(r.cell.task, r.cell.size, r.hashes.data.partition(", ")[0]) for r in self.counted}
        return tuple(found for place, found in sorted(self.leakage.items()) if place in used)

    @property
    def strays(self) -> tuple[Path, ...]:
        """The damaged record files that no run makes anew: no plan names them, or they are folders."""
        planned = {planned.key for planned in self.plan.cells} if self.plan else None
        damaged = (RecordStore(self.places[key][0]).path(key) for key in sorted(self.damaged))
        return tuple(
            path
            for path in (*self.unreadable, *damaged)
            if path.is_dir() or (planned is not None and path.stem not in planned)
        )

    def generated(self, task: str) -> bool:
        """Tell whether a program made the images of `task`.

        Of a task without any record only the name is known; the name of every phantom begins alike.
        """
        facts = self.tasks.get(task)
        return facts.generated if facts else task.startswith("phantom")

    def step(self, step: str) -> tuple[Record, ...]:
        """Return the ok records of one step: pretrain, tune or score."""
        return tuple(r for r in self.records if r.cell.step == step and r.status == "ok")

    def predictions_of(self, key: str) -> Path | None:
        """Return the file with the predictions behind the record `key`; None where none can be trusted."""
        held = self.places.get(key, ())
        path = RecordStore(held[0]).predictions_of(key) if held and key not in self.damaged else None
        return path if path and path.is_file() else None
