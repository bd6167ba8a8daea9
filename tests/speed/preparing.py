"""Measure the preparation of DICOM files relative to bare pydicom on the same cores in one run.

    python tests/speed/preparing.py [FILES] [SIDE] [JOBS]

The files are written first: 512 x 512 values of 16 bits, uncompressed, the hardest case, since pydicom needs
many times as long for a compressed file. Bare is `pydicom.dcmread(path).pixel_array` in as many processes,
and the same with Pillow's resize by area; all read from memory and take turns, because machines are shared
and noisy.
"""

import csv
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "tasks" / "from_files"), str(TESTS / "tasks" / "readers")]  # `cards`, `dicoms`

PIXELS = 512
PER_PATIENT = 10
LEAST = 0.8
TURNS = 5
FILES = '[files]\ntable = "labels.csv"\npatient_column = "patient"\n'


def write_ward(folder: Path, count: int) -> Path:
    """Write files, table and card; return the card."""
    from cards import CARD
    from dicoms import write

    rng = np.random.default_rng(0)
    common = rng.normal(size=(PIXELS // 8, PIXELS // 8)).repeat(8, 0).repeat(8, 1) * 300
    noise = rng.normal(0, 20, (8, PIXELS, PIXELS))
    rows = []
    for number in range(count):
        values = (common + noise[number % 8] + number % 97).astype(np.int16)
        patient = number // PER_PATIENT
        about = {"PatientID": f"P{patient}", "RescaleSlope": 1, "RescaleIntercept": -1024, "KVP": 120}
        write(folder / f"{number:06}.dcm", values, **about)
        rows.append((f"{number:06}.dcm", ("healthy", "ill")[patient % 2], f"P{patient}"))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "patient"), *rows])
    (folder / "ward.toml").write_text(CARD + FILES)
    return folder / "ward.toml"


def bare(paths: tuple[Path, ...]) -> int:
    """Decode files with pydicom alone; return the number of values."""
    import pydicom

    return sum(pydicom.dcmread(path).pixel_array.size for path in paths)


def bare_and_resize(paths: tuple[Path, ...], side: int) -> int:
    """Decode files with pydicom and resize them with Pillow; return the number of values read."""
    import pydicom
    from PIL import Image

    for path in paths:
        values = pydicom.dcmread(path).pixel_array.astype(np.float32)
        small = Image.fromarray(values).resize((side, side), Image.Resampling.BOX)
        assert np.asarray(small).shape == (side, side)
    return len(paths) * PIXELS**2


def decode_bare(folder: Path, jobs: int, work: Callable[[tuple[Path, ...]], int] = bare) -> None:
    from mednet_bench.core.process_pool import map_in_processes

    paths = sorted(folder.glob("*.dcm"))
    pieces = [tuple(paths[start : start + 64]) for start in range(0, len(paths), 64)]
    assert sum(map_in_processes(work, pieces, jobs)) == len(paths) * PIXELS**2


def prepare(card: Path, side: int, jobs: int) -> None:
    from mednet_bench.tasks.from_files.prepared import prepare_task
    from mednet_bench.tasks.local_cards import local_task

    with tempfile.TemporaryDirectory() as cache:
        os.environ["MEDNET_BENCH_CACHE"] = cache
        found = prepare_task(local_task(card).source.spec, side, jobs)  # type: ignore[attr-defined]
        assert found.manifest.bits == 16


@dataclass(frozen=True)
class Turn:
    """Wall and CPU seconds of one candidate."""

    clock: float
    processor: float


def turn(work: Callable[[], None]) -> Turn:
    start, spent = time.perf_counter(), cpu_seconds()
    work()
    return Turn(time.perf_counter() - start, cpu_seconds() - spent)


def cpu_seconds() -> float:
    """Return CPU seconds of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main(count: int = 10_000, side: int = 64, jobs: int = 0) -> int:
    jobs = jobs or len(os.sched_getaffinity(0))
    ratios: list[Turn] = []
    with tempfile.TemporaryDirectory() as place:
        card = write_ward(Path(place), count)
        prepare(card, side, jobs)  # loads libraries, and files into memory
        for _ in range(TURNS):
            resized = partial(bare_and_resize, side=side)
            alone, small, ours = (
                turn(partial(decode_bare, card.parent, jobs)),
                turn(partial(decode_bare, card.parent, jobs, resized)),
                turn(partial(prepare, card, side, jobs)),
            )
            ratios.append(Turn(alone.clock / ours.clock, alone.processor / ours.processor))
            print(
                f"bare pydicom {count / alone.clock:,.0f} files/s, with a resize {count / small.clock:,.0f}, "
                f"prepared {count / ours.clock:,.0f}: ratio {ratios[-1].clock:.2f} of wall time, "
                f"{ratios[-1].processor:.2f} of CPU time; with a resize {small.clock / ours.clock:.2f} and "
                f"{small.processor / ours.processor:.2f}",
                flush=True,
            )
    ratio = median(each.clock for each in ratios)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        f"{count:,} files at {side} px, {jobs} processes: median ratio {ratio:.2f} of at least {LEAST}; the "
        f"largest process had {peak / 2**10:,.0f} MiB"
    )
    return int(ratio < LEAST)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
