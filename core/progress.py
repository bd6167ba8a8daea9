"""Progress displays: a live line or bar in a terminal, log records elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from .errors import one_line

_LOG = logging.getLogger(__name__)
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


@contextmanager
def live_line(console: Console, line: Callable[[], str]) -> Iterator[Live | None]:
    """Show the text that `line` returns, four times a second; yields None outside of a terminal."""
    if not console.is_terminal:
        yield None
        return
    global _live_console
    with Live(get_renderable=lambda: escape_line(line()), console=console, refresh_per_second=4) as live:
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
