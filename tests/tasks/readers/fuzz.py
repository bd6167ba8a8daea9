"""Mutate real files by seed and read each in limited memory: `python fuzz.py FOLDER CASES`."""

import json
import signal
import sys
from pathlib import Path

import numpy as np

from mednet_bench.tasks.from_files.decode_chunk import why_empty
from mednet_bench.tasks.from_files.letterbox import letterbox
from mednet_bench.tasks.images.reader import UnreadableError, read_images

sys.path.append(str(Path(__file__).resolve().parents[2] / "fuzz"))
from mutants import limit_memory, mutate_file

SECONDS = 100


def main(folder: Path, cases: int) -> None:
    """Read mutants of the files of a folder in turn; anything but an image or a reason ends the program."""
    limit_memory()
    seeds = sorted(path for path in folder.iterdir() if not path.name.startswith("mutant"))
    outcomes = {"read": 0, "refused": 0}
    for case in range(cases):
        seed = seeds[case % len(seeds)]
        mutant = folder / f"mutant{''.join(seed.suffixes)}"
        mutant.write_bytes(mutate_file(seed.suffix, seed.read_bytes(), np.random.default_rng(case)))
        # of the processor, not of the clock; kills, since a C loop would not see an exception
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            for picture in read_images(mutant):
                assert picture.pixels.dtype in (np.uint8, np.uint16) and picture.pixels.size
                assert picture.is_gray in (True, False)
                assert why_empty(picture, letterbox(picture, False, 16))[1] in (True, False)
            outcomes["read"] += 1
        except UnreadableError as error:
            assert "\n" not in str(error) and str(folder) not in str(error), error
            outcomes["refused"] += 1
        except BaseException:
            print(f"case {case} of {seed.name}", file=sys.stderr)
            raise
        signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
