"""Mutate real files with a seed and read each, in limited memory: `python fuzz.py FOLDER CASES`."""

import json
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from mednet_bench.tasks.readers.reader import UnreadableError, pictures

sys.path.append(str(Path(__file__).resolve().parents[1] / "fuzz"))
from mutants import mutated

SECONDS, BYTES = 10, 4 * 2**30


def main(folder: Path, cases: int) -> None:
    """Read mutants of the files of a folder in turn; anything but an image or a reason ends the program."""
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    seeds = sorted(path for path in folder.iterdir() if not path.name.startswith("mutant"))
    outcomes, slowest = {"read": 0, "refused": 0}, 0.0
    for case in range(cases):
        seed = seeds[case % len(seeds)]
        mutant = folder / f"mutant{''.join(seed.suffixes)}"
        mutant.write_bytes(mutated(seed.suffix, seed.read_bytes(), np.random.default_rng(case)))
        signal.alarm(SECONDS)  # kills: a C loop would not see an exception
        began = time.monotonic()
        try:
            for picture in pictures(mutant):
                assert picture.pixels.dtype in (np.uint8, np.uint16) and picture.pixels.size
            outcomes["read"] += 1
        except UnreadableError as error:
            assert "\n" not in str(error) and str(folder) not in str(error), error
            outcomes["refused"] += 1
        except BaseException:
            print(f"case {case} of {seed.name}", file=sys.stderr)
            raise
        slowest = max(slowest, time.monotonic() - began)
        signal.alarm(0)
    print(json.dumps({**outcomes, "slowest": slowest}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
