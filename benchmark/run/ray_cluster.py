"""Connection to an existing Ray cluster, and the worker that runs on its nodes."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch

from ...core.errors import StoppedError, UserError, one_line
from ...core.files import write_bytes
from ...core.interrupts import remember_interrupts
from ...core.leases import lease_seconds
from ...core.optional import import_extra
from ..schema.records import RecordStore
from ..schema.request import RunConfig
from .executor import resolve_worker
from .scheduler import POLL_SECONDS, CellWatcher, compute_cells
from .waiting_run import WorkerArgs

CONNECT_SECONDS = 5.0
RAY_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_NUM_REDIS_GET_RETRIES": "3"}
"""Of Ray in this process: no statistics to its makers; seconds until it gives up connecting."""
PASSED_ON = ("MEDNET_BENCH_", "GOMP_", "KMP_")
"""Beginnings of the environment variables that workers get."""


@contextmanager
def connect_to_ray(address: str) -> Iterator[Any]:
    """Connect to a cluster for the block; yields the module `ray`.

    Args:
        address: HOST:PORT of the head node; "" for RAY_ADDRESS or the cluster of this machine.

    Raises:
        UserError: ray is not installed, no cluster answers, or it refuses this process.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in RAY_SETTINGS.items()})
    ray = import_extra("ray", "ray", "--executor ray")
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    handler = signal.getsignal(signal.SIGTERM)
    check_address(address)
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray's are of many kinds
        if "any running Ray instance" in str(error):
            raise _no_cluster("on this machine") from error
        raise UserError(
            f"The Ray cluster at {address} refused this process ({one_line(str(error)).strip()[:300]}): run "
            "on one of its nodes, with its versions of Ray and Python and its token (RAY_AUTH_MODE=token)."
        ) from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # with that of Ray the exit code would be 15
        with remember_interrupts() as check:
            try:
                yield ray
            finally:
                check()  # Ray raises a plain KeyboardInterrupt for SIGTERM too
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Raise `UserError` where nothing listens at an address; Ray would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_cluster(f"at '{address}'") from error


def _no_cluster(where: str) -> UserError:
    return UserError(
        f"No Ray cluster answers {where}: start one (`ray start --head`), or pass the HOST:PORT of its head "
        "node as --ray-address."
    )


def last_line(error: Exception) -> str:
    """Return the last line of an error of Ray, which names the cause."""
    return one_line(str(error).strip().rpartition("\n")[2]).strip().rstrip(".")


def worker_resources(config: RunConfig, gpus: float) -> tuple[str, dict[str, Any]]:
    """Return the torch device of each worker, and the options of its actor.

    Args:
        config: the options of the run; `per_gpu` workers share a GPU.
        gpus: number of GPUs in the cluster.

    Raises:
        UserError: the cluster has no GPU that was asked for, or a GPU is named by its number.
    """
    device = ("cuda" if gpus else "cpu") if config.device == "auto" else config.device
    if device not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: Ray chooses the GPU of a worker: pass auto, cpu or cuda.")
    if not gpus and (device == "cuda" or config.per_gpu):
        raise UserError("--device cuda and --per-gpu: the Ray cluster has no GPU: pass --device cpu.")
    if device == "cpu" and config.per_gpu:
        raise UserError(f"--per-gpu {config.per_gpu} and --device cpu exclude each other: pass one.")
    threads = torch.get_num_threads()  # as in this process: the number changes last digits
    settings = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return device, {
        "num_cpus": threads,
        "num_gpus": 1 / max(1, config.per_gpu) if device == "cuda" else 0,
        "scheduling_strategy": "SPREAD",
        "runtime_env": {"env_vars": {**settings, "OMP_NUM_THREADS": str(threads)}},
    }


@contextmanager
def shared_paths(folder: Path, run: str) -> Iterator[list[str]]:
    """Write a new file into the run directory, which workers must share; yields the working folder and it."""
    file = folder.absolute() / "cluster" / f"{run}.ray"
    try:
        write_bytes(file, b"Workers on Ray look for this file.\n")
        yield [str(Path.cwd()), str(file)]
    finally:
        file.unlink(missing_ok=True)


class RayWorker:
    """Actor that computes the cells it is given."""

    def answer(self, args: bytes, paths: list[str]) -> str:
        """Resolve the run and return the host; `UserError` where one of the paths is missing on it."""
        self.host = socket.gethostname()
        for path in paths:
            if not Path(path).exists():
                raise UserError(
                    f"The Ray node {self.host} does not see {path}: share the working folder and the run "
                    "directory under the same paths."
                )
        os.chdir(paths[0])
        decoded = msgspec.json.decode(args, type=WorkerArgs)
        self.runner, cells = resolve_worker(decoded)
        self.rules, self.cells = decoded.rules, {planned.key: planned for planned in cells}
        return self.host

    def compute(self, key: str) -> None:
        """Compute a cell, unless another process has."""
        planned = self.cells[key]
        store = RecordStore(self.runner.resolved.request.folder)
        ends = time.monotonic() + lease_seconds()
        while not all(store.path(need).exists() for need in planned.needs):  # written by another node
            if time.monotonic() > ends:
                raise StoppedError(
                    f"The Ray node {self.host} does not see records of others in {store.folder}: shorten the "
                    "time for which it remembers folders (NFS: acdirmax), and run the same command again."
                )
            time.sleep(POLL_SECONDS)
        compute_cells(self.runner, [planned], self.rules, CellWatcher())
