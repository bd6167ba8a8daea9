"""Progress display of a run: a live table in a terminal, log records everywhere.

A worker process has no display: it sends its line to the parent, which shows those of all workers.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ...core.errors import one_line
from ...core.progress import REPORTER, NotebookBar, duration, live_line, log_progress, stderr_console
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
        self.last_score = ""
        self._now: list[str] = []
        self._announced: set[str] = set()
        self._left = Counter(map(_cell_kind, self.waiting.values()))
        self._done, self._failed = Counter[str](), Counter[str]()
        self._seconds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._started = time.perf_counter()
        self._live: Live | NotebookBar | None = None

    @contextmanager
    def show(self) -> Iterator["RunProgress"]:
        """Show the live table during the block, if the console is a terminal."""
        with live_line(self.console, self.line, self.share, self.table) as self._live:
            yield self
        self._live = None

    def note_start(self, planned: PlannedCell) -> None:
        """Show that a cell starts."""
        self._now = [describe_cell(planned.cell)]
        if planned.cell.step != "score":  # takes minutes
            self._log_line(f"{self._now[0]} ...")
        self._refresh()

    def note_wait(self, planned: PlannedCell, owner: str) -> None:
        """Show that nothing can be computed before another process has finished a cell."""
        self._now = [f"waiting for {owner}, which computes {describe_cell(planned.cell)}"]
        self._refresh()

    def note_workers(self, lines: Iterable[str]) -> None:
        """Show the work of every worker process; log each pretraining once, since it takes minutes."""
        self._now = [f"worker {at}: {line}" for at, line in enumerate(lines, start=1) if line]
        starts = {": ".join(line.split(": ")[:2]) for line in self._now if ": pretrain " in line}
        for start in sorted(starts - self._announced):
            self._log_line(f"{start} ...")
        self._announced |= starts
        self._refresh()

    def note_record(self, record: Record, own: bool = True) -> None:
        """Count a cell whose record is written, and show it."""
        if (cell := self.waiting.pop(record.key, None)) is None:
            return
        self.on_record(record)
        kind = _cell_kind(cell)
        self._left[kind] -= 1
        (self._done if record.status == "ok" else self._failed)[_row_of(kind)] += 1
        self._seconds[kind].append(record.seconds if own else 0.0)
        if record.status != "ok":
            log_progress(f"FAILED {describe_cell(record.cell)}: {record.error}", logging.ERROR)
        else:
            score = record.metrics.get(PRIMARY_METRIC)
            known = record.cell.step == "score" and score is not None
            line = describe_cell(record.cell)
            line += f" test {PRIMARY_METRIC.upper()} {score:.3f}" if known else ""
            self.last_score = line if known else self.last_score
            self._log_line(f"{line} ({duration(record.seconds)})")
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
        failed = f", {self._failed.total()} failed" if self._failed else ""
        spent = duration(time.perf_counter() - self._started)
        return f"{head}{failed} {spent}{', ' + left if left else ''}  {'; '.join(self._now)}"

    def table(self) -> Group:
        """Return the cells by protocol, what is computed now and the last score."""
        table = Table(box=None, pad_edge=False)
        table.add_column("cells", overflow="fold")
        for title in ("done", "failed", "waiting", "per minute", "time left"):
            table.add_column(title, justify="right", overflow="fold")
        rows = [*dict.fromkeys(map(_row_of, self._left))]
        for row in [*rows, *([""] if len(rows) > 1 else [])]:
            table.add_row(Text(one_line(row or "all")), *self._row_cells(row))
        inside = REPORTER.line(first=1)
        lines = [f"now: {line}{': ' * bool(inside)}{inside}" for line in self._now if self.waiting]
        lines += [f"last: {self.last_score}"] if self.last_score else []
        return Group(table, *(Text(one_line(line)) for line in lines))

    def _row_cells(self, row: str) -> list[str]:
        """Return the numbers of a row of the table; "" is the row of all cells."""
        counted = [of[row] if row else of.total() for of in (self._done, self._failed)]
        waiting = sum(self._waiting_kinds(row).values())
        kinds = [kind for kind in self._left if row in ("", _row_of(kind))]
        seconds = [each for kind in kinds for each in self._seconds.get(kind, ())]
        rate = f"{60 * self.jobs * len(seconds) / sum(seconds):.3g}" if sum(seconds) else ""
        left = self.seconds_left(row) if waiting else None
        return [*map(str, (*counted, waiting)), rate, "" if left is None else duration(left)]

    def _waiting_kinds(self, row: str = "") -> dict[tuple[str, str, str], int]:
        """Count the waiting cells of a row of the table by kind."""
        return {kind: n for kind, n in self._left.items() if n and row in ("", _row_of(kind))}

    def seconds_left(self, row: str = "") -> float | None:
        """Estimate the seconds left, of one protocol or of all, from the mean time of cells of the same kind.

        A task without finished cells counts as the others of its protocol; None while a protocol, or the
        pretraining, has no finished cell.
        """
        seen: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for kind, seconds in tuple(self._seconds.items()):  # the thread that draws must not see a change
            seen[kind] += seconds
            seen[kind[:2]] += seconds
        means = {kind: sum(seconds) / len(seconds) for kind, seconds in seen.items()}
        kinds = self._waiting_kinds(row)
        guesses = {kind: means.get(kind, means.get(kind[:2])) for kind in kinds}
        if None in guesses.values():
            return None
        total = sum(guess * kinds[kind] for kind, guess in guesses.items() if guess)
        return total / max(1, min(self.jobs, sum(kinds.values())))

    def _refresh(self) -> None:
        if self._live:
            self._live.refresh()

    def _log_line(self, text: str) -> None:
        """Log what the live table shows already as a detail, else as a message."""
        level = logging.DEBUG if self._live else logging.INFO
        log_progress(f"{self.line(short=True)} {text}", level)


def _cell_kind(cell: Cell) -> tuple[str, str, str]:
    return (cell.step, cell.protocol, "" if cell.step == "pretrain" else cell.task)


def _row_of(kind: tuple[str, str, str]) -> str:
    """Return the row of the table that counts a kind of cells: the protocol, or the step without one."""
    return kind[1] or kind[0]
