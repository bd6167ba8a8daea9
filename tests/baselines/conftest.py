"""Fixtures of the tests of inits, which share the generated tasks of the training tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmark" / "training"))  # for `toys`


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real images; without one the test is skipped."""
    from toys import real_data

    return real_data()
