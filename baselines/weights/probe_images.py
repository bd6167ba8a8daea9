"""Generated images with the statistics of photographs, on which networks are probed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PROBE_SEED = 20211012
"""A change of it, or of `probe_images`, invalidates the fingerprints of all cards."""


def probes_for(channels: str, count: int, side: int) -> NDArray[np.uint8]:
    """Return probe images for a network: [count, 1, side, side] if its `channels` are "gray", else color."""
    color = probe_images(count, side)
    return color.mean(axis=1, keepdims=True).astype(np.uint8) if channels == "gray" else color


@lru_cache(maxsize=4)
def probe_images(count: int, side: int) -> NDArray[np.uint8]:
    """Return color images with the statistics of photographs, uint8 [count, 3, side, side].

    Their power falls with the square of the frequency (Field 1987), the channels share one bright plane and
    differ by weak colors, discs add edges, and each image is stretched to most of the range. NumPy computes
    them on the CPU, so that every machine draws the same.
    """
    rng = np.random.default_rng(PROBE_SEED)
    return np.stack([_picture(rng, side) for _ in range(count)])


def _picture(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Draw one image [3, side, side], warmer at the bottom and bluer at the top, as outdoors."""
    light = _cloud(rng, side) + _discs(rng, side)
    height = np.linspace(1, -1, side)[:, None]  # 1 is the top row
    warm = 0.25 * _cloud(rng, side) - 0.35 * height
    green = 0.15 * _cloud(rng, side)
    planes = np.stack([light + warm, light + green, light - warm])
    low, high = np.percentile(planes, [2, 98])
    brightness = rng.uniform(0.85, 1.0)
    return (255 * brightness * np.clip((planes - low) / (high - low), 0, 1)).astype(np.uint8)


def _cloud(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Draw noise [side, side] of mean 0 and deviation 1 with amplitude 1/frequency."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) * side
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / np.maximum(frequency, 1)
    spectrum[0, 0] = 0
    cloud = np.fft.irfft2(spectrum, (side, side))
    return cloud / cloud.std()


def _discs(rng: np.random.Generator, side: int, most: int = 6) -> NDArray[np.float64]:
    """Draw discs of constant brightness, [side, side]: the edges that noise lacks."""
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    plane = np.zeros((side, side))
    for _ in range(rng.integers(2, most)):
        row, column, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.35)
        plane[(y - row) ** 2 + (x - column) ** 2 < radius**2] += rng.normal(0, 1)
    return plane
