"""Fixtures of the leakage tests: clean splits, and the folders of what tests share."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # for `planted`, and for `synthetic`

from planted import Splits  # noqa: E402

from mednet_bench.tasks.catalog import catalog  # noqa: E402
from mednet_bench.tasks.task import DataLocations, Split, Task  # noqa: E402


@pytest.fixture(scope="session")
def task() -> Task:
    return catalog(DataLocations())["phantom-nodule"]


@pytest.fixture(scope="session")
def clean(task: Task) -> Splits:
    """Generated images of three splits, none of which is a copy."""
    loaded = task.source.load(64, DataLocations())
    return {name: Split(part.images[:120], part.labels[:120]) for name, part in loaded.items()}
