"""Real processes of the command line, in an environment independent of the machine's."""

import functools
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.core.leases import read_lease

PROGRAM = Path(sys.executable).parent / "mednet-bench"
COMMAND = [sys.executable, "-c", "from mednet_bench.cli.main import main; main()"]
COMMAND = [str(PROGRAM)] if PROGRAM.exists() else COMMAND

SMALL = ["--size", "28", "--input-size", "32", "--inits", "scratch", "--tasks", "phantom-organ"]
"""Network and images so small that cells are cheap; later options override these."""
QUICK = ["run", *SMALL, "--protocols", "quick", "--no-report"]
"""Cells of the tests' protocol, see `quick.py`."""
FINISHED = [*SMALL, "--inits", "scratch,imagenet", "--protocols", "linear,knn", "--no-report"]
FINISHED += ["--fractions", "0.2,1.0", "--seeds", "3"]
"""Eight cells of real protocols, as in the fixture `finished`."""

Ended = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class CommandLine:
    """Starts `mednet-bench` in its own folder and process.

    Attributes:
        fresh: start a new interpreter; otherwise fork one that has imported torch, since imports would take
            half of a test's time. Workers of `--jobs` are always fresh.
    """

    folder: Path
    environment: Mapping[str, str]
    fresh: bool = False

    def __call__(
        self, *arguments: object, prepare: Callable[[], object] | None = None, **settings: str
    ) -> Ended:
        """Run a command to its end; arguments as in `start`."""
        with self.start(*arguments, prepare=prepare, **settings) as process:
            out, err = process.communicate()
            return Ended(arguments, process.returncode, out, err)

    def succeed(
        self, *arguments: object, prepare: Callable[[], object] | None = None, **settings: str
    ) -> Ended:
        """Run a command that must exit with 0."""
        ended = self(*arguments, prepare=prepare, **settings)
        assert ended.returncode == 0, ended.stderr
        return ended

    def start(
        self, *arguments: object, prepare: Callable[[], object] | None = None, **settings: str
    ) -> "Running":
        """Start a command in its own process group.

        Args:
            arguments: of the command line.
            prepare: called in the process before the program, e.g. to set a limit.
            settings: environment variables.
        """
        orders = Orders([*map(str, arguments)], str(self.folder), {**self.environment, **settings}, prepare)
        return Running(orders, self.fresh)


@dataclass(frozen=True)
class Orders:
    """Arguments of a process, as sent to a forked one."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    prepare: Callable[[], object] | None

    def begin(self) -> None:
        """Prepare the process before the program starts in it."""
        os.setsid()
        # a shell's background job ignores Ctrl-C, and its children inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.prepare:
            self.prepare()


class Running:
    """Process of the command line; killed if it still runs when the test leaves the block."""

    def __init__(self, orders: Orders, fresh: bool) -> None:
        self._streams = [tempfile.NamedTemporaryFile() for _ in range(2)]  # noqa: SIM115 - closed by __exit__
        out, err = (file.name for file in self._streams)
        if fresh:
            self._process = subprocess.Popen(
                [*COMMAND, *orders.arguments],
                cwd=orders.folder,
                env=orders.environment,
                stdin=subprocess.DEVNULL,
                stdout=self._streams[0],
                stderr=self._streams[1],
                preexec_fn=orders.begin,
            )
        else:
            self._process = fork_context().Process(target=run_forked, args=(orders, out, err))
            self._process.start()
        self.pid = int(self._process.pid or 0)

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the number of the signal that killed it, or None while running."""
        return self._process.poll() if isinstance(self._process, subprocess.Popen) else self._process.exitcode

    def communicate(self) -> tuple[str, str]:
        """Wait for its end; return its standard output and standard error."""
        wait_until(lambda: self.returncode is not None)
        out, err = (Path(file.name).read_text() for file in self._streams)
        return out, err

    def kill(self) -> None:
        """Kill it as `kill -9` does, and wait for its end."""
        self._process.kill()
        self.communicate()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *raised: object) -> None:
        if self.returncode is None:
            self.kill()
        for file in self._streams:
            file.close()


@functools.cache
def fork_context() -> multiprocessing.context.ForkServerContext:
    """Start the process to fork from: one thread, all modules imported."""
    context = multiprocessing.get_context("forkserver")
    own = (
        "cli.main",
        "benchmark.run.executors.local",
        "benchmark.run.preflight",
        "baselines.weights.load_state_dict",
    )
    learn = ("sklearn.linear_model", "sklearn.metrics", "sklearn.neighbors", "sklearn.preprocessing")
    context.set_forkserver_preload(["torch", "timm", *learn, *(f"mednet_bench.{name}" for name in own)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # read by torch when it is imported
        multiprocessing.forkserver.ensure_running()
    return context


def run_forked(orders: Orders, out: str, err: str) -> None:
    """Run the command line in a forked process as in a fresh one."""
    from mednet_bench.cli.main import main

    orders.begin()
    for number, name in enumerate((out, err), start=1):
        os.dup2(os.open(name, os.O_WRONLY), number)
    os.chdir(orders.folder)
    os.environ.clear()
    os.environ.update(orders.environment)
    sys.path[:0] = orders.environment["PYTHONPATH"].split(os.pathsep)
    sys.argv = ["mednet-bench", *orders.arguments]
    main()


def claims(folder: Path) -> list[Path]:
    """List the leases of a run directory whose processes live; one killed after its record leaves its own."""
    found = ((path, read_lease(path)) for path in (folder / "locks").iterdir())
    return [path for path, lease in found if lease and not lease[0].has_ended]


def tally(path: Path) -> list[str]:
    """Read the lines of `quick.py`, one per computed cell: "PID STEP INIT FRACTION SEED"."""
    return path.read_text().splitlines() if path.exists() else []


def crowd(path: Path) -> list[int]:
    """Return the process ids of a tally, in order of appearance."""
    return list(dict.fromkeys(int(line.split()[0]) for line in tally(path)))


def cells_in(lines: Sequence[str]) -> list[str]:
    """Return the cells of a tally, without process ids."""
    return [line.partition(" ")[2] for line in lines]


def wait_until(true: Callable[[], object], process: "Running | None" = None) -> None:
    """Wait until a condition is true; fail if the process ends before."""
    while not true():
        assert process is None or process.returncode is None, process and process.communicate()
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def living(group: int) -> list[str]:
    """List the running processes of a group; zombies do not count."""
    if not Path("/proc/self/stat").exists():
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return []
        return ["one"] * 99  # this system does not say how many
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            # pid (name) state parent group; the name may hold anything
            state, _, its_group = (place / "stat").read_text().rpartition(")")[2].split()[:3]
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(f"{place.name} {state} {words}")
    return found


def records_in(folder: Path) -> list[Path]:
    """List the record files of a run directory."""
    return sorted((folder / "records").glob("[!.]*.json"))


def states(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the modification time and content of each record and predictions file."""
    files = [*records_in(folder), *sorted((folder / "predictions").glob("[!.]*.npz"))]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def planned_records(folder: Path) -> list[Record]:
    """Return the records of a run directory's plan: one readable record per cell, and no other."""
    plan, store = read_plan(folder), RecordStore(folder)
    assert plan is not None
    found = [store.read(planned.key) for planned in plan.cells]
    assert all(found), f"{found.count(None)} of {len(found)} cells have no record"
    assert {path.stem for path in records_in(folder)} == {planned.key for planned in plan.cells}
    assert not store.unreadable_files()
    return [record for record in found if record]


def sentence(ended: Ended) -> str:
    """Return the only error line of a process, without its prefix."""
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("mednet-bench: ")]
    assert len(errors) == 1, ended.stderr
    assert ended.stderr.rstrip().endswith(errors[0]), "something follows the sentence"
    return errors[0].removeprefix("mednet-bench: ")


def only_sentence(ended: Ended) -> str:
    """Return the only error line of a process that prints nothing else."""
    line = sentence(ended)
    assert not ended.stdout
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert re.search(r"[.?!]$|[.?!]\)$", line) or len(line) > 20
    return line
