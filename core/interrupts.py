"""Ctrl-C and SIGTERM that neither cut a write in half nor get lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

DEFERRED_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, as a cluster or `timeout` sends it: it ends a command as Ctrl-C does."""

    exit_code = 128 + signal.SIGTERM


def heed_sigterm() -> None:
    """Raise `TerminatedError` on SIGTERM from now on, unless it is ignored or handled already."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise TerminatedError


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until the block has ended, so that a write is never cut in half."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: held.append(number))
        for number in DEFERRED_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


@contextmanager
def kept_interrupt() -> Iterator[Callable[[], None]]:
    """Remember Ctrl-C and SIGTERM for the block: yields a function that raises again what came.

    Python drops a KeyboardInterrupt that is raised inside a `__del__` or a callback from C, and a run of
    hours would go on. Whoever calls the function between two cells stops there at the latest.
    """
    came: list[int] = []
    before = {number: handler for number in DEFERRED_SIGNALS if callable(handler := signal.getsignal(number))}
    if not before or threading.current_thread() is not threading.main_thread():
        yield lambda: None  # ignored, as in a shell's background job, or another thread's business
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        came.append(number)
        before[signal.Signals(number)](number, frame)

    def check() -> None:
        if came:
            raise TerminatedError if came[0] == signal.SIGTERM else KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupted)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
