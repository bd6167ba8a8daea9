"""From run directories to one that may be published."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ...benchmark.audits.contamination.outcome import CONTAMINATION_FOLDER, read_audits
from ...benchmark.audits.leakage.outcome import LEAKAGE_FOLDER, read_leakage
from ...benchmark.schema.plan import Plan, read_plan
from ...benchmark.schema.provenance import package_versions
from ...benchmark.schema.records import RECORD_FORMAT, PredictionArrays, Record, RecordStore
from ...core.errors import UserError
from ...core.files import new_folder, write_json
from ...core.progress import show_phase, track
from ..analysis.load_report_input import MergedRuns, merge_runs
from .clean_records import (
    clean_contamination,
    clean_leakage,
    clean_plan,
    clean_predictions,
    clean_record,
    group_names,
)
from .manifest import MANIFEST, PublishedManifest, hash_files, list_inits, list_tasks

TestSet = tuple[str, int, str]
"""Task, stored size and hash of the data, whose images are the same in all records."""


@show_phase("publishing")
def publish_runs(folders: Sequence[Path], out: Path) -> PublishedManifest:
    """Write one run directory of the records of several, for everybody to read.

    It has records, predictions, plan, audits and `published.json`; of records with one key the latest that is
    ok. Images, networks, logs and label subsets stay. The same runs give the same bytes.

    Args:
        folders: run directories.
        out: folder to write; an older publication there is replaced when all is written.

    Raises:
        UserError: a record is damaged, of version 0.1, or has a text that looks like a path; a folder has no
            record; `out` exists and is no publication, or is not writable.
        DiskFullError: the disk is full; `out` is then as before.
    """
    for folder in folders:
        if out.resolve() != folder.resolve() and out.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{out} is inside {folder}, which it would change: choose a folder outside.")
    merged = merge_runs(folders)
    if merged.unreadable:
        raise _damaged(merged.unreadable[0])
    with new_folder(out.resolve(), MANIFEST) as making:
        records = _write_records(merged, RecordStore(making))
        if plan := _merge_plans(merged.folders):
            clean_plan(plan).write(making)
        _write_audits(merged.folders, making)
        ok = [record for record in records if record.status == "ok"]
        manifest = PublishedManifest(
            mednet_bench=package_versions()["mednet-bench"],
            tasks=list_tasks(record for record in ok if record.cell.step == "score"),
            inits=list_inits(ok),
            files=hash_files(making),
        )
        write_json(making / MANIFEST, manifest)
    return manifest


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} or its predictions are damaged: run the same command again, then publish.")


def _write_records(merged: MergedRuns, target: RecordStore) -> list[Record]:
    """Write the clean records with their predictions; return them."""
    stores = {key: RecordStore(folders[0]) for key, folders in sorted(merged.places.items())}
    names = group_names((test, arrays) for test, _, arrays in _read_all(stores))
    written = []
    with track("writing", len(stores), "records") as advance:
        for test, record, arrays in _read_all(stores):
            cleaned = clean_predictions(arrays, names.get(test)) if arrays else None
            written.append(target.write(clean_record(record), cleaned))
            advance()
    return written


def _read_all(stores: dict[str, RecordStore]) -> Iterator[tuple[TestSet, Record, PredictionArrays]]:
    """Yield the test set, the record and its predictions, empty where it has none, by key."""
    for key, store in stores.items():
        record = store.read(key)
        scored = record is not None and record.status == "ok" and record.cell.step == "score"
        if record is None or (scored and not store.has_predictions(record)):
            raise _damaged(store.path(key))
        if record.format != RECORD_FORMAT:
            raise UserError(f"{store.folder} holds a run of version 0.1: compute it again, then publish it.")
        test = (record.cell.task, record.cell.size, record.hashes.data)
        yield test, record, store.read_predictions(key) if scored else {}


def _merge_plans(folders: Sequence[Path]) -> Plan | None:
    """Return the last plan with the cells of all; None without a plan."""
    plans = [plan for folder in folders if (plan := read_plan(folder))]
    cells = {planned.key: planned for plan in plans for planned in plan.cells}
    made = {task for plan in plans for task in plan.generated}
    if not plans:
        return None
    return msgspec.structs.replace(plans[-1], cells=tuple(cells.values()), generated=tuple(sorted(made)))


def _write_audits(folders: Sequence[Path], target: Path) -> None:
    """Write the audits that a report of the runs would use, under numbers, since names may be anything."""
    seen = {(each.init, each.identity, each.task): each for run in folders for each in read_audits(run)}
    leaks = {place: audit for run in folders for place, audit in read_leakage(run).items()}
    for number, (_, audit) in enumerate(sorted(seen.items())):
        write_json(target / CONTAMINATION_FOLDER / f"{number:04}.json", clean_contamination(audit))
    for number, (_, audit) in enumerate(sorted(leaks.items())):
        write_json(target / LEAKAGE_FOLDER / f"{number:04}.json", clean_leakage(audit))
