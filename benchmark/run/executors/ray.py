"""`--executor ray`: actors on a Ray cluster; those that have answered compute one cell at a time."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from ....core.errors import StoppedError, UserError
from ...schema.plan import PlannedCell
from ...schema.records import Record, RecordStore
from ..executor import EXECUTORS, WATCH_SECONDS, Executor
from ..progress import RunProgress, describe_cell
from ..ray_cluster import RayWorker, connect_to_ray, last_line, shared_paths, worker_resources
from ..scheduler import RecordListing
from ..waiting_run import WaitingRun

IDLE_SECONDS = 600.0
"""How long no worker may compute or answer, e.g. while the cluster grows, before the run stops."""
MOST_DEATHS = 3
"""Workers that one cell may end; also starts that may fail in a row, besides one of each worker."""


class WorkerPool:
    """Workers of a run.

    Attributes:
        busy: future -> actor, its host, and its cell; None while it has not answered.
        idle: actors that have answered and compute nothing, and their hosts.
        given: keys of cells that a worker computes or has computed.
        deaths: key of a cell, or "" of starting -> workers that have died with it.
    """

    def __init__(self, ray: Any, workers: int, start: Callable[[], Any], answer: tuple[bytes, list[str]]):
        self.ray, self.workers, self._start, self._answer = ray, workers, start, answer
        self.busy: dict[Any, tuple[Any, str, PlannedCell | None]] = {}
        self.idle: list[tuple[Any, str]] = []
        self.given, self.deaths, self._changed = set[str](), Counter[str](), time.monotonic()
        self._add(workers)

    def _add(self, workers: int) -> None:
        for actor in [self._start() for _ in range(workers)]:
            self.busy[actor.answer.remote(*self._answer)] = actor, "", None

    def give(self, planned: PlannedCell) -> None:
        """Give a cell to an idle worker."""
        actor, host = self.idle.pop()
        self.given.add(planned.key)
        self.busy[actor.compute.remote(planned.key)] = actor, host, planned

    def lines(self) -> list[str]:
        """Describe what the workers compute."""
        return [f"{describe_cell(cell.cell)} on {host}" for _, host, cell in self.busy.values() if cell]

    def wait(self) -> None:
        """Wait a moment for answers and ended cells; start another worker for one that has died."""
        ended = self.ray.wait([*self.busy], timeout=WATCH_SECONDS)[0] if self.busy else []
        for future in ended:
            self._settle(future, *self.busy.pop(future))
        if ended or self.lines():
            self._changed = time.monotonic()
        elif time.monotonic() - self._changed > IDLE_SECONDS:
            raise _stopped(f"No worker has computed or answered for {IDLE_SECONDS:.0f} s (see `ray status`)")
        elif not self.busy:
            time.sleep(WATCH_SECONDS)

    def _settle(self, future: Any, actor: Any, host: str, planned: PlannedCell | None) -> None:
        key, errors = planned.key if planned else "", self.ray.exceptions
        try:
            self.idle.append((actor, self.ray.get(future) or host))
            self.deaths.pop(key, None)
        except errors.RayTaskError as error:
            known = isinstance(error.cause, (UserError, StoppedError))
            raise error.cause if known else _stopped(f"A worker failed ({last_line(error)})") from None
        except errors.RayError as error:  # the worker or its node has died, or cannot be reached
            same = [each for each in self.idle if host and each[1] == host]  # its node may have died
            self.idle = [each for each in self.idle if each not in same]
            for dead, _ in [(actor, host), *same]:
                with suppress(errors.RayError):
                    self.ray.kill(dead)
            self.given.discard(key)
            self.deaths[key] += 1
            if self.deaths[key] > MOST_DEATHS + self.workers * (not key):
                what = f"computing {describe_cell(planned.cell)}" if planned else "starting"
                raise _stopped(f"{self.deaths[key]} workers died {what} ({last_line(error)})") from None
            self._add(1 + len(same))


def _stopped(reason: str) -> StoppedError:
    return StoppedError(f"{reason}; run the same command again.")


def execute_on_ray(run: WaitingRun, on_record: Callable[[Record], object]) -> None:
    """Let workers compute the waiting cells on a cluster; arguments as for `local`."""
    request, progress = run.resolved.request, RunProgress(run.waiting, run.jobs, on_record=on_record)
    listing, files = RecordListing(RecordStore(run.folder).records), shared_paths(run.folder, run.rules.run)
    with connect_to_ray(request.ray_address) as ray, files as paths, progress.show():
        device, options = worker_resources(request, ray.cluster_resources().get("GPU", 0))
        start, args = ray.remote(RayWorker).options(**options).remote, run.worker_args(device)
        pool = WorkerPool(ray, run.workers, start, (msgspec.json.encode(args), paths))
        while progress.waiting:
            pool.wait()
            names = listing.changed_names() if pool.lines() else listing.names()
            run.note_records(progress, names)
            left = progress.waiting.keys() - pool.given
            for planned in run.waiting:
                if pool.idle and planned.key in left and progress.waiting.keys().isdisjoint(planned.needs):
                    pool.give(planned)
            progress.note_workers(pool.lines())


EXECUTORS.add("ray", Executor(execute_on_ray, ("workers", "ray_address", "per_gpu"), elsewhere=True))
