"""What the tests of pretraining share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `small_corpus`
