"""Measure time, memory and recall of a leakage audit of 60,000 images.

    python tests/speed/leakage.py [IMAGES] [SIDE]

The images are generated: a common picture, as in radiographs of one view, plus coarse and fine structure of
each image. 200 of the test images are copies of training images, half of them with noise.
"""

import resource
import sys
import time

import numpy as np
from numpy.typing import NDArray

from mednet_bench.benchmark.audits.leakage.audit import leakage_of
from mednet_bench.tasks.task import Split

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
COPIES = 200


def pictures(count: int, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw uint8 images [count, side, side], 500 at a time to save memory."""
    common = _interpolate(np.random.default_rng(0).normal(size=(1, 6, 6)), side)
    images = np.empty((count, side, side), np.uint8)
    for start in range(0, count, 500):
        few = min(500, count - start)
        own = sum(
            weight * _interpolate(rng.normal(size=(few, cells, cells)), side)
            for cells, weight in ((5, 14.0), (12, 10.0), (32, 8.0))
        )
        images[start : start + few] = np.clip(128 + 40 * common + own, 0, 255)
    return images


def _interpolate(field: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Interpolate [n, k, k] to [n, side, side], linearly."""
    at = np.linspace(0, field.shape[1] - 1, side)
    low = np.minimum(at.astype(int), field.shape[1] - 2)
    weights = np.zeros((side, field.shape[1]))
    weights[np.arange(side), low] = 1 - (at - low)
    weights[np.arange(side), low + 1] = at - low
    return weights @ field @ weights.T


def main(count: int = 60_000, side: int = 64) -> None:
    rng = np.random.default_rng(1)
    splits = {
        name: Split(pictures(round(count * share), side, rng), rng.integers(0, 2, round(count * share)))
        for name, share in SHARES.items()
    }
    copied = splits["train"].images[:COPIES].copy()
    noise = rng.integers(-4, 5, copied[COPIES // 2 :].shape)
    copied[COPIES // 2 :] = np.clip(copied[COPIES // 2 :] + noise, 0, 255)
    splits["test"].images[:COPIES] = copied
    wall, cpu = time.perf_counter(), time.process_time()
    found = leakage_of("generated", side, "generated", splits)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    near = next(each for each in found.near if (each.split, each.against) == ("test", "train"))
    right = sum(match.row == match.other < COPIES for match in near.matches)
    print(
        f"{count:,} images of {side} px: {wall:.0f} s by the clock, {cpu:.0f} s of processor, {peak:,.0f} MiB"
    )
    print(f"{right} of {COPIES} copies found ({found.spans.get('train and test', 0)} groups of equal images)")
    print(f"{len(near.matches) - right} of {near.checked - COPIES:,} other test images found")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
