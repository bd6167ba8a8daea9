"""What a pretraining learns from: sources with their labels, and where the pixels of their rows come from."""

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
"""Share of a source's images kept back to score the network on."""
HELD_OUT_MOST = 256
"""And the largest number of them: enough for an AUC, and little to wait for."""


@dataclass(frozen=True, eq=False)
class SourcePool:
    """One source of a pretraining.

    Attributes:
        name: of the source, as in every table.
        kind: multiclass, multilabel, ordinal or binary.
        classes: names in label order; as many outputs has its head.
        flips: whether (left-right, upside-down) mirroring leaves its images plausible.
        labels: int [n] class indices, or [n, classes] of 0 and 1 for multilabel.
        train: rows in 0..n-1 to train on.
        held_out: rows kept back to score on; no group has images in both.
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
    """How a loader shall show the images of a corpus.

    Attributes:
        side: in pixels of the square that is yielded.
        interpolation: how images are brought to it, as the input contract says.
        device: where the batches shall be, as torch calls it.
        workers: processes that decode.
        leave_out: names of sources that shall not be read at all.
        seed: draws the held-out images, by `hold_out`.
    """

    side: int
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    device: str = "cpu"
    workers: int = 1
    leave_out: frozenset[str] = field(default_factory=frozenset)
    seed: int = 0


class ImageLoader(Protocol):
    """Where pixels come from. Rows are numbered over all pools: `starts` of the pool plus its own row."""

    def batches(self, rows: Iterable[_Rows]) -> "Generator[Tensor]":
        """Yield the images of each array of rows, in order, uint8 [b, 3 or 1, side, side] on the device.

        May be called again, and for another purpose, while an earlier iterator is still in use. `rows` may
        be read ahead of what is yielded. Closing the iterator lets go of what reads ahead for it.
        """
        ...


def pool_starts(pools: Sequence[SourcePool]) -> _Rows:
    """Return the number of the first row of each pool, and of the row after the last: [pools + 1]."""
    return np.cumsum([0, *(len(pool.labels) for pool in pools)])


def hold_out(count: int, groups: _Rows | None, rng: np.random.Generator) -> tuple[_Rows, _Rows]:
    """Split the rows of a source into those to train on and those to score on, both ascending.

    Groups join the held-out rows whole and in random order, as long as they fit into `HELD_OUT` of the
    images and into `HELD_OUT_MOST`; a source of one large group has none.

    Args:
        count: images of the source.
        groups: [count] patients, smears, ...; -1 where an image stands for itself. None: all do.
        rng: draws the order.
    """
    wanted = min(HELD_OUT_MOST, round(count * HELD_OUT))
    keys = np.full(count, NO_GROUP, np.int64) if groups is None else groups.astype(np.int64)
    alone = keys == NO_GROUP
    _, known = np.unique(keys[~alone], return_inverse=True)
    number = np.empty(count, np.int64)
    number[~alone] = known
    number[alone] = np.arange(alone.sum()) + (known.max(initial=-1) + 1)
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
