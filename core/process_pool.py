"""Processes that share work of any length: few pieces in flight, and none that outlives its parent."""

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
    """Give `work(piece)` for every piece, in the order in which they get done.

    Args:
        work: a function that can be pickled.
        pieces: taken from the iterator only as processes get free.
        jobs: processes; 1 works in this one.

    Raises:
        StoppedError: a process died, most likely for want of memory.
    """
    if jobs == 1:
        yield from map(work, pieces)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy whatever threads hold just now
    pool = ProcessPoolExecutor(jobs, context, _begin)
    try:
        yield from _as_they_end(pool, work, iter(pieces), 2 * jobs)
    except BrokenProcessPool as error:
        raise StoppedError(
            "A process died, most likely for want of memory: run the same command again with fewer --jobs; "
            "what is finished is kept."
        ) from error
    except BaseException:
        for child in multiprocessing.active_children():  # or Ctrl-C would wait for minutes of work
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _as_they_end(
    pool: ProcessPoolExecutor, work: Callable[[_T], R], pieces: Iterator[_T], ahead: int
) -> Iterator[R]:
    running: set[Future[R]] = {pool.submit(work, piece) for piece in islice(pieces, ahead)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        running |= {pool.submit(work, piece) for piece in islice(pieces, len(done))}
        for future in done:
            yield future.result()


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when it ends: a kill -9 tells nobody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
