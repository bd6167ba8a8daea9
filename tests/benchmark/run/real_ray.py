"""A Ray of a head and more nodes on this machine, with a token between them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

RAY = Path(sys.executable).parent / "ray"
MARK = "MEDNET_TEST_NODE"
"""Environment variable that names the node of a process."""


def is_installed() -> bool:
    """Whether this environment has Ray and its command."""
    return find_spec("ray") is not None and RAY.exists()


class RayCluster:
    """A running Ray; each node has CPUs for two workers of one thread.

    Attributes:
        address: of the head node.
        settings: environment of a process that connects to it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        # a short path: those of sockets have at most 107 bytes
        self._place = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
        self._environment, self._id = {**environment, **self.settings}, uuid.uuid4().hex

    def start(self, node: str, *options: str) -> None:
        """Start the processes of a node."""
        own = {MARK: f"{self._id}-{node}", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        command = [RAY, "start", *options, "--num-cpus=2", "--object-store-memory=80000000"]
        ended = subprocess.run(
            command, env={**self._environment, **own}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def start_head(self) -> None:
        """Start the first node."""
        port = self.address.rpartition(":")[2]
        self.start(
            "head", "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._place}"
        )

    def start_node(self, name: str) -> None:
        """Start another node."""
        self.start(name, f"--address={self.address}")

    def kill(self, node: str = "") -> None:
        """Kill all processes of a node, or of all, as if the machine had lost its power."""
        while pids := self.pids(node):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def pids(self, node: str = "") -> list[int]:
        """List the running processes of a node, or of all."""
        mark = f"{MARK}={self._id}-{node}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # ended meanwhile
                words = (place / "environ").read_bytes().split(b"\0")
                if any(word == mark or (not node and word.startswith(mark)) for word in words):
                    found.append(int(place.name))
        return found

    def workers(self) -> list[int]:
        """List the processes of actors."""
        names = {pid: Path(f"/proc/{pid}/cmdline") for pid in self.pids()}
        return [pid for pid, name in names.items() if b"RayWorker" in _content(name)]

    def close(self) -> None:
        """Kill everything and remove its files."""
        self.kill()
        shutil.rmtree(self._place, ignore_errors=True)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@contextmanager
def running_ray(environment: Mapping[str, str], *nodes: str) -> Iterator[RayCluster]:
    """Start a Ray for the block: the head, which computes too, and more nodes."""
    cluster = RayCluster(environment)
    try:
        cluster.start_head()
        for node in nodes:
            cluster.start_node(node)
        yield cluster
    finally:
        cluster.close()
