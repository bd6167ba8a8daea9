"""Measure waiting times of interactive use: commands, ten thousand records, a report page.

    python tests/speed/waiting.py           # everything, some minutes
    python tests/speed/waiting.py commands  # or records, drawing

CPU seconds, the best of several turns; for the page seconds of the browser's clock. Exit code 3 where one is
above its limit. `make test` measures no time: it counts imports, opened files and drawn elements.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS)]  # for `synthetic` and `conftest`

RUN = "from mednet_bench.cli.main import main; main()"
COMMANDS = ("ls", "--help", "run --help", "sources", "sources plan gray", "sources show lits")
BUILD = (
    "import pathlib, sys; from mednet_bench.reports.pages.build import build_report; "
    "build_report([pathlib.Path(sys.argv[1])])"
)
DRAWN = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[0](performance.now())))"
CLICK = "const t = performance.now(); document.querySelector('[name=init][value=mednet]').click();"

Measurements = Iterator[tuple[str, float, float]]
"""Name of the measurement, seconds, limit in seconds."""


def seconds_of(script: str, *arguments: str) -> float:
    """Return the CPU seconds of a fresh Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", script, *arguments]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds_here(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call in this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_commands() -> Measurements:
    """Measure commands that compute nothing."""
    for command in COMMANDS:
        yield command, min(seconds_of(RUN, *command.split()) for _ in range(5)), 0.5


def measure_drawing() -> Measurements:
    """Measure generation in memory: the order of three million rows, and each phantom."""
    from mednet_bench.benchmark.pretraining.shuffle import block_shuffle
    from mednet_bench.tasks.catalog import catalog
    from mednet_bench.tasks.task import DataLocations

    rows = np.arange(3_000_000)
    yield "three million rows, shuffled", seconds_here(lambda: block_shuffle(rows, seed=0, epoch=0)), 1
    for name, task in catalog(DataLocations()).items():
        if task.generated:
            yield name, seconds_here(lambda task=task: task.source.load(28, DataLocations())), 8


def measure_records() -> Measurements:
    """Measure a run directory of ten thousand records: read, resumed, reported, opened."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _measure_resume(Path(folder) / "resumed")
        yield from _measure_report(Path(folder) / "reported")


def _measure_resume(out: Path) -> Measurements:
    from synthetic import write_finished

    from mednet_bench.benchmark.schema.records import RecordStore

    command = write_finished(out)
    yield "10,000 records, read", seconds_here(lambda: list(RecordStore(out).read_all())), 5
    yield "10,000 records, a run with nothing to do", seconds_of(RUN, *command), 3


def _measure_report(out: Path) -> Measurements:
    from synthetic import LARGE, write_run

    write_run(out, LARGE)
    yield "10,000 records, the report", seconds_of(BUILD, str(out)), 40
    yield from _measure_page(out / "report" / "report.html")


def _measure_page(page: Path) -> Measurements:
    """Open and filter the page, best of three; skipped without a browser."""
    from conftest import browser_and_driver
    from selenium import webdriver

    found = browser_and_driver()
    if found is None:
        print("page: no Chromium with its chromedriver on the PATH: not measured")
        return
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    opened, filtered = [], []
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(found[1])) as browser:
        for _ in range(3):
            browser.get("about:blank")
            browser.get(page.as_uri())
            opened.append(browser.execute_async_script(DRAWN) / 1000)
            filtered.append(browser.execute_async_script(CLICK + DRAWN.replace("now()", "now() - t")) / 1000)
    yield "their page, opened", min(opened), 3
    yield "their page, filtered", min(filtered), 1


PARTS = {"commands": measure_commands, "drawing": measure_drawing, "records": measure_records}


def main() -> int:
    """Measure the requested parts; exit 3 where a limit is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=[*PARTS, "all"], default="all")
    chosen = parser.parse_args().what
    broken = False
    for part in PARTS if chosen == "all" else [chosen]:
        for name, seconds, limit in PARTS[part]():
            broken |= seconds > limit
            print(
                f"{part}: {name}: {seconds:.2f} s {'ok' if seconds <= limit else f'BROKEN, limit {limit} s'}",
                flush=True,
            )
    return 3 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
