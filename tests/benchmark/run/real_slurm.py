"""A Slurm of two nodes on this machine, as root and without systemd: munged, slurmctld and two slurmd."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
NODES = ("n1", "n2")
NODE_CPUS = min(2, os.cpu_count() or 1)
"""Most jobs of one CPU that run on a node at the same time."""
START_SECONDS = 120.0
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=17817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool.%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17818 CPUs={cpus} State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17819 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def is_installed() -> bool:
    """Whether this process may start a Slurm, whose nodes have mounts of their own."""
    if os.geteuid() or not all(map(shutil.which, PROGRAMS)):
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


class Cluster:
    """A running Slurm.

    Attributes:
        settings: environment in which its commands find it.
        daemons: name of a node, "munged" or "slurmctld" -> its process.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.settings = place, {"SLURM_CONF": str(place / "slurm.conf")}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground."""
        with (self.place / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, env=os.environ | self.settings, stdout=log, stderr=log, start_new_session=True
            )

    def start_node(self, name: str, prepare: str = "true") -> None:
        """Start the daemon of a node, which has mounts of its own, after some lines of shell."""
        self.start(name, "unshare", "--mount", "sh", "-c", f"{prepare}; exec slurmd -D -N {name}")

    def call(self, *command: str) -> str:
        """Return the output of a command of Slurm."""
        return subprocess.run(
            command, env=os.environ | self.settings, check=True, capture_output=True, text=True
        ).stdout

    def node_states(self) -> dict[str, str]:
        """Return node -> state; empty while the controller does not answer."""
        command = ["sinfo", "--noheader", "--Node", "--format=%N %T"]
        ended = subprocess.run(command, env=os.environ | self.settings, capture_output=True, text=True)
        return dict(line.split()[:2] for line in ended.stdout.splitlines() if line.strip())

    def kill(self, name: str) -> None:
        """Kill a daemon as `kill -9` does."""
        self.daemons[name].send_signal(signal.SIGKILL)
        self.daemons[name].wait()


@contextmanager
def running_cluster(place: Path, **prepare: str) -> Iterator[Cluster]:
    """Start a Slurm for the block, in the folder `place`; `prepare` are lines of shell for each node."""
    cluster = Cluster(place)
    (place / "state").mkdir()
    (place / "munge.key").write_bytes(os.urandom(1024))
    (place / "munge.key").chmod(0o600)
    place.chmod(0o755)
    host = os.uname().nodename
    text = CONFIGURATION.format(place=place, host=host, cpus=NODE_CPUS)
    (place / "slurm.conf").write_text(text)
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid"}
    files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    options = [f"--{option}={place / name}" for option, name in files.items()]
    cluster.start("munged", "munged", "--foreground", "--force", *options)
    try:
        cluster.start("slurmctld", "slurmctld", "-D")
        for node in NODES:
            cluster.start_node(node, prepare.get(node, "true"))
        ends = time.monotonic() + START_SECONDS
        while (states := cluster.node_states()) != dict.fromkeys(NODES, "idle"):
            logs = {path.name: path.read_text()[-500:] for path in place.glob("*.log")}
            assert time.monotonic() < ends, f"the nodes do not start: {states}, {logs}"
            time.sleep(0.5)
        yield cluster
    finally:
        subprocess.run(["scancel", "--user=root"], env=os.environ | cluster.settings, check=False)
        for daemon in reversed(cluster.daemons.values()):
            daemon.terminate()
            daemon.wait()
            with suppress(ProcessLookupError):  # what it has mounted
                os.killpg(daemon.pid, signal.SIGKILL)
