"""Scheduling of cells: resume, failed cells as records, any number of processes."""

import logging
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...core.errors import StoppedError, UserError, clean
from ...core.files import UnwritableError, claim_lock, lock_owner, write_bytes
from ...core.interrupts import remember_interrupts
from ..pretraining.mednet_cache import read_pretrain_facts
from ..schema.plan import PlannedCell
from ..schema.records import RECORD_FORMAT, Record, RecordStore, old_format_error
from .planner import ResolvedPlan

if TYPE_CHECKING:  # importing torch takes seconds, and a finished run needs none of it
    from .cell_runner import CellRunner

_LOG = logging.getLogger(__name__)
POLL_SECONDS = 0.5
"""How often a process checks again for cells that other processes are computing."""


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
    on_record: Callable[[Record, bool], None] = lambda record, own: None
    """Called with a new record, and whether this process computed it."""
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


def is_done(resolved: ResolvedPlan, store: RecordStore, planned: PlannedCell, rules: ResumeRules) -> bool:
    """Whether the rules keep the record of a cell."""
    return kept_record(resolved, store, planned, rules) is not None


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
    """Whether the predictions, or the cached weights, of an ok record are unchanged."""
    if planned.cell.step == "score":
        return store.has_predictions(record)
    weights = resolved.pretraining(planned.cell).file if planned.cell.step == "pretrain" else None
    return weights is None or read_pretrain_facts(weights) is not None


def compute_cells(
    runner: "CellRunner", waiting: list[PlannedCell], rules: ResumeRules, watcher: CellWatcher
) -> None:
    """Compute every waiting cell that no other process is computing, until none is left.

    A cell is claimed by a lock that is released when its process dies, so processes on one run directory
    share the work, and the cell of a killed process is computed by another.

    Raises:
        StoppedError: a record could not be written, the data are not those of the plan, or the run
            directory was removed.
        UnwritableError: the run directory or the cache is not writable.
    """
    with remember_interrupts() as check:
        while waiting:
            unsettled = {planned.key for planned in waiting}
            for planned in waiting:
                check()
                if not unsettled.isdisjoint(planned.needs):
                    continue
                check_folder(runner.resolved.request.folder)
                try:
                    if _try_cell(runner, planned, rules, watcher):
                        unsettled.discard(planned.key)
                except UnwritableError:
                    check_folder(runner.resolved.request.folder)  # removed since the check above?
                    raise
            if len(unsettled) == len(waiting):  # others compute them, or what they need
                first = next(planned for planned in waiting if unsettled.isdisjoint(planned.needs))
                lock = RecordStore(runner.resolved.request.folder).lock(first.key)
                watcher.on_wait(first, lock_owner(lock))
                time.sleep(POLL_SECONDS)
            waiting = [planned for planned in waiting if planned.key in unsettled]


def _try_cell(runner: "CellRunner", planned: PlannedCell, rules: ResumeRules, watcher: CellWatcher) -> bool:
    """Compute a cell unless another process does; False where it must be checked again later."""
    store = RecordStore(runner.resolved.request.folder)
    with claim_lock(store.lock(planned.key)) as mine:
        if not mine:
            return False
        if is_done(runner.resolved, store, planned, rules) and (record := store.read(planned.key)):
            watcher.on_record(record, False)  # another process was faster
            return True
        watcher.on_start(planned)
        watcher.on_record(_compute_record(runner, store, planned, rules.run), True)
        with suppress(OSError):  # Windows keeps an open file
            store.lock(planned.key).unlink()  # who claims it anew finds the record
        return True


def check_folder(folder: Path) -> None:
    """Raise `StoppedError` where the run directory was removed: its records would have no plan."""
    if not (folder / "plan.json").exists():
        raise StoppedError(f"The run directory {folder} was removed meanwhile: run the same command again.")


def _compute_record(runner: "CellRunner", store: RecordStore, planned: PlannedCell, run: str) -> Record:
    """Compute one cell; an error becomes a failed record with its reason."""
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
    return store.write(msgspec.structs.replace(record, run=run), predictions)


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
