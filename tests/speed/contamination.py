"""Measure how well copies are distinguished from look-alikes, and the search of millions of hashes.

    python tests/speed/contamination.py threshold   # the tables of docs/contamination.md, on real images
    python tests/speed/contamination.py search      # 3 million hashes against 20,000 images, time and memory

Thresholds are chosen on the first half of each source's images and reported on the second. Within a half,
every second image is the corpus, the others are non-copies; copies are changed images of the corpus.
"""

import argparse
import io
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mednet_bench.benchmark.audits.contamination import alignment, near_duplicate_search
from mednet_bench.benchmark.audits.contamination.search import HashIndex
from mednet_bench.tasks.images.perceptual_hash import WHOLE, perceptual_hash, perceptual_hashes

SOURCES = {
    "MedNIST": ("mednist_64.npz", "train"),
    "PneumoniaMNIST": ("medmnist/pneumoniamnist.npz", "train"),
    "BreastMNIST": ("medmnist/breastmnist.npz", "train"),
    "RetinaMNIST": ("medmnist/retinamnist.npz", "train"),
    "BCCD cells": ("bccd_cells_28.npz", "train"),
    "PathMNIST": ("pathmnist_test_subset718.npz", "test"),
}
MOST, PLANTED, PAIRS = 1200, 120, 10_000
REPEATED = ("BreastMNIST",)
"""Sources with repeated pictures: their matches are no errors and do not count for the thresholds."""
Pixels = NDArray[np.uint8]


def resize(pixels: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def to_28(pixels: Pixels) -> Pixels:
    """Resize to 28 px; an image of 28 px is first enlarged, as if it had been stored larger."""
    return resize(resize(pixels, 224) if len(pixels) == 28 else pixels, 28)


def jpeg(pixels: Pixels) -> Pixels:
    """Compress at quality 50, at 64 px or more, the smallest usual size of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(resize(pixels, max(64, len(pixels)))).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def jpeg_28(pixels: Pixels) -> Pixels:
    """Compress a thumbnail of 28 px at quality 50: blocks of 8 px leave little of it."""
    file = io.BytesIO()
    Image.fromarray(to_28(pixels)).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def crop(pixels: Pixels, cuts: NDArray[np.float64]) -> Pixels:
    height, width = pixels.shape[:2]
    left, top, right, bottom = cuts
    box = (left * width, top * height, width - right * width, height - bottom * height)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, box=box))


def gray(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).convert("L"))


_RNG = np.random.default_rng(0)
CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda pixels: pixels,
    "28 px": to_28,
    "JPEG 50": jpeg,
    "JPEG 50 at 28 px": jpeg_28,
    "crop 0-5 % a side": lambda pixels: crop(pixels, _RNG.uniform(0, 0.05, 4)),
    "crop 5 % at all sides": lambda pixels: crop(pixels, np.full(4, 0.05)),
    "gray": gray,
    "crop, JPEG 50, 28 px, gray": lambda p: gray(resize(jpeg(crop(p, _RNG.uniform(0, 0.05, 4))), 28)),
}


@dataclass(frozen=True)
class Half:
    """Best correlations and least distances of one half of a source: of copies per change, of non-copies."""

    copies: dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]
    others: tuple[NDArray[np.float32], NDArray[np.int64]]


def load(file: str, split: str) -> list[Pixels]:
    """Return up to MOST images with a non-zero hash, in random order, without byte-equal ones."""
    with np.load(Path(os.environ["MEDNET_BENCH_DATA"]) / file) as arrays:
        images = list({image.tobytes(): image for image in arrays[f"{split}_images"]}.values())
    shown = [image for image in images if perceptual_hash(image)]
    return [shown[place] for place in np.random.default_rng(1).permutation(len(shown))[:MOST]]


def score_half(images: list[Pixels]) -> Half:
    """Score planted copies of corpus images, and images that are not in the corpus."""
    corpus, others = images[::2], images[1::2]
    thumbnails = np.stack([alignment.thumbnail(image) for image in corpus])
    seen = near_duplicate_search.SeenImages("", perceptual_hashes(corpus), lambda rows: thumbnails[rows])
    planted = corpus[:PLANTED]
    copies = {
        name: best_scores([change(image) for image in planted], seen) for name, change in CHANGES.items()
    }
    return Half(copies, best_scores(others, seen))


def best_scores(
    images: list[Pixels], seen: near_duplicate_search.SeenImages
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return each image's best correlation with a candidate and its least hash distance."""
    stack = np.stack(images)
    hits = near_duplicate_search.nearest_candidates(stack, seen.hashes, 11, (WHOLE,))
    nearest = np.full(len(images), 64)
    np.minimum.at(nearest, hits.query, hits.distance)
    return near_duplicate_search.best_correlations(stack, seen), nearest


def threshold() -> None:
    """Print the rates of all thresholds on the first half, and of the chosen ones on the second."""
    halves: dict[str, tuple[Half, Half]] = {}
    for name, (file, split) in SOURCES.items():
        images = load(file, split)
        halves[name] = (score_half(images[: len(images) // 2]), score_half(images[len(images) // 2 :]))
        print(f"{name}: {len(images)} images", file=sys.stderr)
    judged = [name for name in halves if name not in REPEATED]
    print("| correlation | copies found | non-copies found | worst source |\n|---|---|---|---|")
    for least in (0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98):
        first = [halves[name][0] for name in judged]
        found = np.mean([np.mean(c[0] >= least) for each in first for c in each.copies.values()])
        false = [np.mean(each.others[0] >= least) for each in first]
        print(f"| {least} | {found:.1%} | {np.mean(false):.1%} | {max(false):.1%} |")
    print(
        "\n| differing bits, hash alone | copies found | non-copies found | worst source |\n|---|---|---|---|"
    )
    for most in range(6):
        first = [halves[name][0] for name in judged]
        found = np.mean([np.mean(c[1] <= most) for each in first for c in each.copies.values()])
        false = [np.mean(each.others[1] <= most) for each in first]
        print(f"| {most} | {found:.1%} | {np.mean(false):.1%} | {max(false):.1%} |")
    report({name: pair[1] for name, pair in halves.items()})
    pairs()


def report(second: dict[str, Half]) -> None:
    """Print recall by change and source, and the share of non-copies found, by pixels and by hash."""
    for title, rule in (
        ("pixels", lambda each: each[0] >= near_duplicate_search.CORRELATION),
        ("hash alone", lambda each: each[1] <= near_duplicate_search.ALONE),
    ):
        print(f"\n| {title} | " + " | ".join(second) + " |\n|---|" + "---|" * len(second))
        for change in CHANGES:
            cells = " | ".join(f"{np.mean(rule(each.copies[change])):.0%}" for each in second.values())
            print(f"| {change} | {cells} |")
        others = [rule(each.others) for each in second.values()]
        print("| **no copy** | " + " | ".join(f"{found.sum()} of {len(found)}" for found in others) + " |")
        clean = [name for name in second if name not in REPEATED]
        hits = sum(int(rule(second[name].copies[change]).sum()) for name in clean for change in CHANGES)
        planted = sum(len(second[name].copies[change][0]) for name in clean for change in CHANGES)
        wrong = sum(int(rule(second[name].others).sum()) for name in clean)
        number = sum(len(second[name].others[0]) for name in clean)
        print(
            f"\nOver all but {', '.join(REPEATED)}: recall {hits / planted:.1%} of {planted:,} copies, "
            f"{wrong} of {number:,} other images found ({wrong / number:.1%}), "
            f"precision {hits / (hits + wrong):.1%} at this mixture."
        )


def pairs() -> None:
    """Print how many of 10,000 random pairs of different images are called copies."""
    rng = np.random.default_rng(2)
    images = {name: load(*source) for name, source in SOURCES.items() if name not in REPEATED}
    found = {"within a source": [0, 0], "between sources": [0, 0]}
    for number in range(PAIRS):
        kind = ("within a source", "between sources")[number % 2]
        a, b = rng.choice(list(images), 2, replace=False)
        b = a if number % 2 == 0 else b
        one, two = rng.choice(len(images[a])), rng.choice(len(images[b]))
        if a == b and one == two:
            continue
        hashes = perceptual_hashes([images[b][two]])
        seen = near_duplicate_search.SeenImages(
            "", hashes, lambda rows, image=images[b][two]: alignment.thumbnail(image)[None]
        )
        found[kind][0] += bool(near_duplicate_search.has_near_duplicate(images[a][one][None], seen)[0])
        found[kind][1] += 1
    for kind, (wrong, number) in found.items():
        print(f"\nRandom pairs {kind}: {wrong} of {number:,} called copies.", end="")
    print()


def search(hashes: int, images: int) -> None:
    """Search random hashes with planted copies; print seconds and peak memory of this process."""
    rng = np.random.default_rng(0)
    known = rng.integers(1, 2**64, hashes, dtype=np.uint64)
    queries = rng.integers(1, 2**64, images * len(near_duplicate_search.CROPS), dtype=np.uint64)
    planted = np.arange(min(1000, images))
    bits = np.uint64(1) << rng.permuted(np.tile(np.arange(64, dtype=np.uint64), (len(planted), 1)), axis=1)
    queries[planted] = known[planted] ^ bits[:, : near_duplicate_search.RADIUS].sum(axis=1, dtype=np.uint64)
    started, used = time.perf_counter(), time.process_time()
    hits = HashIndex(known).nearest(queries, near_duplicate_search.RADIUS, near_duplicate_search.CANDIDATES)
    wall, used = time.perf_counter() - started, time.process_time() - used
    found = np.isin(planted, hits.query[hits.query == hits.row]).mean()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    print(f"{hashes:,} hashes, {images:,} images in {len(near_duplicate_search.CROPS)} crops: {wall:.1f} s")
    print(f"{used:.1f} s of one core, peak {peak:.0f} MiB")
    print(
        f"{found:.1%} of {len(planted)} planted copies, {near_duplicate_search.RADIUS} bits away, were found"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["threshold", "search"])
    parser.add_argument("--hashes", type=int, default=3_000_000)
    parser.add_argument("--images", type=int, default=20_000)
    given = parser.parse_args()
    threshold() if given.what == "threshold" else search(given.hashes, given.images)
