"""The tests of the inits use the same generated tasks as those of the science."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "science"))
