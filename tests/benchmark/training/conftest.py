"""What the tests of the science share: generated tasks, and the real images where they are at hand."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `toys`


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real images; the test is skipped where there is none."""
    from toys import real_data

    return real_data()
