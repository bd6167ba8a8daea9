"""What a person sees of a pretraining: a live line in a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from ...core.progress import duration, escape_line, live_line, stderr_console
from .pretrain_result import CurvePoint

QUIET_SECONDS = 30.0
"""Between two plain lines that tell no validation."""
NAMED_SOURCES = 4
"""Sources whose losses stand in a line."""


class PretrainDisplay:
    """Says how far a pretraining is, how fast, and how well.

    Args:
        steps: of the whole training.
        console: where to write; see `stderr_console`.
    """

    def __init__(self, steps: int, console: Console | None = None) -> None:
        self.steps = steps
        self.console = console or stderr_console()
        self._first: tuple[int, float] | None = None
        self._said, self._line = 0.0, ""
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator["PretrainDisplay"]:
        """Show the live line for the block, where the console is a terminal."""
        with live_line(self.console, lambda: self._line) as self._live:
            yield self
        self._live = None

    def note(self, point: CurvePoint) -> None:
        """Tell what a reading found."""
        self._line = self.line(point)
        now = time.monotonic()
        if point.val_loss is not None or (self._live is None and now - self._said > QUIET_SECONDS):
            self.console.print(escape_line(self._line), soft_wrap=True)
            self._said = now

    def line(self, point: CurvePoint) -> str:
        """Return a reading in one line."""
        self._first = self._first or (point.step, point.seconds)
        steps, seconds = point.step - self._first[0], point.seconds - self._first[1]
        left = duration(seconds / steps * (self.steps - point.step)) if steps else ""
        parts = [
            f"[{point.step}/{self.steps}]{f' about {left} left' if left else ''}:",
            f"loss {point.train_loss:.3f} ({_listed(point.losses)}),",
            f"{point.images_per_second:.0f} images/s, {point.data_wait:.1%} of the time waiting for data",
        ]
        if point.val_score is not None:
            parts.append(f"held-out AUC {point.val_score:.3f} ({_listed(point.scores)})")
        return " ".join(parts)


def _listed(values: dict[str, float | None]) -> str:
    named = [f"{name} {value:.3f}" for name, value in values.items() if value is not None]
    return ", ".join(named[:NAMED_SOURCES]) + (", ..." if len(named) > NAMED_SOURCES else "")
