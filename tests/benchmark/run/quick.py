"""Plug-in with a cheap protocol, `quick`, that scores at random and logs its cells.

Environment: QUICK_TALLY: file for a line
per computed cell; QUICK_CROWD: processes that must have started a cell before any ends one; QUICK_SECONDS:
duration of a cell; QUICK_FAIL: regular expression of cells that fail, e.g. "score scratch 0.5 0"; QUICK_EXIT:
of cells that end their process; QUICK_MOVE: run directory to move away while its report is written.
"""

import os
import re
import select
import time
from pathlib import Path

import numpy as np

from mednet_bench.benchmark.training.protocol import (
    CostEstimate,
    EvalContext,
    ProtocolResult,
)

if "faketime" in os.environ.get("LD_PRELOAD", ""):  # its clock_nanosleep fails
    time.sleep = lambda seconds: select.select([], [], [], seconds)  # type: ignore[assignment]


class Quick:
    recipe_fields = ()
    frozen = True

    def score(self, job: EvalContext) -> ProtocolResult:
        self._log_cell("score", job)
        rng = np.random.default_rng(job.cell.seed)
        width = len(job.task.classes)
        parts = (rng.dirichlet(np.ones(width), len(job.labels(split))) for split in ("test", "val"))
        return ProtocolResult(*parts, weights="random:0")

    def work(self, recipe: object, train: int, val: int, test: int) -> CostEstimate:
        return CostEstimate()

    def _log_cell(self, step: str, job: EvalContext) -> None:
        cell = f"{step} {job.cell.init} {job.cell.fraction:g} {job.cell.seed}"
        tally = Path(os.environ["QUICK_TALLY"])
        with tally.open("a") as file:  # one short write at the end of a file is whole
            file.write(f"{os.getpid()} {cell}\n")
        while len({line.split()[0] for line in tally.open()}) < int(os.environ.get("QUICK_CROWD", "1")):
            time.sleep(0.02)
        time.sleep(float(os.environ.get("QUICK_SECONDS", "0")))
        if re.search(os.environ.get("QUICK_EXIT", "$^"), cell):
            raise SystemExit(0)
        if re.search(os.environ.get("QUICK_FAIL", "$^"), cell):
            raise ArithmeticError(f"the test wants {cell} to fail\nand to say so at length")


def moving(results: object) -> None:
    """Empty section of the report."""
    if folder := os.environ.get("QUICK_MOVE"):
        Path(folder).rename(f"{folder}-gone")


quick = Quick()
