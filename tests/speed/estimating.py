"""Compare estimates of plans with what they take, in CPU seconds of one process.

    OMP_NUM_THREADS=1 python tests/speed/estimating.py          # all plans, some 5 minutes
    OMP_NUM_THREADS=1 python tests/speed/estimating.py linear   # one of them

CPU seconds of one thread, not seconds, so that other work on the machine changes little. No constant of the
estimate was fitted to these plans.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mednet_bench.benchmark.run.estimate import estimate_plan
from mednet_bench.benchmark.run.executors.local import execute_cells
from mednet_bench.benchmark.run.machine_probe import MachineProbe
from mednet_bench.benchmark.run.scheduler import ResumeRules
from mednet_bench.benchmark.run.waiting_run import WaitingRun
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.files import writable_folder
from mednet_bench.experiment import plan_run

LIMIT = 1.5
"""Promised: at most so many times more or less than estimated."""
PLANS: dict[str, dict[str, Any]] = {
    "linear": {"tasks": "phantom-findings,phantom-tissue", "inits": "imagenet", "protocols": "linear,knn"},
    "resnet": {
        "archs": "resnet18",
        "inits": "scratch",
        "steps": 40,
        "lr_grid": "1e-3,3e-3",
        "input_size": 28,
    },
    "finetune": {"tasks": "phantom-tissue", "inits": "imagenet", "steps": 60, "lr_grid": "3e-4,1e-3"},
    "mednet": {"inits": "mednet", "protocols": "linear", "pretrain_images": 3_000},
    "control": {"tasks": "phantom-fundus", "inits": "imagenet,scratch", "steps": 25, "lr_grid": "1e-3"},
    "real": {"tasks": "pneumoniamnist", "inits": "imagenet", "protocols": "linear,knn", "fractions": "0.5,1"},
}
DEFAULTS = {"tasks": "phantom-organ", "fractions": "1", "seeds": "0", "device": "cpu", "report": False}


def compare(name: str, folder: Path) -> float:
    """Estimate and run a plan; print and return the ratio of CPU seconds, spent over expected."""
    config = RunConfig(out=str(folder / name), **{**DEFAULTS, **PLANS[name]})
    planned = plan_run(config)
    for task in planned.resolved.tasks.values():
        if task.generated:  # drawn now, and kept: drawing is no part of an estimate
            task.source.load(config.size, planned.resolved.places)
    probe = MachineProbe("cpu", clock=time.process_time)
    found = estimate_plan(planned.resolved, planned.waiting, "cpu", 1, probe).seconds
    planned.resolved.plan.write(writable_folder(config.folder))
    started = time.process_time()
    execute_cells(WaitingRun(planned.resolved, planned.waiting, ResumeRules(), 1, "cpu"))
    spent = time.process_time() - started
    ratio = spent / found.expected
    bounds = f"{found.low:.1f} to {found.high:.1f}, expected {found.expected:.1f}"
    print(
        f"{name}: {len(planned.waiting)} cells, {bounds}, spent {spent:.1f} s: ratio {ratio:.2f}", flush=True
    )
    return ratio


def main() -> int:
    """Compare the named plans, or all; exit 3 where a ratio is outside the limit."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDNET_BENCH_CACHE"] = folder  # so that no feature of an earlier run is there
        ratios = [compare(name, Path(folder)) for name in sys.argv[1:] or PLANS]
    return 0 if all(1 / LIMIT <= ratio <= LIMIT for ratio in ratios) else 3


if __name__ == "__main__":
    sys.exit(main())
