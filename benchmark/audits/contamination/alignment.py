"""Correlation of the details of two images, over crops, to confirm that they are copies.

Chest radiographs, or retinas, differ in fine structure only. Each image is therefore reduced to 28 x 28 gray
pixels, its coarse part (a blur) is subtracted, and the correlation is the best of 161 crops of one or the
other by up to 5 % per side. Reduction and blur are separable, so that all crops take two matrix products.
"""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ....tasks.images.perceptual_hash import luminance

_Floats = NDArray[np.float32]

THUMBNAIL_SIDE = 28
COARSE = 3.0
"""Standard deviation of the blur that is subtracted, in pixels of the thumbnail."""
_CUTS = (0.0, 0.025, 0.05)
"""Crops of each side, as a share of it; negative for crops of the other image."""
_WHOLE = ((0.0, 0.0),)

Cuts = tuple[tuple[float, float], ...]
"""Windows along one axis: shares that are cut off at its start and end."""


def thumbnail(pixels: NDArray[np.uint8]) -> _Floats:
    """Return the details of an uncropped image: [THUMBNAIL_SIDE ** 2]."""
    return _details(pixels, _WHOLE)[0]


def correlations(pixels: NDArray[np.uint8], thumbnails: _Floats) -> _Floats:
    """Return an image's best correlation with each thumbnail: [n] from [n, THUMBNAIL_SIDE ** 2]."""
    best = np.full(len(thumbnails), -1.0, np.float32)
    squares = thumbnails * thumbnails
    for sign in (1, -1):
        cuts = tuple((sign * low, sign * high) for low, high in product(_CUTS, _CUTS))
        np.maximum(best, _best_window(_details(pixels, cuts), cuts, thumbnails, squares), out=best)
    return best


def plain_correlations(one: _Floats, other: _Floats) -> _Floats:
    """Return the correlation of each pair of thumbnails: [n] from two [n, THUMBNAIL_SIDE ** 2]."""
    one, other = (each - each.mean(axis=1, keepdims=True) for each in (one, other))
    spread = np.einsum("np,np->n", one, one) * np.einsum("np,np->n", other, other)
    return np.einsum("np,np->n", one, other) / np.sqrt(np.maximum(spread, 1e-6))


def _best_window(ours: _Floats, cuts: Cuts, theirs: _Floats, squares: _Floats) -> _Floats:
    """Return the best correlation of each of `theirs` [n, p] with windows `ours` [w, p]: [n].

    Only pixels inside count: with mask m, the covariance is sum(m a b) - sum(m a) sum(m b) / sum(m).
    """
    masks, which = _window_masks(cuts)
    inside = masks[which]
    count = inside.sum(axis=1)
    own = ours * inside
    own_sum, own_square = own.sum(axis=1), np.einsum("wp,wp->w", own, own)
    their_sum, their_square = (theirs @ masks.T)[:, which], (squares @ masks.T)[:, which]
    shared = theirs @ own.T - their_sum * (own_sum / count)
    spread = (own_square - own_sum**2 / count) * (their_square - their_sum**2 / count)
    return (shared / np.sqrt(np.maximum(spread, 1e-6))).max(axis=1)


def _details(pixels: NDArray[np.uint8], cuts: Cuts) -> _Floats:
    """Return every crop of an image minus its blur: [len(cuts) ** 2, THUMBNAIL_SIDE ** 2]."""
    gray = luminance(pixels).astype(np.float32)
    (down, blurred_down), (across, blurred_across) = (_reduction_weights(side, cuts) for side in gray.shape)
    fine = down @ gray @ across.T - blurred_down @ gray @ blurred_across.T
    parts = fine.reshape(len(cuts), THUMBNAIL_SIDE, len(cuts), THUMBNAIL_SIDE).transpose(0, 2, 1, 3)
    return parts.reshape(-1, THUMBNAIL_SIDE * THUMBNAIL_SIDE)


@lru_cache(maxsize=64)
def _reduction_weights(side: int, cuts: Cuts) -> tuple[_Floats, _Floats]:
    """Return the reduction of each window, and with blur: [len(cuts) * THUMBNAIL_SIDE, side]."""
    means = np.stack([_area_weights(side, *cut) for cut in cuts])
    blurred = gaussian_filter1d(means, COARSE, axis=1, mode="nearest")
    return means.reshape(-1, side).astype(np.float32), blurred.reshape(-1, side).astype(np.float32)


def _area_weights(side: int, low: float, high: float) -> NDArray[np.float64]:
    """Return the weights of `side` pixels in each part of a window: [THUMBNAIL_SIDE, side].

    Outside the image its border pixels are repeated.
    """
    edges = np.linspace(low, 1 - high, THUMBNAIL_SIDE + 1)[:, None] * side
    left, right = np.arange(side, dtype=float), np.arange(1, side + 1, dtype=float)
    left[0], right[-1] = -np.inf, np.inf
    shared = np.minimum(edges[1:], right) - np.maximum(edges[:-1], left)
    return np.clip(shared, 0, None) / np.diff(edges, axis=0)


@lru_cache(maxsize=2)
def _window_masks(cuts: Cuts) -> tuple[_Floats, NDArray[np.intp]]:
    """Return masks [k, THUMBNAIL_SIDE ** 2], 1 inside the image, and each window's mask number.

    All crops share one mask, since they lie inside; wider windows have 16.
    """
    middles = (np.arange(THUMBNAIL_SIDE) + 0.5) / THUMBNAIL_SIDE
    at = np.stack([low + middles * (1 - low - high) for low, high in cuts])
    known = (at > 0) & (at < 1)
    inside = (known[:, None, :, None] & known[None, :, None, :]).reshape(-1, THUMBNAIL_SIDE * THUMBNAIL_SIDE)
    masks, which = np.unique(inside, axis=0, return_inverse=True)
    return masks.astype(np.float32), which.ravel()
