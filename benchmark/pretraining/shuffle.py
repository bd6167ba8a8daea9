"""The order in which an epoch reads a large source: random enough to train, and near to the disk's own."""

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024
"""Neighbors that stay together until the last step: at 224 px some 20 MB of a shard."""
WINDOW = 32
"""Blocks that are mixed with one another: what a file system's cache should hold."""


def block_shuffle(
    rows: NDArray[np.int64], seed: int, epoch: int, block: int = BLOCK, window: int = WINDOW
) -> NDArray[np.int64]:
    """Return `rows` in the order of an epoch, a pure function of the arguments.

    Blocks of neighbors are drawn in random order; the rows of each `window` blocks are then shuffled among
    themselves. A source of at most `block * window` rows gets a plain permutation.

    Args:
        rows: in the order of the disk, [n].
        seed: of the pretraining, not negative.
        epoch: pass over this source, from 0.
        block: rows that lie side by side on the disk.
        window: blocks that are mixed.
    """
    rng = np.random.default_rng([seed, epoch])
    if len(rows) <= block * window:
        return rng.permutation(rows)
    starts = rng.permutation(np.arange(0, len(rows), block))
    order = [rows[start : start + block] for start in starts]
    return np.concatenate(
        [rng.permutation(np.concatenate(order[at : at + window])) for at in range(0, len(order), window)]
    )
