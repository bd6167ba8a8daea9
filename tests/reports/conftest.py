"""Fixtures of the report's tests: runs that never happened, in folders of their own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `synthetic`, which other tests share
