"""Real processes of the command line, in an environment that owes nothing to the machine's."""

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

from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import Record, RecordStore

PROGRAM = Path(sys.executable).parent / "mednet-bench"
COMMAND = (
    [str(PROGRAM)]
    if PROGRAM.exists()
    else [sys.executable, "-c", "from mednet_bench.cli.main import main; main()"]
)

SMALL = ["--size", "28", "--input-size", "32", "--inits", "scratch", "--tasks", "phantom-organ"]
"""A network and images so small that a cell costs next to nothing; later options go over these."""
QUICK = ["run", *SMALL, "--protocols", "quick", "--no-report"]
"""Cells of the test's own protocol: see `quick.py`."""
FINISHED = [*SMALL, "--inits", "scratch,imagenet", "--protocols", "linear,knn", "--no-report"]
FINISHED += ["--fractions", "0.2,1.0", "--seeds", "3"]
"""Eight cells of real protocols, which the fixture `finished` has computed."""

Ended = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class CommandLine:
    """Starts `mednet-bench` in a folder of its own, always as a process of its own.

    Attributes:
        folder: the working directory.
        environment: of every process.
        fresh: start a new interpreter; otherwise fork one that has imported torch already, since half of a
            test's time would be imports. Workers of `--jobs` are always fresh.
    """

    folder: Path
    environment: Mapping[str, str]
    fresh: bool = False

    def __call__(
        self, *arguments: object, prepare: Callable[[], object] | None = None, **settings: str
    ) -> Ended:
        """Run a command to its end; arguments as those of `start`."""
        with self.start(*arguments, prepare=prepare, **settings) as process:
            out, err = process.communicate()
            return Ended(arguments, process.returncode, out, err)

    def start(
        self, *arguments: object, prepare: Callable[[], object] | None = None, **settings: str
    ) -> "Running":
        """Start a command in a process group of its own.

        Args:
            arguments: of the command line.
            prepare: called in the process before the program, e.g. to set a limit.
            settings: go over the environment.
        """
        orders = Orders([*map(str, arguments)], str(self.folder), {**self.environment, **settings}, prepare)
        return Running(orders, self.fresh)


@dataclass(frozen=True)
class Orders:
    """What a process is to do, as it is sent to one that is forked."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    prepare: Callable[[], object] | None

    def begin(self) -> None:
        """Make the process what it shall be, before the program starts in it."""
        os.setsid()
        # a shell's background job ignores Ctrl-C, and hands that down
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.prepare:
            self.prepare()


class Running:
    """A process of the command line; killed where a test leaves it before it has ended."""

    def __init__(self, orders: Orders, fresh: bool) -> None:
        self._told = [tempfile.NamedTemporaryFile() for _ in range(2)]  # noqa: SIM115 - closed by __exit__
        out, err = (file.name for file in self._told)
        if fresh:
            self._process = subprocess.Popen(
                [*COMMAND, *orders.arguments],
                cwd=orders.folder,
                env=orders.environment,
                stdin=subprocess.DEVNULL,
                stdout=self._told[0],
                stderr=self._told[1],
                preexec_fn=orders.begin,
            )
        else:
            self._process = forking().Process(target=forked, args=(orders, out, err))
            self._process.start()
        self.pid = int(self._process.pid or 0)

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal that killed it, or None while it runs."""
        return self._process.poll() if isinstance(self._process, subprocess.Popen) else self._process.exitcode

    def communicate(self) -> tuple[str, str]:
        """Wait for its end; returns what it said on standard output and standard error."""
        wait_until(lambda: self.returncode is not None)
        out, err = (Path(file.name).read_text() for file in self._told)
        return out, err

    def kill(self) -> None:
        """Kill it as `kill -9` does, and wait until it is gone."""
        self._process.kill()
        self.communicate()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *raised: object) -> None:
        if self.returncode is None:
            self.kill()
        for file in self._told:
            file.close()


@functools.cache
def forking() -> multiprocessing.context.ForkServerContext:
    """Start the process that the others are forked from: one thread, everything imported, nothing done."""
    context = multiprocessing.get_context("forkserver")
    rooms = (
        "benchmark.cli",
        "benchmark.cells",
        "benchmark.preflight",
        "benchmark.executor",
        "baselines.load",
    )
    learn = ("sklearn.linear_model", "sklearn.metrics", "sklearn.neighbors", "sklearn.preprocessing")
    context.set_forkserver_preload(["torch", "timm", *learn, *(f"mednet_bench.{room}" for room in rooms)])
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch when it is imported
    multiprocessing.forkserver.ensure_running()
    if before is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = before
    return context


def forked(orders: Orders, out: str, err: str) -> None:
    """Do in a forked process what a fresh one would do."""
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


def tally(path: Path) -> list[str]:
    """What `quick.py` wrote: a line per computed cell, "PID STEP INIT FRACTION SEED"."""
    return path.read_text().splitlines() if path.exists() else []


def crowd(path: Path) -> list[int]:
    """The processes that a tally names, in the order in which they came."""
    return list(dict.fromkeys(int(line.split()[0]) for line in tally(path)))


def cells_in(lines: Sequence[str]) -> list[str]:
    """The cells of a tally, without the processes that computed them."""
    return [line.partition(" ")[2] for line in lines]


def wait_until(true: Callable[[], object], process: "Running | None" = None) -> None:
    """Wait for something that must come; a process that ends before has failed the test."""
    while not true():
        assert process is None or process.returncode is None, process and process.communicate()
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended may wait for a slow init to note it."""
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
    """Name the processes of a group that run; one that has ended may wait for a slow init to note it."""
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
    """The record files that stand in a run directory."""
    return sorted((folder / "records").glob("[!.]*.json"))


def states(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each record and predictions file was written, and what is in it."""
    files = [*records_in(folder), *sorted((folder / "predictions").glob("[!.]*.npz"))]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def planned_records(folder: Path) -> list[Record]:
    """The records of a run directory's plan: every cell has a readable one, and nothing stands beside."""
    plan, store = read_plan(folder), RecordStore(folder)
    assert plan is not None
    found = [store.read(planned.key) for planned in plan.cells]
    assert all(found), f"{found.count(None)} of {len(found)} cells have no record"
    assert {path.stem for path in records_in(folder)} == {planned.key for planned in plan.cells}
    assert not store.unreadable_files()
    return [record for record in found if record]


def sentence(ended: Ended) -> str:
    """The one line that a process says of what went wrong."""
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("mednet-bench: ")]
    assert len(said) == 1, ended.stderr
    assert ended.stderr.rstrip().endswith(said[0]), "something follows the sentence"
    return said[0].removeprefix("mednet-bench: ")


def only_sentence(ended: Ended) -> str:
    """The same, of a process that says nothing else."""
    told = sentence(ended)
    assert not ended.stdout
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert re.search(r"[.?!]$|[.?!]\)$", told) or len(told) > 20
    return told
