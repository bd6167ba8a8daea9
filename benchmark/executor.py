"""Runs the waiting cells of a plan in this process, or in several that share the run directory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .errors import UserError
from .files import DiskFullError
from .grid import Grid
from .plan import Planned, read_plan
from .progress import Progress
from .records import Store
from .runner import Rules, Watcher, is_done, work

WATCH_SECONDS = 0.5


def execute(grid: Grid, waiting: list[Planned], rules: Rules, jobs: int, device: str) -> None:
    """Compute the waiting cells and show how far they are.

    Args:
        grid: the resolved request; its plan has been written.
        waiting: what is to be computed, as `runner.pending` returned it.
        rules: which records count.
        jobs: number of processes; they share cells through the locks of the run directory.
        device: as torch calls it.
    """
    store = Store(grid.request.folder)
    progress = Progress(waiting, jobs)
    with progress.shown():
        if jobs > 1:
            _in_processes(grid, rules, jobs, device, progress)
        else:
            from .cells import Bench

            work(Bench(grid, device), store, rules, Watcher(progress.begun, progress.ended))


def _in_processes(grid: Grid, rules: Rules, jobs: int, device: str, progress: Progress) -> None:
    """Start the workers and watch the records that they leave."""
    store = Store(grid.request.folder)
    threads = max(1, (os.cpu_count() or jobs) // jobs)
    command = [sys.executable, "-m", f"{__package__}.worker", str(store.folder), device]
    command += [rules.overwrite, repr(rules.since), str(rules.limit)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    workers = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(jobs)
    ]
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(WATCH_SECONDS)
            _note(store, rules, progress)
        _note(store, rules, progress)
    except BaseException:
        for worker in workers:
            worker.send_signal(signal.SIGINT)
        for worker in workers:
            worker.wait()
        raise
    complaints = [worker.communicate()[1].strip() for worker in workers if worker.returncode]
    if any(worker.returncode == 1 for worker in workers):
        raise DiskFullError(
            complaints[0].splitlines()[-1] if complaints[0] else "A worker process ended early."
        )
    if complaints:
        codes = ", ".join(str(worker.returncode) for worker in workers)
        last = complaints[0].splitlines()[-1] if complaints[0] else "it said nothing"
        raise UserError(f"A worker process ended early (exit {codes}: {last}); run the same command again.")


def _note(store: Store, rules: Rules, progress: Progress) -> None:
    for key in list(progress.waiting):
        if store.path(key).exists() and (record := store.read(key)):
            fresh = store.path(key).stat().st_mtime >= rules.since
            if fresh or is_done(store, key, rules):
                progress.ended(record)


def serve(folder: Path, device: str, rules: Rules) -> None:
    """Do a worker's share of the plan that stands in `folder`."""
    import msgspec

    from .cells import Bench
    from .request import Request
    from .resolve import resolve

    plan = read_plan(folder)
    if plan is None:
        raise UserError(f"There is no readable plan in {folder}: run the same command again.")
    request = msgspec.convert(plan.request, Request)
    work(Bench(resolve(request), device), Store(folder), rules, Watcher())
