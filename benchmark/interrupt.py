"""Ctrl-C that neither cuts a write in half nor gets lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Hold back Ctrl-C until the block has ended, so that a write is never cut in half."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held and callable(before):
            before(*held[0])


@contextmanager
def kept_interrupt() -> Iterator[Callable[[], None]]:
    """Remember Ctrl-C for the block: yields a function that raises it again if it came.

    Python drops a KeyboardInterrupt that is raised inside a `__del__` or a callback from C, and a run of
    hours would go on. Whoever calls the function between two cells stops there at the latest.
    """
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield lambda: None  # ignored, as in a shell's background job, or another thread's business
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        came.append(number)
        before(number, frame)

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
