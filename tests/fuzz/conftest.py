"""Import paths of the fuzzing modules, and of the invented records of other tests."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # for `mutants` and `targets`, and for `synthetic`
