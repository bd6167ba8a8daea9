"""Process that computes cells without data or training, through the real scheduler.

    python stub_worker.py FOLDER CELLS SECONDS [SCORE [FIRST]]

Each computed cell is a line of FOLDER/tally, "PID KEY"; SCORE is the AUC of all. With FIRST all cells but
that many need the record of the first one.
"""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mednet_bench.benchmark.run.scheduler import CellWatcher, ResumeRules, compute_cells
from mednet_bench.benchmark.schema.plan import Cell, PlannedCell
from mednet_bench.benchmark.schema.records import PredictionArrays, Provenance, Record
from mednet_bench.benchmark.schema.request import MAX_SEED
from mednet_bench.core.interrupts import heed_sigterm

PROVENANCE = Provenance(versions={}, commit="", dirty=False, device="cpu", threads=1)


def stub_cells(count: int, first: int = MAX_SEED) -> list[PlannedCell]:
    """Plan cells that differ by their seed; those after the `first` ones need the record of the first."""
    facts: dict[str, Any] = {"task": "t", "size": 28, "input_size": 64, "arch": "a", "init": "scratch"}
    needs = ("00000",)
    return [
        PlannedCell(cell=Cell(protocol="linear", seed=n, **facts), key=f"{n:05}", needs=needs * (n >= first))
        for n in range(count)
    ]


def stub_record(planned: PlannedCell, score: float = 0.5, **facts: Any) -> tuple[Record, PredictionArrays]:
    """Return the record of a cell and its predictions."""
    fixed: dict[str, Any] = {"protocol_version": 1, "recipe_hash": "", "finished": "", "seconds": 0.0}
    record = Record(
        key=planned.key,
        cell=planned.cell,
        status="ok",
        provenance=PROVENANCE,
        peak_memory_mb=0.0,
        metrics={"auc": score},
        **fixed | facts,
    )
    return record, {"labels": np.zeros(4), "scores": np.full(4, score)}


class StubRunner:
    """Stands in for `CellRunner`."""

    def __init__(self, folder: Path, seconds: float, score: float) -> None:
        self.resolved: Any = SimpleNamespace(request=SimpleNamespace(folder=folder))
        self.seconds, self.score = seconds, score

    def compute(self, planned: PlannedCell, needs: object) -> tuple[Record, PredictionArrays]:
        """Sleep, and return a record."""
        with (self.resolved.request.folder / "tally").open("a") as file:
            file.write(f"{os.getpid()} {planned.key}\n")
        time.sleep(self.seconds)
        return stub_record(planned, self.score)


def stub_main(folder: Path, count: int, seconds: float, score: float = 0.5, first: float = MAX_SEED) -> None:
    """Compute cells until none is left."""
    heed_sigterm()
    (folder / "plan.json").touch()
    runner: Any = StubRunner(folder, seconds, score)
    compute_cells(runner, stub_cells(count, int(first)), ResumeRules(run="stub"), CellWatcher())


if __name__ == "__main__":
    stub_main(Path(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:]))
