"""Fixtures of the tests that compare with the packages that publish checkpoints (`make test-zoo`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmark" / "training"))  # for `toys`
