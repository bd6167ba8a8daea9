"""`--executor local`: this process, or several processes on this machine."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import msgspec
import torch

from ....core.errors import StoppedError, UserError
from ....core.hardware import worker_devices
from ...schema.records import Record, RecordStore
from .. import worker as worker_module
from ..cell_runner import CellRunner
from ..executor import EXECUTORS, WATCH_SECONDS, Executor
from ..progress import RunProgress
from ..scheduler import CellWatcher, RecordListing, compute_cells
from ..waiting_run import WaitingRun, WorkerArgs

LINE_BYTES = 8192
WORKER_EXIT_SECONDS = 60.0
"""How long an interrupted worker may take to end before it is killed."""


def execute_cells(run: WaitingRun, on_record: Callable[[Record], object] = lambda record: None) -> None:
    """Compute the waiting cells and show the progress.

    Args:
        on_record: called in this process with each new record.

    Raises:
        StoppedError: the disk is full, or all workers ended early.
    """
    progress = RunProgress(run.waiting, run.jobs, on_record=on_record)
    with progress.show():
        if run.jobs > 1:
            devices = worker_devices(run.device, run.jobs)
            workers = [_WorkerProcess(run.worker_args(device, os.getpid())) for device in devices]
            listing = RecordListing(RecordStore(run.folder).records)

            def note() -> None:
                progress.note_workers(worker.last_line() for worker in workers)
                run.note_records(progress, listing.changed_names())

            _watch_workers(workers, note)
            run.note_records(progress, listing.names())
            # surviving workers compute the cells of a killed one
            if progress.waiting and all(worker.process.returncode for worker in workers):
                raise _worker_error(workers)
        else:
            watcher = CellWatcher(progress.note_start, progress.note_record, progress.note_wait)
            compute_cells(CellRunner(run.resolved, run.device), run.waiting, run.rules, watcher)


def _watch_workers(workers: list["_WorkerProcess"], note_records: Callable[[], None]) -> None:
    """Show the records as the workers write them, until the last worker has ended."""
    try:
        while any(worker.process.poll() is None for worker in workers):
            time.sleep(WATCH_SECONDS)
            note_records()
        note_records()
    except BaseException:
        for worker in workers:
            worker.process.terminate()  # not SIGINT, which a shell's background job and its workers ignore
        for worker in workers:
            worker.wait_or_kill()
        raise


def _worker_error(workers: list["_WorkerProcess"]) -> StoppedError | UserError:
    """Return the error for workers that ended before all cells were done."""
    for worker in workers:
        if worker.process.returncode == 2:
            return UserError(worker.last_stderr_line())
    codes = ", ".join(str(worker.process.returncode) for worker in workers)
    lines = (worker.last_stderr_line() for worker in workers)
    reason = next(filter(None, lines), "they said nothing")
    return StoppedError(
        f"The worker processes ended before all was done (exit {codes}: {reason.rstrip('.')}); "
        "run the same command again."
    )


class _WorkerProcess:
    """One worker process; its standard error goes to a file, since a full pipe would block it."""

    def __init__(self, args: WorkerArgs) -> None:
        threads = torch.get_num_threads()  # as in this process: the number of threads changes last digits
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker lives
        self._stdout: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", worker_module.__name__],
            # safe path: with -m Python would look for modules in the user's folder first
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=self._stdout,
            stderr=self._stderr,
        )
        if self.process.stdin is None:
            raise AssertionError("a pipe was asked for")
        with suppress(BrokenPipeError), self.process.stdin as pipe:  # broken: see its exit code
            pipe.write(msgspec.json.encode(args))

    def last_stderr_line(self) -> str:
        """Return the last line that the worker wrote to standard error."""
        return _last_line(self._stderr)

    def last_line(self) -> str:
        """Return what the worker does, its last line on standard output; "" once it has ended."""
        return _last_line(self._stdout) if self.process.poll() is None else ""

    def wait_or_kill(self) -> None:
        """Wait for the worker to end; kill it after `WORKER_EXIT_SECONDS`."""
        try:
            self.process.wait(WORKER_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _last_line(file: IO[bytes]) -> str:
    # not through the file's position, which the worker shares
    content = os.pread(file.fileno(), LINE_BYTES, max(0, os.fstat(file.fileno()).st_size - LINE_BYTES))
    return content.decode(errors="replace").strip().rpartition("\n")[2]


EXECUTORS.add("local", Executor(execute_cells, ("jobs", "per_gpu")))
