"""Progress display of a run: a live line in a terminal, log records everywhere.

A worker process has no display: it sends its line to the parent, which shows those of all workers.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from ...core.progress import NotebookBar, duration, live_line, log_progress, stderr_console
from ..schema.plan import Cell, Fold, PlannedCell, budget_text
from ..schema.records import PRIMARY_METRIC, Record


def describe_cell(cell: Cell) -> str:
    """Describe a cell in one line."""
    if cell.step == "pretrain":
        return f"pretrain {cell.init} ({cell.task}) {cell.arch} {cell.input_size} px"
    what = f"{cell.task} {cell.init} {cell.protocol_label} {budget_text(cell.fraction)}"
    fold = f" fold {cell.view.index + 1}" if isinstance(cell.view, Fold) else ""
    return f"{what} seed {cell.seed}{fold}" + (f", {cell.longer:g} x the passes" if cell.longer else "")


class RunProgress:
    """Counts the waiting cells of a run and shows the current cell and the time left."""

    def __init__(
        self,
        waiting: Iterable[PlannedCell],
        jobs: int = 1,
        console: Console | None = None,
        on_record: Callable[[Record], object] = lambda record: None,
    ) -> None:
        self.waiting = {planned.key: planned.cell for planned in waiting}
        self.total, self.jobs = len(self.waiting), max(1, jobs)
        self.console = console or stderr_console()
        self.on_record = on_record
        self.failed = 0
        self.running = ""
        self._seconds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._started = time.perf_counter()
        self._live: Live | NotebookBar | None = None

    @contextmanager
    def show(self) -> Iterator["RunProgress"]:
        """Show the live line during the block, if the console is a terminal."""
        with live_line(self.console, self.line, self.share) as self._live:
            yield self
        self._live = None

    def note_start(self, planned: PlannedCell) -> None:
        """Show that a cell starts."""
        self.running = describe_cell(planned.cell)
        if planned.cell.step != "score":  # takes minutes
            self._log_line(f"{self.running} ...")
        self._refresh()

    def note_wait(self, planned: PlannedCell, owner: str) -> None:
        """Show that nothing can be computed before another process has finished a cell."""
        self.running = f"waiting for {owner}, which computes {describe_cell(planned.cell)}"
        self._refresh()

    def note_workers(self, lines: Iterable[str]) -> None:
        """Show the work of every worker process."""
        self.running = "; ".join(f"worker {at}: {line}" for at, line in enumerate(lines, start=1) if line)
        self._refresh()

    def note_record(self, record: Record, own: bool = True) -> None:
        """Count a cell whose record is written, and show it."""
        if self.waiting.pop(record.key, None) is None:
            return
        self.on_record(record)
        self.failed += record.status != "ok"
        self._seconds[_cell_kind(record.cell)].append(record.seconds if own else 0.0)
        if record.status != "ok":
            log_progress(f"FAILED {describe_cell(record.cell)}: {record.error}", logging.ERROR)
        else:
            score = record.metrics.get(PRIMARY_METRIC)
            known = record.cell.step == "score" and score is not None
            found = f" test {PRIMARY_METRIC.upper()} {score:.3f}" if known else ""
            self._log_line(f"{describe_cell(record.cell)}{found} ({duration(record.seconds)})")
        self._refresh()

    def share(self) -> float:
        """Return the finished part of the cells, 0 to 1."""
        return (self.total - len(self.waiting)) / max(1, self.total)

    def line(self, short: bool = False) -> str:
        """Return the progress in one line."""
        done = self.total - len(self.waiting)
        head = f"[{done}/{self.total}]"
        seconds = self.seconds_left()
        left = f"about {duration(seconds)} left" if seconds is not None and self.waiting else ""
        if short:
            return f"{head} {left}:" if left else head
        failed = f", {self.failed} failed" if self.failed else ""
        spent = duration(time.perf_counter() - self._started)
        return f"{head}{failed} {spent}{', ' + left if left else ''}  {self.running}"

    def seconds_left(self) -> float | None:
        """Estimate the seconds left from the mean time of cells of the same kind.

        A task without finished cells counts as the others of its protocol; None while a protocol, or the
        pretraining, has no finished cell.
        """
        seen: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for kind, seconds in tuple(self._seconds.items()):  # the thread that draws must not see a change
            seen[kind] += seconds
            seen[kind[:2]] += seconds
        means = {kind: sum(seconds) / len(seconds) for kind, seconds in seen.items()}
        kinds = Counter(_cell_kind(cell) for cell in tuple(self.waiting.values()))
        guesses = {kind: means.get(kind, means.get(kind[:2])) for kind in kinds}
        if None in guesses.values():
            return None
        total = sum(guess * kinds[kind] for kind, guess in guesses.items() if guess)
        return total / max(1, min(self.jobs, len(self.waiting)))

    def _refresh(self) -> None:
        if self._live:
            self._live.refresh()

    def _log_line(self, text: str) -> None:
        """Log what the live line shows already as a detail, else as a message."""
        level = logging.DEBUG if self._live else logging.INFO
        log_progress(f"{self.line(short=True)} {text}", level)


def _cell_kind(cell: Cell) -> tuple[str, str, str]:
    return (cell.step, cell.protocol, "" if cell.step == "pretrain" else cell.task)
