"""The tests of the inits use the generated tasks of those of the science."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmark" / "training"))  # for `toys`


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real images; the test is skipped where there is none."""
    from toys import real_data

    return real_data()
