"""Sources of a pretraining with their labels, and the interface of loaders of their images."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ...tasks.pseudonymize import NO_GROUP

if TYPE_CHECKING:
    from torch import Tensor

_Rows = NDArray[np.int64]

HELD_OUT = 0.05
"""Share of a source's images that is held out to score the network."""
HELD_OUT_MOST = 256
"""Largest number of held-out images: enough for an AUC, and fast."""


@dataclass(frozen=True, eq=False)
class SourcePool:
    """One source of a pretraining.

    Attributes:
        kind: multiclass, multilabel, ordinal or binary.
        classes: names in label order, one per output of its head; empty where images have no labels.
        flips: whether (left-right, upside-down) mirroring leaves its images plausible.
        labels: int [n] class indices, or [n, classes] of 0 and 1 for multilabel; any values without classes.
        train: rows in 0..n-1 to train on.
        held_out: rows to score on; no group has images in both.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    flips: tuple[bool, bool]
    labels: NDArray[Any]
    train: _Rows
    held_out: _Rows


@dataclass(frozen=True)
class LoaderConfig:
    """Configuration of a loader of a corpus.

    Attributes:
        side: of the square images that are yielded, in pixels.
        interpolation: of the resizing, as in the input specification.
        seed: of the choice of held-out images, see `hold_out`.
        unlabeled: whether to read sources without labels.
    """

    side: int
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    device: str = "cpu"
    workers: int = 1
    leave_out: frozenset[str] = field(default_factory=frozenset)
    seed: int = 0
    unlabeled: bool = False


class ImageLoader(Protocol):
    """Yields batches of pixels; a row's number is its pool's start plus the row in the pool."""

    def batches(self, rows: Iterable[_Rows]) -> "Generator[Tensor]":
        """Yield the images of each array of rows, uint8 [b, 3 or 1, side, side] on the device.

        May be called again while an earlier iterator is in use. `rows` may be read ahead of the yielded
        batches. Closing the iterator releases its workers.
        """
        ...


def pool_starts(pools: Sequence[SourcePool]) -> _Rows:
    """Return the first row of each pool, and the number of all rows: [pools + 1]."""
    return np.cumsum([0, *(len(pool.labels) for pool in pools)])


def held_out_most(count: int) -> int:
    """Return how many of a source's images `hold_out` holds out, fewer where groups do not fit."""
    return min(HELD_OUT_MOST, round(count * HELD_OUT))


def hold_out(count: int, groups: _Rows | None, rng: np.random.Generator) -> tuple[_Rows, _Rows]:
    """Split the rows of a source into rows to train on and held-out rows, both ascending.

    Whole groups are held out in random order, as long as they fit into `HELD_OUT` of the images and into
    `HELD_OUT_MOST`; a source of one large group has no held-out rows.

    Args:
        count: images of the source.
        groups: [count] patients, smears, ...; -1 is an image without a group. None: no image has one.
    """
    wanted = held_out_most(count)
    number = group_numbers(np.full(count, NO_GROUP, np.int64) if groups is None else groups)
    sizes = np.bincount(number)
    chosen = np.zeros(len(sizes), bool)
    taken = 0
    for group in rng.permutation(len(sizes)).tolist():
        if taken == wanted:
            break
        if taken + sizes[group] <= wanted:
            chosen[group] = True
            taken += int(sizes[group])
    held_out = chosen[number] if count else np.zeros(0, bool)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def group_numbers(groups: _Rows) -> _Rows:
    """Number the groups [count] from 0; every image without one (-1) is a group of its own."""
    keys = groups.astype(np.int64)
    alone = keys == NO_GROUP
    _, known = np.unique(keys[~alone], return_inverse=True)
    number = np.empty(len(keys), np.int64)
    number[~alone] = known
    number[alone] = np.arange(alone.sum()) + (known.max(initial=-1) + 1)
    return number
