"""Load run directories as `ReportInput`: merge records by key, average comparable ones."""

import hashlib
import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from ...benchmark.audits.contamination.outcome import ContaminationAudit, read_audits
from ...benchmark.audits.leakage.outcome import LeakageAudit, read_leakage
from ...benchmark.schema.plan import Cell, Fold, Plan, PlannedCell, read_plan
from ...benchmark.schema.records import InitFacts, MetricFacts, Record, RecordStore, TaskFacts
from ...core.errors import UserError
from ...core.progress import show_phase
from ..statistics.paired import MARGIN
from ..statistics.stats import MetricStat, describe_groups
from .merge_folds import merge_folds
from .report_input import (
    BASELINE,
    LeaderboardRow,
    MissingCell,
    ReportInput,
    comparable_fields,
    folds_of,
    visible_fields,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MergedRuns:
    """Records and plans of several run directories; fields as in `ReportInput`.

    Attributes:
        records: one per key, by key.
        plan: every planned cell, with the request and recipe of the last folder.
        unreadable: truncated or altered record files whose key no other folder holds.
    """

    folders: tuple[Path, ...]
    records: tuple[Record, ...]
    places: dict[str, tuple[Path, ...]]
    differing: tuple[str, ...]
    plan: Plan | None
    planless: tuple[Path, ...]
    unreadable: tuple[Path, ...]


def merge_runs(folders: Sequence[Path]) -> MergedRuns:
    """Merge the records of run directories by key: the latest that is ok, else the latest.

    Raises:
        UserError: a folder holds no readable record.
    """
    folders = tuple({folder.resolve(): folder for folder in folders}.values())
    by_key: dict[str, list[tuple[Record, Path]]] = defaultdict(list)
    broken: list[Path] = []
    for folder in folders:
        store = RecordStore(folder)
        records = list(store.read_all())
        _LOG.debug(f"read {len(records)} records of {folder}")
        keys = {record.key for record in records}
        unreadable = [path for path in sorted(store.records.glob("*.json")) if path.stem not in keys]
        if not records:
            raise UserError(_no_records_message(folder, len(unreadable)))
        broken += unreadable
        for record in records:
            by_key[record.key].append((record, folder))
    for copies in by_key.values():
        copies.sort(key=lambda pair: (pair[0].status == "ok", pair[0].finished), reverse=True)
    plans = {folder: read_plan(folder) for folder in folders}
    return MergedRuns(
        folders=folders,
        records=tuple(_label_protocol(by_key[key][0][0]) for key in sorted(by_key)),
        places={key: tuple(folder for _, folder in copies) for key, copies in by_key.items()},
        differing=tuple(key for key, copies in by_key.items() if _scores_differ([r for r, _ in copies])),
        plan=_merge_plans([plan for plan in plans.values() if plan]),
        planless=tuple(folder for folder, plan in plans.items() if plan is None),
        unreadable=tuple(path for path in broken if path.stem not in by_key),
    )


def _no_records_message(folder: Path, unreadable: int) -> str:
    if not folder.is_dir():
        return f"There is no run directory {folder}: name the folder that was given to `run --out`."
    if unreadable:
        return f"None of the {unreadable} records in {folder} can be read: run the same command again."
    return f"There is no record in {folder}: start `mednet-bench run --out {folder}`, or name another folder."


def _scores_differ(records: Sequence[Record]) -> bool:
    """Whether ok records of one key disagree, as two machines may in the last digits."""
    scores = [record.metrics for record in records if record.status == "ok"]
    return any(other != scores[0] for other in scores[1:])


_Planned = TypeVar("_Planned", Record, PlannedCell)


def _label_protocol(of: _Planned) -> _Planned:
    """Make options and resampling of a cell part of its protocol's name, so that no report mixes them up."""
    cell = of.cell
    if cell.protocol_label == cell.protocol:
        return of
    named = msgspec.structs.replace(cell, protocol=cell.protocol_label, protocol_options=msgspec.UNSET)
    return msgspec.structs.replace(of, cell=named)


def _merge_plans(plans: Sequence[Plan]) -> Plan | None:
    if not plans:
        return None
    cells = {planned.key: _label_protocol(planned) for plan in plans for planned in plan.cells}
    return msgspec.structs.replace(plans[-1], cells=tuple(cells.values()))


@show_phase("reading the run")
def load_report_input(folders: Sequence[Path], margin: float = MARGIN) -> ReportInput:
    """Read one run directory, or several as one.

    Args:
        folders: run directories.
        margin: of equivalence, in units of the primary metric.

    Raises:
        UserError: a folder holds no readable record, or an audit that cannot be read.
    """
    runs = merge_runs(folders)
    records, plan = runs.records, runs.plan
    if not all(map(_is_supported, records)):
        folders_text = ", ".join(map(str, runs.folders))
        raise UserError(
            f"{folders_text}: held-out sites and planted confounders need a newer version of mednet-bench."
        )
    audits = {(a.init, a.identity, a.task): a for folder in runs.folders for a in read_audits(folder)}
    leakage = {place: audit for folder in runs.folders for place, audit in read_leakage(folder).items()}
    scored = (r for r in records if r.cell.step == "score" and r.status == "ok" and not r.cell.longer)
    repeats, repeated = _latest_per_seed(scored)
    counted, fold_records, incomplete = merge_folds(repeats)
    latest = [record for by_fold in repeats for record in by_fold.values()]
    store_of = {key: RecordStore(folders[0]) for key, folders in runs.places.items()}
    return ReportInput(
        **vars(runs),
        counted=counted,
        rows=_rows(counted, _row_sort_key(plan, counted), audits, leakage),
        failed=_lasting_failures(records),
        missing=tuple(_missing_cells(plan, records, {path.stem for path in runs.unreadable})) if plan else (),
        damaged=frozenset(r.key for r in latest if not store_of[r.key].has_predictions(r)),
        repeated=repeated,
        tasks=_tasks(records),
        metrics=tuple(sorted({name for record in counted for name in record.metrics})),
        leakage=leakage,
        metric_facts=_metric_facts(counted),
        margin=margin,
        fold_records=fold_records,
        incomplete=incomplete,
    )


def _is_supported(record: Record) -> bool:
    return record.cell.view is msgspec.UNSET or isinstance(record.cell.view, Fold)


def setting_hash(record: Record) -> str:
    """Return a short hash of everything that two inits must share to be compared.

    Data, the part of the card that affects results, protocol version, recipe and kind of device: a GPU trains
    in another precision.
    """
    device = record.provenance.device.split(" ")[0].partition(":")[0]
    hashes = record.hashes
    return _short(hashes.data, hashes.card, str(record.protocol_version), record.recipe_hash, device)


def variant_of(record: Record) -> str:
    """Return what averaged seeds must share: setting and hash of weights and input contract."""
    weights = "" if record.hashes.weights.startswith("random:") else record.hashes.weights
    init = (record.init.identity, json.dumps(record.init.contract, sort_keys=True)) if record.init else ()
    return f"{setting_hash(record)}-{_short(weights, *init)}"


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _latest_per_seed(records: Iterable[Record]) -> tuple[list[dict[int, Record]], dict[str, int]]:
    """Return the latest records of each comparable cell and seed by fold, and dropped ones by task."""
    latest: dict[tuple[object, ...], dict[int, Record]] = defaultdict(dict)
    dropped: Counter[str] = Counter()
    for record in sorted(records, key=lambda record: (record.finished, record.key)):
        view = record.cell.view
        fold = view.index if isinstance(view, Fold) else 0
        by_fold = latest[(*visible_fields(record.cell), variant_of(record), record.cell.seed)]
        if fold in by_fold:
            dropped[record.cell.task] += 1
        by_fold[fold] = record
    return list(latest.values()), dict(dropped)


Audits = Mapping[tuple[str, str, str], ContaminationAudit]
"""By init, identity of its weights (an audit does not apply to other weights of that name), and task."""
LeakageAudits = Mapping[tuple[str, int, str], LeakageAudit]
"""By task, stored size and data."""


def _rows(
    counted: Sequence[Record],
    rank: Callable[[LeaderboardRow], object],
    audits: Audits,
    leakage: LeakageAudits,
) -> tuple[LeaderboardRow, ...]:
    groups: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in counted:
        groups[(*visible_fields(record.cell), variant_of(record))].append(record)
    settings: dict[tuple[object, ...], set[str]] = defaultdict(set)  # of all inits at one place
    variants: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for members in groups.values():
        cell = members[0].cell
        settings[comparable_fields(cell)].add(setting_hash(members[0]))
        variants[visible_fields(cell)].add(variant_of(members[0]))
    rows = []
    for group, stats in zip(groups.values(), _stats(groups.values()), strict=True):
        members = sorted(group, key=lambda record: record.cell.seed)
        cell = members[0].cell
        ambiguous = len(settings[comparable_fields(cell)]) > 1 or len(variants[visible_fields(cell)]) > 1
        leaked = any(_is_leaked(record, leakage) for record in members)
        rows.append(_row(members, stats, ambiguous, audits, leaked))
    return tuple(sorted(rows, key=rank))  # type: ignore[arg-type]


def _is_leaked(record: Record, leakage: LeakageAudits) -> bool:
    """Whether train or val contain most test images, near copies or images of their groups."""
    audit, copies = leakage.get(record.leakage_key), record.copies
    scored = copies.n_scored if copies else audit.images.get("test", 0) if audit else 0
    near = audit.near_copies(unlike=copies is not None and copies.dropped) if audit else 0
    return 2 * near > scored or (copies is not None and copies.mostly_in_train)


def _row(
    members: Sequence[Record], stats: dict[str, MetricStat], ambiguous: bool, audits: Audits, leaked: bool
) -> LeaderboardRow:
    cell, init = members[-1].cell, members[-1].init
    counts = [record.counts for record in members if record.counts]
    return LeaderboardRow(
        task=cell.task,
        size=cell.size,
        input_size=cell.input_size,
        arch=cell.arch,
        init=cell.init,
        protocol=cell.protocol,
        fraction=cell.fraction,
        setting=setting_hash(members[0]),
        variant=variant_of(members[0]),
        ambiguous=ambiguous,
        label=init.label if init else "",
        overlap=tuple(sorted({name for r in members if r.init for name in r.init.overlap})),
        audit=_audit(cell, init, audits) if init else None,
        n_train=float(np.mean([each.train for each in counts])) if counts else float("nan"),
        n_val=float(np.mean([each.val for each in counts])) if counts else float("nan"),
        seeds=tuple(record.cell.seed for record in members),
        keys=tuple(record.key for record in members),
        stats=stats,
        random=cell.init == BASELINE or (init is not None and init.random),
        derived_from=init.derived_from if init else "",
        origin=init.origin if init else "",
        leaked=leaked,
        passes=min(record.passes for record in members),
        folds=folds_of(cell),
    )


def _audit(cell: Cell, init: InitFacts, audits: Audits) -> ContaminationAudit | None:
    """Return the audit of an init, else of the init from whose weights it is derived."""
    own = audits.get((cell.init, init.identity, cell.task))
    return own or audits.get((init.derived_from, init.source_identity, cell.task))


def _stats(groups: Iterable[Sequence[Record]]) -> list[dict[str, MetricStat]]:
    """Summarize every metric of each group, all at once, which is far faster than one by one."""
    found: list[dict[str, MetricStat]] = []
    values: list[float] = []
    number: list[int] = []
    names: list[tuple[int, str]] = []
    for place, members in enumerate(groups):
        found.append({})
        for name in dict.fromkeys(name for record in members for name in record.metrics):
            scores = [record.metrics[name] for record in members if name in record.metrics]
            values += [math.nan if value is None else value for value in scores]
            number += [len(names)] * len(scores)
            names.append((place, name))
    described = describe_groups(np.array(values, dtype=float), np.array(number, dtype=np.intp), len(names))
    for (place, name), stat in zip(names, described, strict=True):
        found[place][name] = stat
    return found


def _row_sort_key(plan: Plan | None, counted: Sequence[Record]) -> Callable[[LeaderboardRow], object]:
    """Return a sort key for rows: order of the plan, then by name for what only records hold."""
    planned = [p.cell for p in plan.cells if p.cell.step == "score"] if plan else []
    cells = planned + sorted((record.cell for record in counted), key=visible_fields)

    def places(names: Iterable[str]) -> dict[str, int]:
        return {name: place for place, name in enumerate(dict.fromkeys(names))}

    protocols, tasks = places(cell.protocol for cell in cells), places(cell.task for cell in cells)
    archs, inits = places(cell.arch for cell in cells), places(cell.init for cell in cells)

    def rank(row: LeaderboardRow) -> object:
        return (
            protocols[row.protocol], tasks[row.task], row.size, row.input_size, archs[row.arch],
            row.fraction, inits[row.init], row.variant,
        )  # fmt: skip

    return rank


def _lasting_failures(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return the failed records whose cell did not succeed under another key."""
    good = {record.cell for record in records if record.status == "ok"}
    return tuple(r for r in records if r.status != "ok" and r.cell not in good)


def _missing_cells(
    plan: Plan, records: Sequence[Record], unreadable: Container[str]
) -> Iterable[MissingCell]:
    status = {record.key: record.status for record in records}
    for planned in plan.cells:
        if planned.cell.step != "score" or status.get(planned.key) == "ok":
            continue
        if planned.key in status:
            reason = "failed"
        elif planned.key in unreadable:
            reason = "its record is damaged"
        elif any(status.get(key, "ok") != "ok" for key in planned.needs):
            reason = "a step that it needs failed"
        else:
            reason = "not run yet"
        yield MissingCell(planned.cell, reason)


def _metric_facts(records: Iterable[Record]) -> dict[str, MetricFacts]:
    """Return the latest facts of each metric; without direction where records contradict."""
    found: dict[str, MetricFacts] = {}
    for record in sorted(records, key=lambda record: record.finished):
        for name, facts in record.metric_facts.items():
            if name in found and found[name].lower_is_better != facts.lower_is_better:
                facts = msgspec.structs.replace(facts, lower_is_better=None)
            found[name] = facts
    return found


def _tasks(records: Iterable[Record]) -> dict[str, TaskFacts]:
    """Return the facts of each task from its latest record."""
    latest = sorted((r for r in records if r.task), key=lambda record: record.finished)
    return {record.cell.task: record.task for record in latest if record.task}
