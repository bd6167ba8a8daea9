"""Executors, which start what computes the waiting cells, and the worker process of all of them."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...core.errors import StoppedError, UserError, one_line
from ...core.progress import REPORTER
from ...core.registry import Registry
from ..schema.plan import PlannedCell
from ..schema.records import Record
from ..schema.request import RunConfig
from .cell_runner import CellRunner
from .preflight import resolve_device
from .progress import describe_cell
from .resolve import resolve_request
from .scheduler import CellWatcher, compute_cells
from .waiting_run import WaitingRun, WorkerArgs

WATCH_SECONDS = 0.5
STATUS_SECONDS, LOG_SECONDS = 2.0, 60.0
"""How often a worker says what it does, to its parent or in the log of a job."""
LEAST_SECONDS = 60.0
"""Time before its limit at which a worker takes no further cell; twice its longest cell if that is more."""


@dataclass(frozen=True)
class Executor:
    """What computes the waiting cells of a run.

    Attributes:
        execute: computes the cells and returns when all have records; shows the progress, and passes each
            new record on.
        options: fields of `RunConfig` that only some executors take, and this one does.
        submit: hands the cells to a queue and returns a sentence about it; with `print_only` it only returns
            the script. None for an executor whose run waits for the cells.
        elsewhere: whether the workers choose their devices on other machines.
    """

    execute: Callable[[WaitingRun, Callable[[Record], object]], None]
    options: tuple[str, ...]
    submit: Callable[[WaitingRun, bool], str] | None = None
    elsewhere: bool = False


EXECUTORS: Registry[Executor] = Registry("executor", f"{__package__}.executors")


def check_executor(config: RunConfig) -> Executor:
    """Return the executor of a run; `UserError` for options of another one."""
    executor = EXECUTORS[config.executor]
    usual = RunConfig()
    for option in dict.fromkeys(option for _, each in EXECUTORS.items() for option in each.options):
        if option not in executor.options and getattr(config, option) != getattr(usual, option):
            users = " or ".join(sorted(name for name, each in EXECUTORS.items() if option in each.options))
            own = " and ".join(map(_flag, executor.options))
            raise UserError(
                f"{_flag(option)} is for --executor {users}: pass that, or for {config.executor} {own}."
            )
    return executor


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


class TimeLimit:
    """Time that a worker has, and whether it suffices for another cell."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds
        self.longest = 0.0
        self._started: float | None = None
        self.over = self.was_used = False
        """Whether the time is nearly over; whether a cell was started or waited for."""

    def note_start(self) -> None:
        """Note that a cell starts."""
        self._started = time.monotonic()
        self.was_used = True

    def may_start(self) -> bool:
        """Whether another cell probably ends within the limit."""
        now = time.monotonic()
        if self._started is not None:
            self.longest, self._started = max(self.longest, now - self._started), None
        self.over = self.ends - now < max(LEAST_SECONDS, 2 * self.longest)
        return not self.over


def resolve_worker(args: WorkerArgs) -> tuple[CellRunner, list[PlannedCell]]:
    """Resolve a run again in a worker; return what computes its cells, and these.

    Raises:
        UserError: data, weights or the device are missing here.
        StoppedError: data, weights or cards are not those of the plan.
    """
    resolved = resolve_request(args.request)
    keys = set(args.keys)
    waiting = [planned for planned in resolved.plan.cells if planned.key in keys]
    if len(waiting) < len(keys):  # keys hash the fingerprints of data and weights
        raise StoppedError(
            "Data, weights or cards are not those that this run was planned with: run the same command again."
        )
    return CellRunner(resolved, args.device if args.parent else resolve_device(args.device)), waiting


def serve_worker(args: WorkerArgs, limit: TimeLimit | None = None) -> None:
    """Compute cells as a worker process until none is left, or no time; prints what it does."""
    runner, waiting = resolve_worker(args)
    doing, limit = [""], limit or TimeLimit(float("inf"))

    def start(planned: PlannedCell) -> None:
        if args.parent and os.getppid() != args.parent:  # the parent was killed
            raise KeyboardInterrupt
        limit.note_start()
        doing[0] = describe_cell(planned.cell)
        print_status(doing[0])

    def wait(planned: PlannedCell, owner: str) -> None:
        limit.was_used = True
        doing[0] = f"waiting for {owner}, which computes {describe_cell(planned.cell)}"

    with report_status(lambda: doing[0], STATUS_SECONDS if args.parent else LOG_SECONDS):
        watcher = CellWatcher(start, on_wait=wait)
        compute_cells(runner, waiting, args.rules, watcher, limit.may_start)


def print_status(line: str) -> None:
    """Print what this worker does, on one line."""
    print(one_line(line), flush=True)


@contextmanager
def report_status(line: Callable[[], str], seconds: float) -> Iterator[None]:
    """Print this worker's line every so many seconds in the block."""
    before = REPORTER.say, REPORTER.quiet
    with REPORTER.add(line), REPORTER.keep_ticking():
        REPORTER.say, REPORTER.wait, REPORTER.quiet = print_status, seconds, seconds
        try:
            yield
        finally:
            REPORTER.say, REPORTER.quiet = before
