"""Scheduling of cells: resume, failed cells as records, any number of processes."""

import logging
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...core.errors import StoppedError, UserError, clean
from ...core.files import UnwritableError, content_if_any, write_bytes
from ...core.interrupts import remember_interrupts
from ...core.leases import beat_seconds, claim_lock, growing_wait, lock_owner
from ..pretraining.mednet_cache import read_pretrain_facts
from ..schema.plan import PlannedCell
from ..schema.records import (
    PRIMARY_METRIC,
    RECORD_FORMAT,
    PredictionArrays,
    Record,
    RecordStore,
    old_format_error,
)
from .planner import ResolvedPlan

if TYPE_CHECKING:  # importing torch takes seconds, and a finished run needs none of it
    from .cell_runner import CellRunner

_LOG = logging.getLogger(__name__)
POLL_SECONDS = 0.5
"""Least time until a process checks again for cells that other processes are computing."""
LISTING_SHARE = 10
"""A folder is listed again after this many times as long as its listing took."""


@dataclass(frozen=True)
class ResumeRules:
    """Which cells to compute.

    Attributes:
        overwrite: "only-missing" computes cells without a record or with a failed one; "always" all;
            "never" only those without a record.
        limit: most score cells to compute; 0 for all.
        run: id of this run, stored in its records; "" before it starts.
        earlier: key of a waiting cell -> run id of its record at the start of this run. A record with another
            id was written since, and its cell is not computed again, failed or not.
    """

    overwrite: str = "only-missing"
    limit: int = 0
    run: str = ""
    earlier: Mapping[str, str] = field(default_factory=dict)

    def for_new_run(self, waiting: Iterable[PlannedCell], store: RecordStore) -> "ResumeRules":
        """Return the rules with a new run id; ids, not times, since clocks of machines differ."""
        earlier = {record.key: record.run for record in finished_records(waiting, store)}
        return replace(self, run=uuid.uuid4().hex, earlier=earlier)


@dataclass(frozen=True)
class CellWatcher:
    """Callbacks of `compute_cells`."""

    on_start: Callable[[PlannedCell], None] = lambda planned: None
    on_record: Callable[[Record, bool], None] | None = None
    """Called with a new record, and whether this process computed it; without it, others' are not read."""
    on_wait: Callable[[PlannedCell, str], None] = lambda planned, owner: None
    """Called with a cell that another process computes, and who, while nothing else can be done."""


def pending_cells(
    resolved: ResolvedPlan, store: RecordStore, rules: ResumeRules, kept: dict[str, Record] | None = None
) -> list[PlannedCell]:
    """Return the cells to compute, in order; reads every record once, and adds those it keeps to `kept`."""
    found = ((planned, kept_record(resolved, store, planned, rules)) for planned in resolved.plan.cells)
    wanted = []
    for planned, record in found:
        if record is None:
            wanted.append(planned)
        elif kept is not None:
            kept[planned.key] = record
    if not rules.limit:
        return _drop_unneeded(wanted)
    scores = [planned for planned in wanted if planned.cell.step == "score"][: rules.limit]
    keep = {key for planned in scores for key in (planned.key, *planned.needs)}
    return [planned for planned in wanted if planned.key in keep]


def _drop_unneeded(wanted: list[PlannedCell]) -> list[PlannedCell]:
    """Drop pretrainings that no wanted cell needs, e.g. with a cleared cache."""
    needs = {key for planned in wanted for key in planned.needs}
    return [planned for planned in wanted if planned.cell.step == "score" or planned.key in needs]


def kept_record(
    resolved: ResolvedPlan, store: RecordStore, planned: PlannedCell, rules: ResumeRules
) -> Record | None:
    """Return the record of a cell if the rules keep it."""
    record = store.read(planned.key)
    if record is None:
        return None
    if record.format != RECORD_FORMAT:
        raise old_format_error(store.folder)
    if rules.overwrite == "never":
        return record
    if rules.overwrite == "only-missing" and record.status == "ok":
        return record if _is_intact(resolved, store, planned, record) else None
    return record if rules.run and record.run != rules.earlier.get(planned.key) else None


def _is_intact(resolved: ResolvedPlan, store: RecordStore, planned: PlannedCell, record: Record) -> bool:
    """Whether the predictions, or the pretrained weights, of an ok record are unchanged."""
    if planned.cell.step == "score":
        return store.has_predictions(record)
    weights = resolved.pretraining(planned.cell).file if planned.cell.step == "pretrain" else None
    facts = read_pretrain_facts(weights) if weights else None
    return weights is None or (facts is not None and record.hashes.weights == f"sha256:{facts.sha256}")


def changed_at(folder: Path) -> int:
    """Return when a file was last added to a folder or removed, in nanoseconds; -1 without a folder."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1


class RecordListing:
    """Names of the record files of a run directory, listed only when the folder has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._changed = folder, -1
        self._known: set[str] = set()
        self._again = 0.0

    def changed_names(self) -> set[str]:
        """Return the keys of all record files; an empty set if no file was written since the last call."""
        changed = changed_at(self.folder)
        if changed == self._changed:
            return set()
        self._changed = changed
        return self.names()

    def names(self) -> set[str]:
        """Return the keys of all record files."""
        return {path.stem for path in self.folder.glob("*.json")}

    def known_names(self) -> set[str]:
        """Return the keys of the record files that were there some time ago: cheap for thousands of calls."""
        started = time.monotonic()
        if started >= self._again:
            self._known = self.changed_names() or self._known
            self._again = time.monotonic() + max(POLL_SECONDS, LISTING_SHARE * (time.monotonic() - started))
        return self._known


@dataclass
class _Session:
    """State of one process that computes cells of a run directory."""

    runner: "CellRunner"
    rules: ResumeRules
    watcher: CellWatcher
    store: RecordStore
    listing: RecordListing
    first_listed: set[str]
    """Keys of the records that were there at the start."""


def compute_cells(
    runner: "CellRunner",
    waiting: list[PlannedCell],
    rules: ResumeRules,
    watcher: CellWatcher,
    may_start: Callable[[], bool] = lambda: True,
) -> None:
    """Compute every waiting cell that no other process is computing, until none is left.

    A cell is claimed by a lease that ends with its process, so processes on one run directory, on any
    machines, share the work, and the cell of a killed process is computed by another.

    Args:
        may_start: asked before each cell; False ends the work, e.g. near a time limit.

    Raises:
        StoppedError: a record could not be written, the data are not those of the plan, or the run
            directory was removed.
        UnwritableError: the run directory or the cache is not writable.
    """
    store = RecordStore(runner.resolved.request.folder)
    listing = RecordListing(store.records)
    session = _Session(runner, rules, watcher, store, listing, listing.known_names())
    idle_since = time.monotonic()
    with remember_interrupts() as check:
        while waiting:
            unsettled, before = {planned.key for planned in waiting}, _changes(store)
            for planned in waiting:
                check()
                if not may_start():
                    return
                if not unsettled.isdisjoint(planned.needs):
                    continue
                if planned.key in listing.known_names() and _is_recorded(session, planned):
                    unsettled.discard(planned.key)
                    continue
                check_folder(store.folder)
                try:
                    if _try_cell(session, planned):
                        unsettled.discard(planned.key)
                except UnwritableError:
                    check_folder(store.folder)  # removed since the check above?
                    raise
            if len(unsettled) == len(waiting):  # others compute them, or what they need
                first = next(planned for planned in waiting if unsettled.isdisjoint(planned.needs))
                watcher.on_wait(first, lock_owner(store.lock(first.key)))
                _wait_for_change(store, before, time.monotonic() - idle_since)
            else:
                idle_since = time.monotonic()
            waiting = [planned for planned in waiting if planned.key in unsettled]


def _changes(store: RecordStore) -> tuple[int, int]:
    """Return when a record, and when a lease, was last added or removed."""
    return changed_at(store.records), changed_at(store.lock("").parent)


def _wait_for_change(store: RecordStore, before: tuple[int, int], idle: float) -> None:
    """Wait until records or leases have changed, or some may have ended without a change.

    Args:
        store: of the run directory.
        before: their `_changes` when this process looked at them.
        idle: seconds since this process had a cell; the longer, the more rarely it looks.
    """
    ends = time.monotonic() + growing_wait(idle, POLL_SECONDS, beat_seconds())
    while True:
        time.sleep(growing_wait(idle, POLL_SECONDS))
        if time.monotonic() >= ends or _changes(store) != before:
            return


def _is_recorded(session: _Session, planned: PlannedCell) -> bool:
    """Whether the present record of a cell was written in this run, by another process."""
    key, on_record = planned.key, session.watcher.on_record
    if key in session.first_listed or key in session.rules.earlier:
        return False
    if on_record:
        record = session.store.read(key)
        if record is None:  # damaged
            return False
        on_record(record, False)
    return True


def _try_cell(session: _Session, planned: PlannedCell) -> bool:
    """Compute a cell unless another process does; False where it must be checked again later."""
    store, rules, watcher = session.store, session.rules, session.watcher
    with claim_lock(store.lock(planned.key)) as lease:
        if lease is None:
            return False
        if store.path(planned.key).exists() and _is_recorded(session, planned):
            return True
        if record := kept_record(session.runner.resolved, store, planned, rules):
            if watcher.on_record:
                watcher.on_record(record, False)  # another process was faster
            return True
        watcher.on_start(planned)
        session.runner.may_write = lease.is_mine
        replaced = content_if_any(store.path(planned.key))
        computed, predictions = _compute_record(session.runner, store, planned, rules.run)
        record = store.write_once(computed, predictions, replaced, lease.is_mine)
        if record is None:
            note_late_record(store, computed)
        elif watcher.on_record:
            watcher.on_record(record, True)
        return record is not None


def note_late_record(store: RecordStore, late: Record) -> None:
    """Note that a record was dropped because another process has taken its cell over meanwhile."""
    kept = store.read(late.key)
    if kept is None:
        what = "another process computes the cell anew"
    elif kept.metrics == late.metrics and kept.status == late.status:
        what = "that of another process, with equal scores, is kept"
    else:
        pair = " and ".join(str(record.metrics.get(PRIMARY_METRIC)) for record in (late, kept))
        what = f"that of another process, with other scores, is kept ({PRIMARY_METRIC} {pair})"
    write_bytes(late_path(store, late.key, late.run), f"A late record was dropped: {what}.\n".encode())


def late_path(store: RecordStore, key: str, run: str) -> Path:
    """Return the file for the note on a late record."""
    return store.folder / "logs" / f"{key}-{run}.late"


def late_notes(store: RecordStore, run: str = "*") -> list[str]:
    """Return the notes on the late records of a run, or of all runs."""
    return [path.read_text() for path in (store.folder / "logs").glob(f"*-{run}.late")]


def late_records(store: RecordStore, run: str) -> str:
    """Say how many late records of a run were dropped; "" if none was."""
    notes = late_notes(store, run)
    if not notes:
        return ""
    other = sum("with other scores" in note for note in notes)
    return (
        f"Late records of cells that another process had taken over were dropped: {len(notes)}, of which "
        f"{other} with other scores (see {store.folder / 'logs'}/*.late)."
    )


def check_folder(folder: Path) -> None:
    """Raise `StoppedError` where the run directory was removed: its records would have no plan."""
    if not (folder / "plan.json").exists():
        raise StoppedError(f"The run directory {folder} was removed meanwhile: run the same command again.")


def _compute_record(
    runner: "CellRunner", store: RecordStore, planned: PlannedCell, run: str
) -> tuple[Record, PredictionArrays | None]:
    """Compute record and predictions of one cell; an error becomes a failed record with its reason."""
    started = time.perf_counter()
    needs = [record for key in planned.needs if (record := store.read(key))]
    try:
        for record in needs:
            if record.status != "ok":
                raise DependencyFailedError(f"its {record.cell.step} cell failed: {record.error}")
        record, predictions = runner.compute(planned, needs)
        traceback_path(store, planned.key).unlink(missing_ok=True)  # of a failed attempt
    except (StoppedError, UnwritableError, KeyboardInterrupt):
        raise  # not specific to this cell
    except (Exception, SystemExit) as error:  # the other cells are computed
        write_bytes(traceback_path(store, planned.key), clean(traceback.format_exc()).encode())
        _LOG.debug(f"traceback of cell {planned.key}:", exc_info=True)
        seconds = time.perf_counter() - started
        record, predictions = runner.failed_record(planned, _error_line(error), seconds), None
    return msgspec.structs.replace(record, run=run), predictions


class DependencyFailedError(RuntimeError):
    """A cell cannot be computed because one that it depends on has failed."""


def traceback_path(store: RecordStore, key: str) -> Path:
    """Return the file for the traceback of a failed cell."""
    return store.folder / "logs" / f"{key}.txt"


def _error_line(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "no message")
    return (
        first if isinstance(error, (DependencyFailedError, UserError)) else f"{type(error).__name__}: {first}"
    )


def finished_records(cells: Iterable[PlannedCell], store: RecordStore) -> Iterator[Record]:
    """Iterate over the existing records of cells."""
    return (record for planned in cells if (record := store.read(planned.key)) is not None)
