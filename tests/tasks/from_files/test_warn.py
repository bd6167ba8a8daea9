"""Differences of images in size, proportions, color or window are reported, and nothing else."""

import pytest

from mednet_bench.tasks.from_files.warnings import split_differences
from mednet_bench.tasks.task import Variant

ALIKE = {("pixels", "512 x 512"): 9, ("color", "gray"): 9, ("window", "header: 40, 400 LINEAR"): 9}


@pytest.mark.parametrize(
    ("facts", "variant", "words"),
    [
        ({}, "gray", []),
        ({("window", "header: 50, 350 LINEAR"): 2}, "gray", []),
        ({("pixels", "256 x 256"): 2}, "gray", ["2 sizes: sharpness may"]),
        ({("pixels", "512 x 400"): 2}, "gray", ["2 sizes and proportions from 1.00 to 1.28: sharpness and"]),
        ({("pixels", "64 x 60"): 2}, "gray", ["2 sizes", "2 images are smaller than 224 pixels"]),
        ({("color", "RGB"): 3}, "gray", ["3 of 12 images are in color and become gray"]),
        ({("color", "RGB"): 3}, "color", ["9 of 12 images are gray in a task of color, which alone may"]),
        ({}, "color", ["9 of 9 images are gray in a task of color, where variant"]),
        ({("window", "percentiles"): 3}, "gray", ["windows come from header and percentiles"]),
    ],
)
def test_differences_are_reported(
    facts: dict[tuple[str, str], int], variant: Variant, words: list[str]
) -> None:
    found = split_differences({**ALIKE, **facts}, variant, 224)
    assert all(word in clause for word, clause in zip(words, found, strict=True))
