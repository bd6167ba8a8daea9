"""`status`: what is done of a run, by its records, and which processes compute cells now, by their leases."""

import time
from contextlib import suppress
from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.leases import lease_seconds, read_lease, server_time
from ..schema.plan import read_plan
from ..schema.records import RecordStore
from .scheduler import late_notes
from .submitted_jobs import SubmittedJob, read_jobs


class RunningCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of the plan that a process has claimed."""

    key: str
    owner: str
    """Such as "process 12 on node3 in job 45_1"."""
    renewed_seconds: float
    """Seconds since the process renewed its lease, by the file server's clock."""

    @property
    def is_silent(self) -> bool:
        """Whether the lease has ended, so that the process is probably dead."""
        return self.renewed_seconds > lease_seconds()


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """State of a run directory."""

    folder: str
    cells: int
    ok: int
    failed: int
    running: tuple[RunningCell, ...]
    late: int
    """Number of late records that were dropped, in all runs."""
    jobs: tuple[SubmittedJob, ...]

    @property
    def is_done(self) -> bool:
        """Whether every cell has a record."""
        return self.ok + self.failed == self.cells


def run_status(folder: Path) -> RunStatus:
    """Read the state of a run directory; `UserError` where it has no plan."""
    plan, store = read_plan(folder), RecordStore(folder)
    if plan is None:
        raise UserError(f"{folder} holds no plan of a run: name the --out of one.")
    found = ((planned.key, store.read(planned.key)) for planned in plan.cells)
    records = {key: record for key, record in found if record}
    keys = {planned.key for planned in plan.cells}
    ok = sum(record.status == "ok" for record in records.values())
    return RunStatus(
        folder=str(folder),
        cells=len(plan.cells),
        ok=ok,
        failed=len(records) - ok,
        running=tuple(
            cell
            for cell in _running_cells(store)
            # a worker that was killed just after it had written a record leaves its claim
            if cell.key in keys and not (cell.is_silent and cell.key in records)
        ),
        late=len(late_notes(store)),
        jobs=tuple(read_jobs(folder)),
    )


def _running_cells(store: RecordStore) -> list[RunningCell]:
    paths = sorted(store.lock("a").parent.glob("*.lock"))
    found = [(path.stem, lease) for path in paths if (lease := read_lease(path))]
    now = time.time()
    with suppress(OSError):  # of another user's run
        now = server_time(store.folder) if found else now
    return [
        RunningCell(key=key, owner=str(owner), renewed_seconds=max(0.0, now - renewed))
        for key, (owner, renewed) in found
    ]
