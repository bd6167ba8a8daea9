"""Pictures that are generated, always the same, and shaped like real ones: what a network is tried with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PROBE_SEED = 20211012
"""Changing it, or anything in `pictures`, changes every fingerprint that a card holds."""


@lru_cache(maxsize=4)
def probe_images(count: int, side: int) -> NDArray[np.uint8]:
    """Return colored pictures with the statistics of photographs, uint8 [count, 3, side, side].

    Their power falls with the square of the frequency (Field 1987), one bright plane is shared by the
    channels and weak color lies over it, and shaded discs give them edges. Each is stretched to use
    most of the range, as a picture from a camera does. Computed by numpy on the CPU, so that every
    machine draws the same.
    """
    rng = np.random.default_rng(PROBE_SEED)
    return np.stack([_picture(rng, side) for _ in range(count)])


def _picture(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Draw one picture [3, side, side]; outdoors is warm below and blue above more often than not."""
    light = _cloud(rng, side) + _discs(rng, side)
    height = np.linspace(1, -1, side)[:, None]  # 1 is the top row
    warm = 0.25 * _cloud(rng, side) - 0.35 * height
    green = 0.15 * _cloud(rng, side)
    planes = np.stack([light + warm, light + green, light - warm])
    low, high = np.percentile(planes, [2, 98])
    brightness = rng.uniform(0.85, 1.0)
    return (255 * brightness * np.clip((planes - low) / (high - low), 0, 1)).astype(np.uint8)


def _cloud(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Draw noise [side, side] whose amplitude falls as 1/frequency; mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) * side
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / np.maximum(frequency, 1)
    spectrum[0, 0] = 0
    cloud = np.fft.irfft2(spectrum, (side, side))
    return cloud / cloud.std()


def _discs(rng: np.random.Generator, side: int, most: int = 6) -> NDArray[np.float64]:
    """Draw discs of one light each, [side, side]: the edges that noise lacks."""
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    plane = np.zeros((side, side))
    for _ in range(rng.integers(2, most)):
        row, column, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.35)
        plane[(y - row) ** 2 + (x - column) ** 2 < radius**2] += rng.normal(0, 1)
    return plane
