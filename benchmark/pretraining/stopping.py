"""Requests to stop a training: by signals of a cluster, by Ctrl-C, or by a time limit."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 20
"""Seconds that a decoding process survives a signal to its group."""


@contextmanager
def stop_on_signal(minutes: float = 0) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a stop was requested during the block.

    The first Ctrl-C is a request; the second one interrupts at once. `minutes` is a time limit; 0 is none.
    """
    received: list[int] = []
    ends = time.monotonic() + 60 * minutes if minutes else float("inf")

    def handle_signal(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    def should_stop() -> bool:
        return bool(received) or time.monotonic() > ends

    if threading.current_thread() is not threading.main_thread():  # only the main one can set handlers
        yield should_stop
        return
    before = {number: signal.signal(number, handle_signal) for number in STOP_SIGNALS}
    try:
        yield should_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(worker: int) -> None:
    """Keep a decoding process alive after a signal to its group, until its parent stops it.

    Clusters and terminals signal all processes at once; the parent stops this one afterwards.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE_SECONDS) and None)
