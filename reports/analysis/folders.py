"""From one or several run directories to one set of records: a record that stands in two counts once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...benchmark.schema.plan import Plan, PlannedCell, read_plan
from ...benchmark.schema.records import Record, RecordStore
from ...core.errors import UserError


@dataclass(frozen=True, eq=False)
class MergedRuns:
    """What the run directories hold together.

    Attributes:
        folders: each once, in the order given.
        records: one per key, by key.
        places: key -> the folders that hold a record of it; the one whose record counts is first.
        differing: keys whose records hold other scores in one folder than in another.
        plan: every planned cell, with the request and recipe of the last folder; None where no plan is
            readable.
        planless: folders without a readable plan.
        unreadable: record files that are not whole or were altered, and whose key no other folder holds.
    """

    folders: tuple[Path, ...]
    records: tuple[Record, ...]
    places: dict[str, tuple[Path, ...]]
    differing: tuple[str, ...]
    plan: Plan | None
    planless: tuple[Path, ...]
    unreadable: tuple[Path, ...]


def merge_runs(folders: Sequence[Path]) -> MergedRuns:
    """Read run directories and unite their records by key.

    Of records of one key, a finished one goes before a failed one, then the latest holds.

    Raises:
        UserError: a folder holds no readable record.
    """
    folders = tuple({folder.resolve(): folder for folder in folders}.values())
    found: dict[str, list[tuple[Record, Path]]] = defaultdict(list)
    broken: list[Path] = []
    for folder in folders:
        store = RecordStore(folder)
        records = list(store.read_all())
        keys = {record.key for record in records}
        unreadable = [path for path in sorted(store.records.glob("*.json")) if path.stem not in keys]
        if not records:
            raise UserError(_nothing(folder, len(unreadable)))
        broken += unreadable
        for record in records:
            found[record.key].append((record, folder))
    for held in found.values():
        held.sort(key=lambda pair: (pair[0].status == "ok", pair[0].finished), reverse=True)
    plans = {folder: read_plan(folder) for folder in folders}
    return MergedRuns(
        folders=folders,
        records=tuple(found[key][0][0] for key in sorted(found)),
        places={key: tuple(folder for _, folder in held) for key, held in found.items()},
        differing=tuple(key for key, held in found.items() if _differ([record for record, _ in held])),
        plan=_united([plan for plan in plans.values() if plan]),
        planless=tuple(folder for folder, plan in plans.items() if plan is None),
        unreadable=tuple(path for path in broken if path.stem not in found),
    )


def _nothing(folder: Path, unreadable: int) -> str:
    if not folder.is_dir():
        return f"There is no run directory {folder}: name the folder that was given to `run --out`."
    if unreadable:
        return f"None of the {unreadable} records in {folder} can be read: run the same command again."
    return f"There is no record in {folder}: start `mednet-bench run --out {folder}`, or name another folder."


def _differ(records: Sequence[Record]) -> bool:
    """Whether finished records of one key disagree, as those of two machines may in the last digits."""
    scores = [record.metrics for record in records if record.status == "ok"]
    return any(other != scores[0] for other in scores[1:])


def _united(plans: Sequence[Plan]) -> Plan | None:
    if not plans:
        return None
    cells: dict[str, PlannedCell] = {planned.key: planned for plan in plans for planned in plan.cells}
    return msgspec.structs.replace(plans[-1], cells=tuple(cells.values()))
