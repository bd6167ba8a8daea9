"""Progress displays: a live line or bar in a terminal, log records elsewhere."""

import html
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from .errors import one_line

_LOG = logging.getLogger(__name__)
BAR_WIDTH = 60
"""Characters of a bar in a terminal."""
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


@contextmanager
def live_line(
    console: Console, line: Callable[[], str], share: Callable[[], float]
) -> Iterator["Live | NotebookBar | None"]:
    """Show a bar, and the text that `line` returns; yields None outside of a terminal or notebook.

    A terminal draws it four times a second, a notebook on `refresh`; `share` returns the finished part.
    """
    if _live_displays and _in_notebook():
        bar = NotebookBar(line, share)
        yield bar
        bar.refresh()
        return
    if not console.is_terminal:
        yield None
        return

    def draw() -> Group:
        done = round(BAR_WIDTH * share())
        return Group(escape_line(line()), Text("#" * done + "-" * (BAR_WIDTH - done)))

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
def show_downloads() -> Iterator[Callable[[str, int, int], None]]:
    """Show downloads by a bar, or log them outside a terminal; yields (name, done, total) -> None."""
    from rich import progress as rich  # slow to import, like below

    console = stderr_console()
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.DownloadColumn())
    columns += (rich.TransferSpeedColumn(), rich.TimeRemainingColumn())
    bars = rich.Progress(*columns, console=console, transient=True)
    known: dict[str, int] = {}
    tenths: dict[str, int] = {}

    def show(name: str, done: int, total: int) -> None:
        if console.is_terminal:
            if name not in known:
                bars.start()
                known[name] = bars.add_task(escape_line(name))
            bars.update(known[name], completed=done, total=total or None)  # type: ignore[arg-type]
        elif total and (tenth := 10 * done // total) != tenths.get(name):
            tenths[name] = tenth
            _LOG.info(f"{name}: {10 * tenth} % of {total / 1e6:.1f} MB")

    try:
        yield show
    finally:
        if known:
            bars.stop()


@contextmanager
def show_count(what: str, total: int, done: int = 0) -> Iterator[Callable[[str], None]]:
    """Show finished steps of `total` and the time left; yields (note) -> None, called per step.

    A bar in a terminal; elsewhere log records of the first and last step, and every 30 s.
    """
    from rich import progress as rich

    console = stderr_console()
    columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TextColumn(escape_line(what)))
    columns += (rich.TimeRemainingColumn(), rich.TextColumn("{task.description}"))
    bars = rich.Progress(*columns, console=console, transient=True)
    bar = bars.add_task("", total=total, completed=done)
    began = last = time.perf_counter()
    at = done

    def step(note: str) -> None:
        nonlocal at, last
        at += 1
        bars.update(bar, advance=1, description=escape_line(note))
        now = time.perf_counter()
        if not console.is_terminal and (at == done + 1 or at == total or now - last > 30):
            last = now
            left = (now - began) / (at - done) * (total - at)
            _LOG.info(f"[{at}/{total}] {what}: {note}, about {duration(left)} left")

    if console.is_terminal:
        with bars:
            yield step
    else:
        yield step
