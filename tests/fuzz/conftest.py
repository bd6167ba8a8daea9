"""What the tests of the fuzzing share: its modules, and the made-up records of other tests."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # for `mutants` and `targets`, and for `synthetic`
