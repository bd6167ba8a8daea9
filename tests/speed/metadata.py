"""Count the file operations that processes sharing a run directory send to its file server; needs strace.

    python tests/speed/metadata.py            # 8 processes; both measurements, two minutes
    python tests/speed/metadata.py waiting    # or working

`waiting`: operations per second of 8 processes for which 10,000 cells wait while others compute 8 of them.
`working`: operations for each of 1,000 cells that 8 processes share. They have no data.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

WORKER = Path(__file__).parents[1] / "benchmark" / "run" / "stub_worker.py"
PROCESSES, WAITING_CELLS, WORKING_CELLS = 8, 10_000, 1_000
WARM_UP, WINDOW = 60.0, 60.0
"""Seconds before and while operations of waiting processes are counted."""


def start(folder: Path, *arguments: object, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a process that computes cells, with its operations in `log`."""
    tracer = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=%file,%desc"] if log else []
    command = [*tracer, sys.executable, str(WORKER), str(folder), *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True)


def operations(folder: Path, logs: list[Path], offsets: list[int]) -> Counter[str]:
    """Count the calls that name the folder or a file in it, from a position of each log on."""
    found = Counter[str]()
    for log, offset in zip(logs, offsets, strict=True):
        with log.open(errors="replace") as file:
            file.seek(offset)
            calls = (re.match(r"\d+ +(\w+)\(", line) for line in file if str(folder) in line)
            found.update(call[1] for call in calls if call)
    return found


def measure_waiting(folder: Path, logs: list[Path]) -> str:
    """Count while nothing changes."""
    holders = [start(folder, PROCESSES, 3600) for _ in range(PROCESSES)]
    tally = folder / "tally"
    while not tally.exists() or tally.read_text().count("\n") < PROCESSES:
        time.sleep(0.1)
    waiting = [start(folder, WAITING_CELLS, 0, 0.5, PROCESSES, log=log) for log in logs]
    try:
        while not all("/locks/" in log.read_text(errors="replace") for log in logs):  # still importing
            time.sleep(1)
        time.sleep(WARM_UP)
        offsets = [log.stat().st_size for log in logs]
        time.sleep(WINDOW)
        found = operations(folder, logs, offsets)
    finally:
        for process in (*holders, *waiting):
            os.killpg(process.pid, signal.SIGKILL)  # strace and what it traces
            process.wait()
    return f"{found.total() / WINDOW:.1f} operations per second: {dict(found.most_common())}"


def measure_working(folder: Path, logs: list[Path]) -> str:
    """Count while cells are computed, from start to end."""
    workers = [start(folder, WORKING_CELLS, 0.05, log=log) for log in logs]
    for process in workers:
        process.wait()
    found = operations(folder, logs, [0] * PROCESSES)
    return f"{found.total() / WORKING_CELLS:.1f} operations per cell: {dict(found.most_common())}"


MEASUREMENTS: dict[str, Callable[[Path, list[Path]], str]] = {
    "waiting": measure_waiting,
    "working": measure_working,
}


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", nargs="?", choices=[*MEASUREMENTS])
    part = parser.parse_args().part
    if shutil.which("strace") is None:
        sys.exit("strace is missing: install the package of this name.")
    for name in [part] if part else MEASUREMENTS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "run"
            folder.mkdir()
            logs = [Path(place) / f"{number}.strace" for number in range(PROCESSES)]
            for log in logs:
                log.touch()
            print(f"{name}: {MEASUREMENTS[name](folder, logs)}", flush=True)


if __name__ == "__main__":
    main()
