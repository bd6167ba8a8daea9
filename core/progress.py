"""Progress displays: a live line, table or bar in a terminal, log records elsewhere."""

import html
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from .errors import one_line

_LOG = logging.getLogger(__name__)
BAR_WIDTH = 60
"""Characters of a bar in a terminal."""
FIRST_SECONDS, QUIET_SECONDS = 10.0, 30.0
"""Longest silence outside of a terminal: at the beginning, and later."""
TICK_SECONDS = 1.0
_live_displays = True
_live_console: Console | None = None
"""Console of the live line that is shown now."""


def set_live_displays(shown: bool) -> None:
    """Show live lines and bars in a terminal from now on, or treat it as a file."""
    global _live_displays
    _live_displays = shown


def print_above_live_line(text: str) -> bool:
    """Print text above the live line; False where there is none, and nothing is printed."""
    if _live_console is None:
        return False
    _live_console.print(escape(text), soft_wrap=True, emoji=False)
    return True


def duration(seconds: float) -> str:
    """Format seconds: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def escape_line(text: str) -> str:
    """Return text for a console of rich: clean, on one line, without markup."""
    return escape(one_line(text))


class NotebookBar:
    """A progress bar with a line of text below a notebook's cell; `refresh` draws it anew."""

    def __init__(self, line: Callable[[], str], share: Callable[[], float]) -> None:
        self._line, self._share = line, share
        self._handle = sys.modules["IPython"].display.display(self, display_id=True)

    def refresh(self) -> None:
        """Draw the present state."""
        if self._handle:
            self._handle.update(self)

    def _repr_html_(self) -> str:
        bar = f"<progress value='{self._share():.4f}' max='1'></progress>"
        return f"<div>{bar} <code>{html.escape(one_line(self._line()))}</code></div>"

    def __repr__(self) -> str:
        return one_line(self._line())


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class ProgressReporter:
    """The progress of this process: lines of what is under way, outermost first.

    Attributes:
        clock: returns seconds; tests pass their own.
        say: takes a line where there is no terminal; a worker process sends it to its parent.
        wait: seconds of silence after which `tick` says the line; `quiet` once it was said.
        live: the display in a terminal or notebook that shows the lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.say: Callable[[str], object] = _LOG.info
        self.wait, self.quiet = FIRST_SECONDS, QUIET_SECONDS
        self.live: Live | NotebookBar | None = None
        self._lines: list[Callable[[], str]] = []
        self._spoke = 0.0

    @contextmanager
    def add(self, line: Callable[[], str]) -> Iterator[None]:
        """Add a line for the block."""
        if not self._lines:
            self._spoke, self.wait = self.clock(), FIRST_SECONDS
        self._lines.append(line)
        try:
            yield
        finally:
            self._lines.remove(line)

    @property
    def is_open(self) -> bool:
        """Whether anything is shown."""
        return bool(self._lines)

    def line(self, first: int = 0) -> str:
        """Return all lines as one, from number `first` on."""
        return ": ".join(filter(None, (line() for line in tuple(self._lines)[first:])))

    def note_output(self) -> None:
        """Start the silence anew, since something was said."""
        self._spoke, self.wait = self.clock(), self.quiet

    def tick(self) -> None:
        """Say the line if it was silent for long."""
        if self._lines and self.clock() - self._spoke >= self.wait and (text := self.line()):
            self.note_output()
            self.say(text)

    @contextmanager
    def keep_ticking(self) -> Iterator[None]:
        """Call `tick` every second from a thread, since a long computation cannot."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(TICK_SECONDS):
                self.tick()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


REPORTER = ProgressReporter()
"""The one of this process."""


def log_progress(text: str, level: int = logging.INFO) -> None:
    """Log a line about the progress."""
    _LOG.log(level, text)
    REPORTER.note_output()


class _Advance(Protocol):
    def __call__(self, count: int = 1, note: str = "") -> None: ...


class TrackedWork:
    """Work with a known number of units, its rate and the time left.

    Attributes:
        what: names it.
        total: number of units.
        unit: plural noun.
        done: finished units, of which some may be from an earlier run.
        note: shown at the end.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str = "",
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total, self.unit, self.done, self.note = what, total, unit, done, ""
        self._clock, self._began, self._first = clock, clock(), done

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count finished units."""
        self.done += count
        self.note = note

    def share(self) -> float:
        """Return the finished part, 0 to 1."""
        return min(1.0, self.done / max(1, self.total))

    def line(self) -> str:
        """Return the state in one line."""
        new, spent = self.done - self._first, self._clock() - self._began
        parts = [f"{self.what} {self.done:,}/{self.total:,} {self.unit}".rstrip()]
        if new and spent > 0:
            parts += [
                f"{new / spent:.3g}/s",
                f"about {duration(spent / new * (self.total - self.done))} left",
            ]
        return ", ".join([*parts, *([self.note] if self.note else [])])


@contextmanager
def track(what: str, total: int, unit: str = "") -> Iterator[_Advance]:
    """Add the progress of some work to the display that is open, if one is; yields (count) -> None."""
    if not REPORTER.is_open:
        yield lambda count=1, note="": None
        return
    work = TrackedWork(what, total, unit, clock=REPORTER.clock)
    with REPORTER.add(work.line):
        yield work.advance


_Item = TypeVar("_Item")


def track_each(what: str, items: Sequence[_Item]) -> Iterator[_Item]:
    """Iterate over items, and add which one is worked on to the display that is open."""
    for number, item in enumerate(items, start=1):
        with say_meanwhile(f"{what} {number} of {len(items)}" if len(items) > 1 else ""):
            yield item


@contextmanager
def say_meanwhile(text: str) -> Iterator[None]:
    """Add a text to the display that is open."""
    with REPORTER.add(lambda: text) if REPORTER.is_open else ExitStack():
        yield


@contextmanager
def live_line(
    console: Console,
    line: Callable[[], str],
    share: Callable[[], float],
    table: Callable[[], RenderableType] | None = None,
) -> Iterator["Live | NotebookBar | None"]:
    """Show a bar, and the text that `line` returns; yields None outside of a terminal or notebook.

    A terminal draws it four times a second, a notebook on `refresh`; `share` returns the finished part, and
    `table` what a terminal shows in place of the text.
    Elsewhere the text is logged after 10 seconds, and after every 30 in which nothing is said. A display
    inside another adds its text to it.
    """
    if REPORTER.is_open:
        with REPORTER.add(line):
            yield REPORTER.live
        return
    with REPORTER.add(line), _display(console, share, table) as REPORTER.live:
        try:
            yield REPORTER.live
        finally:
            REPORTER.live = None


@contextmanager
def _display(
    console: Console, share: Callable[[], float], table: Callable[[], RenderableType] | None
) -> Iterator["Live | NotebookBar | None"]:
    """Show the lines of the reporter as it suits the console."""
    if _live_displays and _in_notebook():
        bar = NotebookBar(REPORTER.line, share)
        yield bar
        bar.refresh()
        return
    if not console.is_terminal:
        with REPORTER.keep_ticking():
            yield None
        return

    def draw() -> Group:
        width = min(BAR_WIDTH, console.width)
        done = round(width * share())
        shown = table() if table else escape_line(REPORTER.line())
        return Group(shown, Text("#" * done + "-" * (width - done)))

    global _live_console
    with Live(get_renderable=draw, console=console, refresh_per_second=4) as live:
        _live_console = console
        try:
            yield live
        finally:
            _live_console = None


def stderr_console() -> Console:
    """Return a console on standard error, for live displays; standard output stays parseable.

    FORCE_COLOR makes no terminal of a file: codes that move the cursor would be written into it.
    """
    live = _live_displays and sys.stderr is not None and sys.stderr.isatty()
    return Console(file=sys.stderr, highlight=False, force_terminal=None if live else False)


@contextmanager
def show_phase(what: str) -> Iterator[None]:
    """Show that a part of a command is under way, with what is tracked inside it; a decorator, too."""
    with live_line(stderr_console(), lambda: what, lambda: 0.0):
        yield


@contextmanager
def show_downloads() -> Iterator[Callable[[str, int, int], None]]:
    """Show downloads, with log records of every tenth outside of a terminal; yields (name, done, total)."""
    console = stderr_console()
    tenths: dict[str, int] = {}
    with ExitStack() as shown:
        files: dict[str, TrackedWork] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in files:
                shown.close()  # of the last file
                files[name] = TrackedWork(name, total // 1000, "kB", done // 1000, REPORTER.clock)
                shown.enter_context(live_line(console, files[name].line, files[name].share))
            files[name].done = done // 1000
            if not console.is_terminal and total and (tenth := 10 * done // total) != tenths.get(name):
                tenths[name] = tenth
                log_progress(f"{name}: {10 * tenth} % of {total / 1e6:.1f} MB")

        yield show


@contextmanager
def show_count(what: str, total: int, done: int = 0) -> Iterator[Callable[[str], None]]:
    """Show finished steps of `total` and the time left; yields (note) -> None, called per step.

    Outside of a terminal the first and the last step are logged, too.
    """
    console, work = stderr_console(), TrackedWork(what, total, done=done, clock=REPORTER.clock)

    def step(note: str) -> None:
        work.advance(note=note)
        if not console.is_terminal and work.done in (done + 1, total):
            log_progress(work.line())

    with live_line(console, work.line, work.share):
        yield step
