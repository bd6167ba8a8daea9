"""A plug-in with two protocols that compute nothing worth mentioning, and tell the test what they did.

`quick` scores at random; `tuned` also has a tune cell per group. Environment: QUICK_TALLY names a file that
gets a line per computed cell, QUICK_CROWD is how many processes must have begun a cell before any may end
one, QUICK_SECONDS is how long a cell takes, QUICK_FAIL is a regular expression of cells that fail, as in
"score scratch 0.5 0", QUICK_EXIT of cells that end their process, QUICK_MOVE is a run directory that is
moved away while its report is made.
"""

import os
import re
import time
from pathlib import Path

import numpy as np

from mednet_bench.benchmark.training.protocol import (
    CostEstimate,
    EvalContext,
    ProtocolResult,
    describe_choice,
)


class Quick:
    recipe_fields = ()
    tunes = False
    frozen = True

    def tune(self, job: EvalContext):
        self._tell("tune", job)
        return describe_choice("lr", (0.1, 1.0), (0.6, 0.7), 1, "nothing")

    def score(self, job: EvalContext) -> ProtocolResult:
        self._tell("score", job)
        rng = np.random.default_rng(job.cell.seed)
        width = len(job.task.classes)
        parts = (rng.dirichlet(np.ones(width), len(job.labels(split))) for split in ("test", "val"))
        return ProtocolResult(*parts, weights="random:0", choices=(job.tuned,) if job.tuned else ())

    def work(self, recipe: object, train: int, val: int, test: int) -> CostEstimate:
        return CostEstimate()

    def _tell(self, step: str, job: EvalContext) -> None:
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


class Tuned(Quick):
    tunes = True


def moving(results: object) -> None:
    """A section of the report that has nothing to say."""
    if folder := os.environ.get("QUICK_MOVE"):
        Path(folder).rename(f"{folder}-gone")


quick, tuned = Quick(), Tuned()
