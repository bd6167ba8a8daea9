"""Mutate real files with a seed and read each, in limited memory: `python fuzz.py FOLDER CASES`."""

import json
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from mednet_bench.tasks.readers.reader import UnreadableError, pictures

SECONDS, BYTES = 10, 4 * 2**30


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip bytes, blow up lengths, cut off, repeat or take out a piece; the header suffers most."""
    data = bytearray(content)
    near = min(len(data), 2048)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(near if rng.random() < 0.7 else len(data))) if data else 0
        match int(rng.integers(6)):
            case 0:
                data[at : at + 1] = rng.bytes(1)
            case 1:
                data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0"])
            case 2:
                data[at : at + 2] = rng.bytes(2)
            case 3:
                del data[at : at + int(rng.integers(1, 64))]
            case 4:
                data[at:at] = data[at : at + int(rng.integers(1, 64))]
            case _:
                del data[max(at, len(data) // 4) :]
    return bytes(data)


def main(folder: Path, cases: int) -> None:
    """Read mutants of the files of a folder in turn; anything but an image or a reason ends the program."""
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    seeds = sorted(path for path in folder.iterdir() if not path.name.startswith("mutant"))
    outcomes, slowest = {"read": 0, "refused": 0}, 0.0
    for case in range(cases):
        seed = seeds[case % len(seeds)]
        mutant = folder / f"mutant{''.join(seed.suffixes)}"
        mutant.write_bytes(mutated(seed.read_bytes(), np.random.default_rng(case)))
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
