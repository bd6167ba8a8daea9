"""Ctrl-C and SIGTERM: deferred during writes, and never lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

DEFERRED_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, which clusters and `timeout` send; it ends a command as Ctrl-C does."""

    exit_code = 128 + signal.SIGTERM


def heed_sigterm() -> None:
    """Raise `TerminatedError` on SIGTERM, unless it is ignored or handled already."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise TerminatedError


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM to the end of the block, so that no write is cut in half."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in DEFERRED_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def remember_interrupts() -> Iterator[Callable[[], None]]:
    """Remember Ctrl-C and SIGTERM in the block; yields a function that raises them again.

    Python drops a KeyboardInterrupt inside a `__del__` or a callback from C, and a run of hours would
    continue; calling the function between two cells stops it.
    """
    received: list[int] = []
    before = {number: handler for number in DEFERRED_SIGNALS if callable(handler := signal.getsignal(number))}
    if not before or threading.current_thread() is not threading.main_thread():
        yield lambda: None  # ignored, as in a shell's background job, or not the main thread
        return

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)
        before[signal.Signals(number)](number, frame)

    def check() -> None:
        if received:
            raise TerminatedError if received[0] == signal.SIGTERM else KeyboardInterrupt

    for number in before:
        signal.signal(number, remember)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
