"""A run whose waiting cells an executor computes, and the arguments of its workers; imports no torch."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..schema.plan import PlannedCell
from ..schema.records import RecordStore
from ..schema.request import RunConfig
from .planner import ResolvedPlan
from .progress import RunProgress
from .scheduler import ResumeRules, kept_record


class WorkerArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of a worker process, as JSON on its standard input or in a file."""

    request: RunConfig
    device: str
    rules: ResumeRules
    keys: tuple[str, ...]
    """Waiting cells of all workers together."""
    parent: int = 0
    """Process id of the parent; a worker whose parent has died ends after its cell. 0 on another machine."""


@dataclass(frozen=True)
class WaitingRun:
    """Run whose waiting cells are to be computed.

    Attributes:
        waiting: cells without a record, from `pending_cells`.
        rules: with the run id.
        jobs: number of processes; they share cells through leases in the run directory.
        device: torch device of this machine; "cuda" is all visible GPUs, "" where it computes nothing.
    """

    resolved: ResolvedPlan
    waiting: list[PlannedCell]
    rules: ResumeRules
    jobs: int
    device: str

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.resolved.request.folder

    @property
    def workers(self) -> int:
        """Number of processes that have a cell to begin with."""
        return min(self.jobs, len(self.waiting))

    def worker_args(self, device: str, parent: int = 0) -> WorkerArgs:
        """Return the arguments of a worker."""
        keys = tuple(planned.key for planned in self.waiting)
        request, rules = self.resolved.request, self.rules
        return WorkerArgs(request=request, device=device, rules=rules, keys=keys, parent=parent)

    def note_records(self, progress: RunProgress, written: Container[str]) -> None:
        """Count the cells among `written` keys whose records the rules keep."""
        store = RecordStore(self.folder)
        for planned in self.waiting:
            if planned.key not in progress.waiting or planned.key not in written:
                continue
            if record := kept_record(self.resolved, store, planned, self.rules):
                progress.note_record(record)
