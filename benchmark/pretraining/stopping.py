"""How a training is asked to stop: by the cluster, by Ctrl-C, or by a limit of time."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 20
"""How long a process that decodes images outlives a signal to its group."""


@contextmanager
def stop_on_signal(minutes: float = 0) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether the training was asked to stop while the block lasts.

    Ctrl-C asks too; the second one interrupts at once.

    Args:
        minutes: after which it counts as asked; 0 is never.
    """
    came: list[int] = []
    ends = time.monotonic() + 60 * minutes if minutes else float("inf")

    def note(number: int, frame: FrameType | None) -> None:
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    def asked() -> bool:
        return bool(came) or time.monotonic() > ends

    if threading.current_thread() is not threading.main_thread():  # the main one's business
        yield asked
        return
    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(worker: int) -> None:
    """Let a process that decodes images outlive the signals of its group, until its parent has kept its work.

    Clusters and terminals signal all processes at once; the parent ends this one in order.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE_SECONDS) and None)
