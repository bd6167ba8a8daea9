"""A map over processes with few items in flight; no process outlives its parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from .errors import StoppedError

_T = TypeVar("_T")
R = TypeVar("R")


def map_in_processes(work: Callable[[_T], R], pieces: Iterable[_T], jobs: int) -> Iterator[R]:
    """Yield `work(piece)` for every piece, in the order of completion.

    Args:
        work: a function that can be pickled.
        pieces: taken from the iterator as processes get free.
        jobs: processes; 1 works in this one.

    Raises:
        StoppedError: a process died, most likely out of memory.
    """
    if jobs == 1:
        yield from map(work, pieces)
        return
    context = multiprocessing.get_context("spawn")  # a fork copies locks that other threads hold
    pool = ProcessPoolExecutor(jobs, context, _initialize_worker)
    try:
        yield from _yield_completed(pool, work, iter(pieces), 2 * jobs)
    except BrokenProcessPool as error:
        raise StoppedError(
            "A process died, most likely out of memory: run the same command again with fewer --jobs; "
            "what is finished is kept."
        ) from error
    except BaseException:
        for child in multiprocessing.active_children():  # or Ctrl-C waits for minutes of work
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _yield_completed(
    pool: ProcessPoolExecutor, work: Callable[[_T], R], pieces: Iterator[_T], ahead: int
) -> Iterator[R]:
    running: set[Future[R]] = {pool.submit(work, piece) for piece in islice(pieces, ahead)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        running |= {pool.submit(work, piece) for piece in islice(pieces, len(done))}
        for future in done:
            yield future.result()


def _initialize_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, also after a kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
