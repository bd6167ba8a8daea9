"""Runs the waiting cells of a plan in this process, or in several that share the run directory."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO

import msgspec

from ...core.errors import StoppedError, UserError
from ...core.hardware import worker_devices
from ..schema.plan import PlannedCell
from ..schema.records import RecordStore
from ..schema.request import RunConfig
from .planner import ResolvedPlan
from .progress import RunProgress
from .scheduler import CellWatcher, ResumeRules, compute_cells, is_done

WATCH_SECONDS = 0.5
WORKER_EXIT_SECONDS = 60.0
"""How long an interrupted worker may take to let go of its cell before it is killed."""


class WorkerArgs(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process is told, on its standard input."""

    request: RunConfig
    device: str
    rules: ResumeRules
    keys: tuple[str, ...]
    """The cells that are to be computed, by all workers together."""
    parent: int
    """Process id of whoever started it; a worker that has lost its parent ends after its cell."""


def execute_cells(
    resolved: ResolvedPlan, waiting: list[PlannedCell], rules: ResumeRules, jobs: int, device: str
) -> None:
    """Compute the waiting cells and show how far they are.

    Args:
        grid: the resolved request.
        waiting: what is to be computed, as `runner.pending` returned it.
        rules: which records count.
        jobs: number of processes; they share cells through the locks of the run directory.
        device: as torch calls it; "cuda" shares the cells among all visible GPUs.

    Raises:
        StoppedError: the disk is full, or every worker ended before all was done.
    """
    progress = RunProgress(waiting, jobs)
    with progress.show():
        if jobs > 1:
            keys = tuple(planned.key for planned in waiting)
            shares = [
                WorkerArgs(request=resolved.request, device=own, rules=rules, keys=keys, parent=os.getpid())
                for own in worker_devices(device, jobs)
            ]
            _watch_workers(resolved, waiting, rules, progress, [_WorkerProcess(share) for share in shares])
        else:
            from .cell_runner import CellRunner

            compute_cells(
                CellRunner(resolved, device), waiting, rules, CellWatcher(progress.note_start, progress.note_record)
            )


def _watch_workers(
    resolved: ResolvedPlan,
    waiting: list[PlannedCell],
    rules: ResumeRules,
    progress: RunProgress,
    workers: list["_WorkerProcess"],
) -> None:
    """Show the records that the workers leave, until the last of them has ended."""
    store = RecordStore(resolved.request.folder)
    try:
        while any(worker.process.poll() is None for worker in workers):
            time.sleep(WATCH_SECONDS)
            _note_records(resolved, store, waiting, rules, progress)
        _note_records(resolved, store, waiting, rules, progress)
    except BaseException:
        for worker in workers:
            worker.process.terminate()  # not SIGINT, which a shell's background job and its workers ignore
        for worker in workers:
            worker.wait_or_kill()
        raise
    # what one left because it was killed, the others have taken over, if any lived
    if progress.waiting and all(worker.process.returncode for worker in workers):
        raise _worker_error(workers)


def _worker_error(workers: list["_WorkerProcess"]) -> StoppedError | UserError:
    """Say why the workers ended before all was done."""
    for worker in workers:
        if worker.process.returncode == 2:
            return UserError(worker.last_stderr_line())
    codes = ", ".join(str(worker.process.returncode) for worker in workers)
    said = next((words for worker in workers if (words := worker.last_stderr_line())), "they said nothing")
    return StoppedError(
        f"The worker processes ended before all was done (exit {codes}: {said.rstrip('.')}); "
        "run the same command again."
    )


def _note_records(
    resolved: ResolvedPlan,
    store: RecordStore,
    waiting: list[PlannedCell],
    rules: ResumeRules,
    progress: RunProgress,
) -> None:
    for planned in waiting:
        # the cheap look first: thousands of cells wait, and most have no record yet
        if planned.key in progress.waiting and store.path(planned.key).exists():
            record = store.read(planned.key)
            if record and is_done(resolved, store, planned, rules):
                progress.note_record(record)


class _WorkerProcess:
    """One worker process; what it complains of goes to a file, since nobody reads a pipe meanwhile."""

    def __init__(self, share: WorkerArgs) -> None:
        import torch

        threads = torch.get_num_threads()  # as here, without workers: their number decides last digits
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker lives
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker"],
            # safe path: with -m Python would look for modules in the user's folder first
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
        )
        if self.process.stdin is None:
            raise AssertionError("a pipe was asked for")
        with suppress(BrokenPipeError), self.process.stdin as pipe:  # broken: its exit code will tell
            pipe.write(msgspec.json.encode(share))

    def last_stderr_line(self) -> str:
        """Return the last line that the worker wrote to standard error."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").strip().rpartition("\n")[2]

    def wait_or_kill(self) -> None:
        """Wait until the worker has let go of its cell; kill it where it does not."""
        try:
            self.process.wait(WORKER_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve_worker(share: WorkerArgs) -> None:
    """Do a worker's part of a share."""
    from .cell_runner import CellRunner
    from .resolve import resolve_request

    resolved = resolve_request(share.request)
    wanted = set(share.keys)
    waiting = [planned for planned in resolved.plan.cells if planned.key in wanted]
    if len(waiting) < len(wanted):  # the keys hold the fingerprints of data and weights
        raise StoppedError("Data, weights or cards changed after this run was planned.")

    def begun(planned: PlannedCell) -> None:
        if os.getppid() != share.parent:  # it was killed: nobody waits for this any more
            raise KeyboardInterrupt

    compute_cells(CellRunner(resolved, share.device), waiting, share.rules, CellWatcher(begun))
