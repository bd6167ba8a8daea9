"""Fixtures of the leakage tests: the folder of tests that others share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `synthetic`
