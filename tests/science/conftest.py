"""What the tests of the science share: generated tasks, and the real images where they are at hand."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `toys`, which the tests of baselines share


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real images, or a skip that says how to get one."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    root = Path(os.environ.get("MEDNET_BENCH_DATA") or beside)
    if not root.is_dir():
        pytest.skip("no real images: set MEDNET_BENCH_DATA to a folder with MedMNIST files and local sets")
    return root
