"""Progress of a pretraining: its line for the live display or the log."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from ...core.progress import NotebookBar, duration, live_line, log_progress, stderr_console
from .pretrain_result import CurvePoint

NAMED_SOURCES = 4
"""Number of sources whose losses are in a line."""


class PretrainDisplay:
    """Shows the progress, speed and losses of a pretraining."""

    def __init__(self, steps: int, console: Console | None = None) -> None:
        self.steps = steps
        self.console = console or stderr_console()
        self._first: tuple[int, float] | None = None
        self._line, self._share = "", 0.0
        self._live: Live | NotebookBar | None = None

    @contextmanager
    def show_live(self) -> Iterator["PretrainDisplay"]:
        """Show the live line during the block, if the console is a terminal."""
        with live_line(self.console, lambda: self._line, lambda: self._share) as self._live:
            yield self
        self._live = None

    def show(self, point: CurvePoint) -> None:
        """Update the live line, and log it at a validation."""
        self._line, self._share = self.format_line(point), point.step / max(1, self.steps)
        if self._live:
            self._live.refresh()
        if point.val_loss is not None:
            log_progress(self._line)

    def format_line(self, point: CurvePoint) -> str:
        """Format a reading as one line."""
        self._first = self._first or (point.step, point.seconds)
        steps, seconds = point.step - self._first[0], point.seconds - self._first[1]
        left = duration(seconds / steps * (self.steps - point.step)) if steps else ""
        parts = [
            f"[{point.step}/{self.steps}]{f' about {left} left' if left else ''}:",
            f"loss {point.train_loss:.3f} ({_format_values(point.losses)}),",
            f"{point.images_per_second:.0f} images/s, {point.data_wait:.1%} of the time waiting for data",
        ]
        if point.val_score is not None:
            parts.append(f"held-out AUC {point.val_score:.3f} ({_format_values(point.scores)})")
        return " ".join(parts)


def _format_values(values: dict[str, float | None]) -> str:
    named = [f"{name} {value:.3f}" for name, value in values.items() if value is not None]
    return ", ".join(named[:NAMED_SOURCES]) + (", ..." if len(named) > NAMED_SOURCES else "")
