"""From the records of run directories to `Results`: what is comparable is averaged, the rest kept apart."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from ...benchmark.audits.contamination.outcome import ContaminationAudit, read_audits
from ...benchmark.audits.leakage.outcome import LeakageAudit, read_leakage
from ...benchmark.schema.plan import Cell, Plan
from ...benchmark.schema.records import InitFacts, MetricFacts, Record, RecordStore, TaskFacts
from ..statistics.paired import MARGIN
from ..statistics.stats import MetricStat, describe_groups
from .folders import merge_runs
from .results import LeaderboardRow, MissingCell, Results, comparable_fields, visible_fields


def load_results(folders: Sequence[Path], margin: float = MARGIN) -> Results:
    """Read one run directory, or several as one.

    Args:
        folders: run directories.
        margin: differences of the primary metric that are smaller than this count as none.

    Raises:
        UserError: a folder holds no readable record, or an audit that cannot be read.
    """
    found = merge_runs(folders)
    records, plan = found.records, found.plan
    audits = {(a.init, a.identity, a.task): a for folder in found.folders for a in read_audits(folder)}
    leakage = {place: one for folder in found.folders for place, one in read_leakage(folder).items()}
    counted, repeated = _each_seed_once(r for r in records if r.cell.step == "score" and r.status == "ok")
    return Results(
        folders=found.folders,
        places=found.places,
        differing=found.differing,
        plan=plan,
        planless=found.planless,
        records=records,
        counted=counted,
        rows=_rows(counted, _order(plan, counted), audits, leakage),
        failed=_failed(records),
        missing=tuple(_missing(plan, records, {path.stem for path in found.unreadable})) if plan else (),
        unreadable=found.unreadable,
        damaged=frozenset(
            record.key
            for record in counted
            if not RecordStore(found.places[record.key][0]).has_predictions(record)
        ),
        repeated=repeated,
        tasks=_tasks(records),
        metrics=tuple(sorted({name for record in counted for name in record.metrics})),
        leakage=leakage,
        metric_facts=_metric_facts(counted),
        margin=margin,
    )


def setting_hash(record: Record) -> str:
    """Return the short hash of what two inits must share to be compared.

    Data, the card's part in the result, protocol version, recipe, the kind of device (a GPU trains in another
    precision), and how train and test or the labels were drawn, where not as usual.
    """
    device = record.provenance.device.split(" ")[0].partition(":")[0]
    hashes = record.hashes
    special = (part for part in (record.cell.view, record.cell.labels) if isinstance(part, msgspec.Struct))
    apart = (msgspec.json.encode(part).decode() for part in special)
    return _short(hashes.data, hashes.card, str(record.protocol_version), record.recipe_hash, device, *apart)


def variant_of(record: Record) -> str:
    """Return what averaged seeds must share: the setting, and a short hash of the weights and their input."""
    weights = "" if record.hashes.weights.startswith("random:") else record.hashes.weights
    init = (record.init.identity, json.dumps(record.init.contract, sort_keys=True)) if record.init else ()
    return f"{setting_hash(record)}-{_short(weights, *init)}"


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _each_seed_once(records: Iterable[Record]) -> tuple[tuple[Record, ...], dict[str, int]]:
    """Keep the latest record of each comparable cell and seed; count what that drops, by task."""
    latest: dict[tuple[object, ...], Record] = {}
    dropped: Counter[str] = Counter()
    for record in sorted(records, key=lambda record: (record.finished, record.key)):
        place = (*visible_fields(record.cell), variant_of(record), record.cell.seed)
        if place in latest:
            dropped[record.cell.task] += 1
        latest[place] = record
    return tuple(sorted(latest.values(), key=lambda record: record.key)), dict(dropped)


Audits = Mapping[tuple[str, str, str], ContaminationAudit]
"""Of other weights under the same name an audit says nothing: by init, identity of its weights, and task."""
LeakageAudits = Mapping[tuple[str, int, str], LeakageAudit]
"""By task, stored side and data."""


def _rows(
    counted: Sequence[Record],
    rank: Callable[[LeaderboardRow], object],
    audits: Audits,
    leakage: LeakageAudits,
) -> tuple[LeaderboardRow, ...]:
    groups: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in counted:
        groups[(*visible_fields(record.cell), variant_of(record))].append(record)
    settings: dict[tuple[object, ...], set[str]] = defaultdict(set)  # of all inits that stand side by side
    variants: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for members in groups.values():
        cell = members[0].cell
        settings[comparable_fields(cell)].add(setting_hash(members[0]))
        variants[visible_fields(cell)].add(variant_of(members[0]))
    rows = []
    for found, stats in zip(groups.values(), _stats(groups.values()), strict=True):
        members = sorted(found, key=lambda record: record.cell.seed)
        cell = members[0].cell
        ambiguous = len(settings[comparable_fields(cell)]) > 1 or len(variants[visible_fields(cell)]) > 1
        leaked = any(_leaked(record, leakage) for record in members)
        rows.append(_row(members, stats, ambiguous, audits, leaked))
    return tuple(sorted(rows, key=rank))  # type: ignore[arg-type]


def _leaked(record: Record, leakage: LeakageAudits) -> bool:
    """Whether train or val hold most of the test images, near copies of them or images of their groups."""
    data = record.hashes.data.partition(", ")[0]
    audit, copies = leakage.get((record.cell.task, record.cell.size, data)), record.copies
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
        derived_from=init.derived_from if init else "",
        leaked=leaked,
    )


def _audit(cell: Cell, init: InitFacts, audits: Audits) -> ContaminationAudit | None:
    """Return the audit of an init, or else of the one that it derives from: what that has seen counts."""
    own = audits.get((cell.init, init.identity, cell.task))
    return own or audits.get((init.derived_from, init.source_identity, cell.task))


def _stats(groups: Iterable[Sequence[Record]]) -> list[dict[str, MetricStat]]:
    """Describe every metric of each group; all at once, which is far faster than one by one."""
    found: list[dict[str, MetricStat]] = []
    values: list[float] = []
    number: list[int] = []
    names: list[tuple[int, str]] = []
    for place, members in enumerate(groups):
        found.append({})
        for name in dict.fromkeys(name for record in members for name in record.metrics):
            held = [record.metrics[name] for record in members if name in record.metrics]
            values += [math.nan if value is None else value for value in held]
            number += [len(names)] * len(held)
            names.append((place, name))
    described = describe_groups(np.array(values, dtype=float), np.array(number, dtype=np.intp), len(names))
    for (place, name), stat in zip(names, described, strict=True):
        found[place][name] = stat
    return found


def _order(plan: Plan | None, counted: Sequence[Record]) -> Callable[[LeaderboardRow], object]:
    """Order rows as the plan names things, then what only older records hold, by name."""
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


def _failed(records: Sequence[Record]) -> tuple[Record, ...]:
    """List the failures that nothing has made good: a retry under another key may have succeeded."""
    good = {record.cell for record in records if record.status == "ok"}
    return tuple(r for r in records if r.status != "ok" and r.cell not in good)


def _missing(plan: Plan, records: Sequence[Record], unreadable: Container[str]) -> Iterable[MissingCell]:
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
    """Return each metric's facts as the latest record has them; what contradicts another ranks nothing."""
    found: dict[str, MetricFacts] = {}
    for record in sorted(records, key=lambda record: record.finished):
        for name, facts in record.metric_facts.items():
            if name in found and found[name].lower_is_better != facts.lower_is_better:
                facts = msgspec.structs.replace(facts, lower_is_better=None)
            found[name] = facts
    return found


def _tasks(records: Iterable[Record]) -> dict[str, TaskFacts]:
    """Return each task's card as the latest record has it."""
    latest = sorted((r for r in records if r.task), key=lambda record: record.finished)
    return {record.cell.task: record.task for record in latest if record.task}
