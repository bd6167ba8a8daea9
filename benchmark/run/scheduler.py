"""Carries out a plan against a store: resume, failures as records, any number of processes."""

import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...core.errors import StoppedError, UserError, clean
from ...core.files import UnwritableError, claim_lock, write_bytes
from ...core.interrupts import remember_interrupts
from ..pretraining.mednet_cache import read_pretrain_facts
from ..schema.plan import PlannedCell
from ..schema.records import Record, RecordStore
from .planner import ResolvedPlan

if TYPE_CHECKING:  # torch takes seconds to import, and a run that has nothing to compute shall end at once
    from .cell_runner import CellRunner

POLL_SECONDS = 0.5
"""How often a process looks again while others hold the cells that it waits for."""


@dataclass(frozen=True)
class ResumeRules:
    """Which cells are to be computed.

    Attributes:
        overwrite: "only-missing" computes what has no record or a failed one; "always" computes all
            again; "never" touches nothing that has a record, failed ones included.
        limit: most score cells to compute; 0 is all.
        run: id of this run, which its records carry; "" before it has started.
        earlier: key of a waiting cell -> id of the run whose record it had when this one started. A record of
            another run was written since, and is not computed again, failed or not.
    """

    overwrite: str = "only-missing"
    limit: int = 0
    run: str = ""
    earlier: Mapping[str, str] = field(default_factory=dict)

    def started(self, waiting: Iterable[PlannedCell], store: RecordStore) -> "ResumeRules":
        """Return the rules of a run that starts now; ids, since the clocks of two machines differ."""
        earlier = {record.key: record.run for record in finished_records(waiting, store)}
        return replace(self, run=uuid.uuid4().hex, earlier=earlier)


@dataclass(frozen=True)
class CellWatcher:
    """Who is told what happens; every function may be called from the loop of any process.

    Attributes:
        begun: a cell starts.
        ended: a cell has a record, of this process (True) or of another (False).
    """

    begun: Callable[[PlannedCell], None] = lambda planned: None
    ended: Callable[[Record, bool], None] = lambda record, own: None


def pending_cells(grid: ResolvedPlan, store: RecordStore, rules: ResumeRules) -> list[PlannedCell]:
    """Return the cells that are to be computed, in order; reads every record once."""
    wanted = [planned for planned in grid.plan.cells if not is_done(grid, store, planned, rules)]
    if not rules.limit:
        return _needed(wanted)
    scores = [planned for planned in wanted if planned.cell.step == "score"][: rules.limit]
    keep = {key for planned in scores for key in (planned.key, *planned.needs)}
    return [planned for planned in wanted if planned.key in keep]


def _needed(wanted: list[PlannedCell]) -> list[PlannedCell]:
    """Drop tunings and pretrainings that no wanted cell needs: their caches may have been cleared since."""
    needs = {key for planned in wanted for key in planned.needs}
    return [planned for planned in wanted if planned.cell.step == "score" or planned.key in needs]


def is_done(grid: ResolvedPlan, store: RecordStore, planned: PlannedCell, rules: ResumeRules) -> bool:
    """Whether the rules leave the record of a cell as it is."""
    record = store.read(planned.key)
    if record is None:
        return False
    if rules.overwrite == "never":
        return True
    if rules.overwrite == "only-missing" and record.status == "ok":
        return _is_whole(grid, store, planned, record)
    return bool(rules.run) and record.run != rules.earlier.get(planned.key)


def _is_whole(grid: ResolvedPlan, store: RecordStore, planned: PlannedCell, record: Record) -> bool:
    """Whether what stood beside an ok record is as it was: the predictions, or the weights in the cache."""
    if planned.cell.step == "score":
        return store.has_predictions(record)
    weights = grid.pretraining(planned.cell).file if planned.cell.step == "pretrain" else None
    return weights is None or read_pretrain_facts(weights) is not None


def compute_cells(
    bench: "CellRunner", waiting: list[PlannedCell], rules: ResumeRules, watcher: CellWatcher
) -> None:
    """Compute every waiting cell that no other process is computing, until none is left.

    A cell is claimed by a lock that dies with its owner: a killed process leaves its cell to the
    next one, and two processes on one run directory share the work.

    Args:
        bench: where cells are computed.
        waiting: what `pending` returned.
        rules: which records count.
        watcher: is told what happens.

    Raises:
        StoppedError: the record of a cell could not be written, the data are not those of the plan, or the
            run directory was removed.
        UnwritableError: the run directory or the cache cannot be written to.
    """
    with remember_interrupts() as check:
        while waiting:
            unsettled = {planned.key for planned in waiting}
            for planned in waiting:
                check()
                check_folder(bench.grid.request.folder)
                if unsettled.isdisjoint(planned.needs) and _attempt(bench, planned, rules, watcher):
                    unsettled.discard(planned.key)
            if len(unsettled) == len(waiting):  # all of them are held by others, or need what others hold
                time.sleep(POLL_SECONDS)
            waiting = [planned for planned in waiting if planned.key in unsettled]


def _attempt(bench: "CellRunner", planned: PlannedCell, rules: ResumeRules, watcher: CellWatcher) -> bool:
    """Compute a cell if it is free; False where it has to be looked at again later."""
    store = RecordStore(bench.grid.request.folder)
    with claim_lock(store.lock(planned.key)) as mine:
        if not mine:
            return False
        if is_done(bench.grid, store, planned, rules) and (record := store.read(planned.key)):
            watcher.ended(record, False)  # another process was faster
            return True
        watcher.begun(planned)
        watcher.ended(_compute(bench, store, planned, rules.run), True)
        return True


def check_folder(folder: Path) -> None:
    """Stop where the run directory is gone: a record of a removed plan would be no part of any run.

    Raises:
        StoppedError: it holds no plan any more.
    """
    if not (folder / "plan.json").exists():
        raise StoppedError(f"The run directory {folder} was removed meanwhile: run the same command again.")


def _compute(bench: "CellRunner", store: RecordStore, planned: PlannedCell, run: str) -> Record:
    """Compute one cell; whatever goes wrong inside becomes a failed record with its reason."""
    started = time.perf_counter()
    needs = [record for key in planned.needs if (record := store.read(key))]
    try:
        for record in needs:
            if record.status != "ok":
                raise NeedFailedError(f"its {record.cell.step} cell failed: {record.error}")
        record, predictions = bench.compute(planned, needs)
        log_of(store, planned.key).unlink(missing_ok=True)  # of an earlier try that failed
    except (StoppedError, UnwritableError, KeyboardInterrupt):
        raise  # no fault of this cell: the next one would meet it too
    except (Exception, SystemExit) as error:  # a failed cell is a record; the others go on
        write_bytes(log_of(store, planned.key), clean(traceback.format_exc()).encode())
        seconds = time.perf_counter() - started
        record, predictions = bench.failure(planned, _sentence(error), seconds), None
    return store.write(msgspec.structs.replace(record, run=run), predictions)


class NeedFailedError(RuntimeError):
    """A cell cannot be computed because one that it needs has failed."""


def log_of(store: RecordStore, key: str) -> Path:
    """Return where the traceback of a failed cell is kept."""
    return store.folder / "logs" / f"{key}.txt"


def _sentence(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "no message")
    return first if isinstance(error, (NeedFailedError, UserError)) else f"{type(error).__name__}: {first}"


def finished_records(cells: Iterable[PlannedCell], store: RecordStore) -> Iterator[Record]:
    """Iterate over the records that the cells of a plan have."""
    return (record for planned in cells if (record := store.read(planned.key)) is not None)
