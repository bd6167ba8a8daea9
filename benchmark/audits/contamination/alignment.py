"""Whether two images that a hash finds alike are copies: the correlation of their details, crops allowed for.

Chest radiographs all look alike from afar, and so do retinas; what tells two of them apart is fine structure.
Each image is therefore reduced to 28 x 28 pixels of gray, its coarse part is taken away, and the correlation
is the best over 161 ways to crop the one or the other by up to 5 % per side. Reducing and blurring are sums
over rows and over columns, so that all crops of an image are two matrix products for each.
"""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ....tasks.images.perceptual_hash import luminance

_Floats = NDArray[np.float32]

THUMBNAIL_SIDE = 28
COARSE = 3.0
"""Standard deviation, in pixels of the thumbnail, of the blur that is the coarse part."""
_CUTS = (0.0, 0.025, 0.05)
"""What is tried to cut off at each side, as a share of it; the same, negative, where the other was cut."""
_WHOLE = ((0.0, 0.0),)

Cuts = tuple[tuple[float, float], ...]
"""Windows along one side: what is cut off at its begin and at its end."""


def thumbnail(pixels: NDArray[np.uint8]) -> _Floats:
    """Return the details of a whole image: [SIDE * SIDE]."""
    return _details(pixels, _WHOLE)[0]


def correlations(pixels: NDArray[np.uint8], thumbnails: _Floats) -> _Floats:
    """Return the best correlation of an image with each of some thumbnails: [n] from [n, SIDE * SIDE]."""
    best = np.full(len(thumbnails), -1.0, np.float32)
    squares = thumbnails * thumbnails
    for sign in (1, -1):
        cuts = tuple((sign * low, sign * high) for low, high in product(_CUTS, _CUTS))
        np.maximum(best, _best_window(_details(pixels, cuts), cuts, thumbnails, squares), out=best)
    return best


def plain_correlations(one: _Floats, other: _Floats) -> _Floats:
    """Return the correlation of each thumbnail with its counterpart: [n] from two [n, SIDE * SIDE]."""
    one, other = (each - each.mean(axis=1, keepdims=True) for each in (one, other))
    spread = np.einsum("np,np->n", one, one) * np.einsum("np,np->n", other, other)
    return np.einsum("np,np->n", one, other) / np.sqrt(np.maximum(spread, 1e-6))


def _best_window(ours: _Floats, cuts: Cuts, theirs: _Floats, squares: _Floats) -> _Floats:
    """Return [n]: the best correlation of each of `theirs` with `ours` [w, p], over the pixels inside.

    With m the mask: sum m a b - sum m a sum m b / sum m, over the roots of the same with a a and b b.
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
    """Return an image, cropped in each way, without what a blur leaves of it: [len(cuts)**2, SIDE * SIDE]."""
    gray = luminance(pixels).astype(np.float32)
    (down, blurred_down), (across, blurred_across) = (_reduction_weights(side, cuts) for side in gray.shape)
    fine = down @ gray @ across.T - blurred_down @ gray @ blurred_across.T
    parts = fine.reshape(len(cuts), THUMBNAIL_SIDE, len(cuts), THUMBNAIL_SIDE).transpose(0, 2, 1, 3)
    return parts.reshape(-1, THUMBNAIL_SIDE * THUMBNAIL_SIDE)


@lru_cache(maxsize=64)
def _reduction_weights(side: int, cuts: Cuts) -> tuple[_Floats, _Floats]:
    """Return twice [len(cuts) * SIDE, side]: what reduces `side` pixels in each window, and blurs it too."""
    from scipy.ndimage import gaussian_filter1d

    means = np.stack([_area_weights(side, *cut) for cut in cuts])
    blurred = gaussian_filter1d(means, COARSE, axis=1, mode="nearest")
    return means.reshape(-1, side).astype(np.float32), blurred.reshape(-1, side).astype(np.float32)


def _area_weights(side: int, low: float, high: float) -> NDArray[np.float64]:
    """Return [SIDE, side]: the weights of `side` pixels in each of SIDE equal parts of a window.

    Beyond the image its last pixels are repeated.
    """
    edges = np.linspace(low, 1 - high, THUMBNAIL_SIDE + 1)[:, None] * side
    left, right = np.arange(side, dtype=float), np.arange(1, side + 1, dtype=float)
    left[0], right[-1] = -np.inf, np.inf
    shared = np.minimum(edges[1:], right) - np.maximum(edges[:-1], left)
    return np.clip(shared, 0, None) / np.diff(edges, axis=0)


@lru_cache(maxsize=2)
def _window_masks(cuts: Cuts) -> tuple[_Floats, NDArray[np.intp]]:
    """Return masks [k, SIDE * SIDE], 1 where a part lies inside of the image, and [windows] which is whose.

    All crops have one in common, since they lie inside; wider windows have 16.
    """
    middles = (np.arange(THUMBNAIL_SIDE) + 0.5) / THUMBNAIL_SIDE
    at = np.stack([low + middles * (1 - low - high) for low, high in cuts])
    known = (at > 0) & (at < 1)
    inside = (known[:, None, :, None] & known[None, :, None, :]).reshape(-1, THUMBNAIL_SIDE * THUMBNAIL_SIDE)
    masks, which = np.unique(inside, axis=0, return_inverse=True)
    return masks.astype(np.float32), which.ravel()
