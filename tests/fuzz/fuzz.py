"""Mutate a file at a time and load its folder, in limited memory: `python fuzz.py FOLDER CASES [TARGET]`."""

import json
import signal
import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # for `targets`, and for `synthetic`

from mutants import limit_memory, mutate_file  # noqa: E402
from targets import SECRET, TARGETS, Target  # noqa: E402

from mednet_bench.core.errors import UserError  # noqa: E402

SECONDS = 100


def fuzz(name: str, target: Target, folder: Path, cases: int) -> dict[str, int]:
    """Load mutants of a target's files in turn; any unexpected exception ends the program."""
    target.make(folder)
    target.load(folder)  # the unchanged folder must load, or the mutants would prove nothing
    files = [path for pattern in target.files for path in sorted(folder.glob(pattern))[:2]]
    whole = {path: path.read_bytes() for path in files}
    outcomes = {"loaded": 0, "refused": 0}
    for case in range(cases):
        path = files[case % len(files)]
        path.write_bytes(mutate_file(path.suffix, whole[path], np.random.default_rng([case, *name.encode()])))
        # CPU time, not wall time; kills the process, since a C loop would not see an exception
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            target.load(folder)
            outcomes["loaded"] += 1
        except UserError as error:
            named = [part.name for part in folder.rglob("*") if part.name in str(error)]
            assert named or "'cells'" in str(error), f"names no file: {error}"
            assert SECRET not in str(error), f"quotes a cell: {error}"
            outcomes["refused"] += 1
        except BaseException:
            print(f"case {case} of {name}: {path}", file=sys.stderr)  # the mutant stays there
            raise
        signal.setitimer(signal.ITIMER_PROF, 0)
        path.write_bytes(whole[path])
    return outcomes


def main(folder: Path, cases: int, *names: str) -> None:
    """Fuzz the targets, the same number of cases each, and print the outcomes as JSON."""
    warnings.simplefilter("ignore")
    limit_memory()
    found = {}
    for name in names or TARGETS:
        (folder / name).mkdir(parents=True)
        found[name] = fuzz(name, TARGETS[name], folder / name, cases)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
