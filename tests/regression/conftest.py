"""Real data and runs for the regression test, which compute their features anew."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.sources import imagenet as source
from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.run.planner import ResolvedPlan
from mednet_bench.benchmark.run.resolve import resolve_request
from mednet_bench.benchmark.run.scheduler import CellWatcher, ResumeRules, compute_cells, pending_cells
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.tasks.catalog import catalog, is_available
from mednet_bench.tasks.data_paths import data_locations

TASKS = ("breastmnist", "pneumoniamnist", "retinamnist")
PRETRAIN_IMAGES = 3000
"""As in the stored baseline (README.md)."""

Run = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def data() -> None:
    """Skip where the three data sets are missing; tests download nothing."""
    root = os.environ.get("MEDNET_BENCH_DATA")
    places = data_locations(download=False) if root and Path(root).is_dir() else None
    tasks = catalog(places) if places else {}
    missing = [name for name in TASKS if not places or not is_available(tasks[name], 28, places)]
    if missing:
        pytest.skip(f"MEDNET_BENCH_DATA names no folder with {', '.join(missing)} at 28 px")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a part of the regression; all runs share one new cache of features."""
    cache = tmp_path_factory.mktemp("cache")

    def start(tasks: str, inits: str, fractions: str, seeds: str) -> Path:
        folder = tmp_path_factory.mktemp("run")
        request = RunConfig(
            tasks=tasks, inits=inits, protocols="linear", fractions=fractions, seeds=seeds, size=28,
            input_size=64, out=str(folder), download=False,
            pretrain_images=PRETRAIN_IMAGES,
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MEDNET_BENCH_CACHE", str(cache))
            carry_out(resolve_request(request))
        return folder

    return start


def carry_out(grid: ResolvedPlan) -> None:
    """Compute every cell in this process."""
    store, rules = RecordStore(grid.request.folder), ResumeRules()
    grid.plan.write(store.folder)
    failures: list[str] = []

    def note_failure(record, own: bool) -> None:
        if record.status != "ok":
            failures.append(record.error)

    compute_cells(
        CellRunner(grid, "cpu"), pending_cells(grid, store, rules), rules, CellWatcher(on_record=note_failure)
    )
    assert not failures


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Callable[[InputSpec], None]:
    """Give the ImageNet init another input contract, as a bug would."""

    def change(contract: InputSpec) -> None:
        monkeypatch.setattr(source, "InputSpec", lambda **stated: contract)

    return change
