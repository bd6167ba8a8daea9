"""What a person sees while cells are computed: a live line in a terminal, plain lines elsewhere."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from ...core.progress import duration, escape_line, live_line, stderr_console
from ..schema.plan import Cell, PlannedCell
from ..schema.records import Record


def describe_cell(cell: Cell) -> str:
    """Return one line that tells a cell from the others."""
    if cell.step == "pretrain":
        return f"pretrain {cell.init} ({cell.task.partition(':')[0]}) {cell.arch} {cell.input_size} px"
    what = f"{cell.task} {cell.init} {cell.protocol} {cell.fraction:g}"
    return f"tune {what}" if cell.step == "tune" else f"{what} seed {cell.seed}"


class RunProgress:
    """Counts the cells of a run and says what is going on and how long it may yet take.

    Args:
        waiting: the cells that are to be computed.
        jobs: processes that share them.
        console: where to write; see `stderr_console`.
    """

    def __init__(self, waiting: Iterable[PlannedCell], jobs: int = 1, console: Console | None = None) -> None:
        self.waiting = {planned.key: planned.cell for planned in waiting}
        self.total, self.jobs = len(self.waiting), max(1, jobs)
        self.console = console or stderr_console()
        self.failed = 0
        self.running = ""
        self._seconds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._started = time.perf_counter()
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator["RunProgress"]:
        """Show the live line for the block, where the console is a terminal."""
        with live_line(self.console, self.line) as self._live:
            yield self
        self._live = None

    def begun(self, planned: PlannedCell) -> None:
        """Note that a cell starts."""
        self.running = describe_cell(planned.cell)
        if self._live is None and planned.cell.step != "score":  # minutes, not seconds: say that it goes on
            self._say(f"{self.line(short=True)} {self.running} ...")

    def ended(self, record: Record, own: bool = True) -> None:
        """Note that a cell has its record, and say so."""
        if self.waiting.pop(record.key, None) is None:
            return
        self.failed += record.status != "ok"
        self._seconds[_sort(record.cell)].append(record.seconds if own else 0.0)
        if record.status != "ok":
            self._say(f"FAILED {describe_cell(record.cell)}: {record.error}")
        elif self._live is None:
            score = record.metrics.get("auc")
            found = f" test AUC {score:.3f}" if record.cell.step == "score" and score is not None else ""
            self._say(
                f"{self.line(short=True)} {describe_cell(record.cell)}{found} ({duration(record.seconds)})"
            )

    def line(self, short: bool = False) -> str:
        """Return the state in one line."""
        done = self.total - len(self.waiting)
        head = f"[{done}/{self.total}]"
        seconds = self.left()
        left = f"about {duration(seconds)} left" if seconds is not None and self.waiting else ""
        if short:
            return f"{head} {left}:" if left else head
        failed = f", {self.failed} failed" if self.failed else ""
        spent = duration(time.perf_counter() - self._started)
        return f"{head}{failed} {spent}{', ' + left if left else ''}  {self.running}"

    def left(self) -> float | None:
        """Estimate the seconds that are left from the mean of what cells of the same sort took.

        A task of which nothing has run yet counts as the others of its protocol; None while a protocol,
        or the pretraining, has not been seen at all.
        """
        seen: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for sort, seconds in self._seconds.items():
            seen[sort] += seconds
            seen[sort[:2]] += seconds
        means = {sort: sum(seconds) / len(seconds) for sort, seconds in seen.items()}
        sorts = Counter(_sort(cell) for cell in self.waiting.values())
        guesses = {sort: means.get(sort, means.get(sort[:2])) for sort in sorts}
        if None in guesses.values():
            return None
        return sum(guess * sorts[sort] for sort, guess in guesses.items() if guess) / max(
            1, min(self.jobs, len(self.waiting))
        )

    def _say(self, text: str) -> None:
        self.console.print(escape_line(text), soft_wrap=True)


def _sort(cell: Cell) -> tuple[str, str, str]:
    return (cell.step, cell.protocol, "" if cell.step == "pretrain" else cell.task)
