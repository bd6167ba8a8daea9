"""Whether two images that a hash finds alike are copies: the correlation of their details, crops allowed for.

Chest radiographs all look alike from afar, and so do retinas; what tells two of them apart is fine structure.
Each image is therefore reduced to 28 x 28 pixels of grey, its coarse part is taken away, and the correlation
is the best over 161 ways to crop the one or the other by up to 5 % per side.
"""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ...tasks.perceptual import luminance

Floats = NDArray[np.float32]

SIDE = 28
COARSE = 3.0
"""Standard deviation, in pixels of the thumbnail, of the blur that is the coarse part."""
_CUTS = (0.0, 0.025, 0.05)
"""What is tried to cut off at each side, as a share of it; the same, negative, where the other was cut."""


def thumbnail(pixels: NDArray[np.uint8]) -> Floats:
    """Return the details of a whole image: [SIDE * SIDE]."""
    grey = luminance(pixels)
    small = _means(grey.shape[0], 0.0, 0.0) @ grey @ _means(grey.shape[1], 0.0, 0.0).T
    return _details(small[None])[0]


def correlations(pixels: NDArray[np.uint8], thumbnails: Floats) -> Floats:
    """Return the best correlation of an image with each of some thumbnails: [n] from [n, SIDE * SIDE]."""
    grey = luminance(pixels)
    best = np.full(len(thumbnails), -1.0, np.float32)
    for sign in (1, -1):
        cuts = tuple(product((sign * cut for cut in _CUTS), repeat=2))
        down = np.stack([_means(grey.shape[0], *cut) for cut in cuts])
        across = np.stack([_means(grey.shape[1], *cut) for cut in cuts])
        small = np.einsum("asw,btw->abst", down @ grey, across, optimize=True).reshape(-1, SIDE, SIDE)
        np.maximum(best, _correlated(_details(small), _inside(cuts), thumbnails), out=best)
    return best


def _correlated(ours: Floats, inside: Floats, theirs: Floats) -> Floats:
    """Return [n]: the best correlation of each of `theirs` with `ours` [w, p], over the pixels inside [w, p].

    With m the mask: sum m a b - sum m a sum m b / sum m, over the roots of the same with a a and b b.
    """
    count = inside.sum(axis=1)
    own = ours * inside
    own_sum, own_square = own.sum(axis=1), (own * ours).sum(axis=1)
    their_sum, their_square = theirs @ inside.T, (theirs * theirs) @ inside.T
    shared = theirs @ own.T - their_sum * (own_sum / count)
    spread = (own_square - own_sum**2 / count) * (their_square - their_sum**2 / count)
    return (shared / np.sqrt(np.maximum(spread, 1e-6))).max(axis=1)


def _details(small: NDArray[np.float64]) -> Floats:
    """Return images [n, SIDE, SIDE] without what a blur leaves of them: [n, SIDE * SIDE]."""
    from scipy.ndimage import gaussian_filter

    fine = small - gaussian_filter(small, (0, COARSE, COARSE), mode="nearest")
    return fine.reshape(len(small), -1).astype(np.float32)


@lru_cache(maxsize=1024)
def _means(side: int, low: float, high: float) -> NDArray[np.float64]:
    """Return [SIDE, side]: the weights of `side` pixels in each of SIDE equal parts of a window.

    Beyond the image its last pixels are repeated.
    """
    edges = np.linspace(low, 1 - high, SIDE + 1)[:, None] * side
    left, right = np.arange(side, dtype=float), np.arange(1, side + 1, dtype=float)
    left[0], right[-1] = -np.inf, np.inf
    shared = np.minimum(edges[1:], right) - np.maximum(edges[:-1], left)
    return np.clip(shared, 0, None) / np.diff(edges, axis=0)


@lru_cache(maxsize=2)
def _inside(cuts: tuple[tuple[float, float], ...]) -> Floats:
    """Return [windows, SIDE * SIDE]: 1 where a part of the window lies inside of the image, else 0."""
    middles = (np.arange(SIDE) + 0.5) / SIDE
    at = np.stack([low + middles * (1 - low - high) for low, high in cuts])
    known = (at > 0) & (at < 1)
    return (known[:, None, :, None] & known[None, :, None, :]).reshape(-1, SIDE * SIDE).astype(np.float32)
