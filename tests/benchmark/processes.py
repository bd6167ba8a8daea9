"""Real processes of the command line, in an environment that owes nothing to the machine's."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mednet_bench.benchmark.plan import read_plan
from mednet_bench.benchmark.records import Record, Store

PROGRAM = Path(sys.executable).parent / "mednet-bench"
COMMAND = (
    [str(PROGRAM)]
    if PROGRAM.exists()
    else [sys.executable, "-c", "from mednet_bench.benchmark.cli import main; main()"]
)
PATIENCE = 240.0
"""Seconds after which a process counts as hanging; far more than any takes on a busy machine."""

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
    """Starts `mednet-bench` in a folder of its own.

    Attributes:
        folder: the working directory.
        environment: of every process.
    """

    folder: Path
    environment: Mapping[str, str]

    def __call__(self, *arguments: object, **settings: str) -> Ended:
        """Run a command to its end; `settings` go over the environment."""
        with self.start(*arguments, **settings) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE)
            except BaseException:
                process.kill()
                raise
        return Ended(arguments, process.returncode, out, err)

    def start(
        self, *arguments: object, prepare: Callable[[], None] | None = None, **settings: str
    ) -> subprocess.Popen[str]:
        """Start a command in a process group of its own.

        Args:
            arguments: of the command line.
            prepare: called in the child before the program, e.g. to set a limit.
            settings: go over the environment.
        """

        def ready() -> None:
            # a shell's background job ignores Ctrl-C, and hands that down
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if prepare:
                prepare()

        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=ready,
        )


def tally(path: Path) -> list[str]:
    """What `quick.py` wrote: a line per computed cell, "PID STEP INIT FRACTION SEED"."""
    return path.read_text().splitlines() if path.exists() else []


def crowd(path: Path) -> list[int]:
    """The processes that a tally names, in the order in which they came."""
    return list(dict.fromkeys(int(line.split()[0]) for line in tally(path)))


def cells_in(lines: Sequence[str]) -> list[str]:
    """The cells of a tally, without the processes that computed them."""
    return [line.partition(" ")[2] for line in lines]


def wait_until(true: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait for something that must come; a process that ends before has failed the test."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert process is None or process.poll() is None, process and process.communicate()
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def records_in(folder: Path) -> list[Path]:
    """The record files that stand in a run directory."""
    return sorted((folder / "records").glob("[!.]*.json"))


def states(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each record and predictions file was written, and what is in it."""
    files = [*records_in(folder), *sorted((folder / "predictions").glob("[!.]*.npz"))]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def planned_records(folder: Path) -> list[Record]:
    """The records of a run directory's plan: every cell has a readable one, and nothing stands beside."""
    plan, store = read_plan(folder), Store(folder)
    assert plan is not None
    found = [store.read(planned.key) for planned in plan.cells]
    assert all(found), f"{found.count(None)} of {len(found)} cells have no record"
    assert {path.stem for path in records_in(folder)} == {planned.key for planned in plan.cells}
    assert not store.unreadable()
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
