"""Order of an epoch over a large source: random enough to train, with few seeks on the disk."""

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024
"""Neighboring rows that are read together: at 224 px some 20 MB of a shard."""
WINDOW = 32
"""Blocks whose rows are shuffled together: they should fit the file system's cache."""


def block_shuffle(
    rows: NDArray[np.int64], seed: int, epoch: int, block: int = BLOCK, window: int = WINDOW
) -> NDArray[np.int64]:
    """Return `rows` [n], given in the order of the disk, in the order of an epoch (from 0).

    A pure function of its arguments. Blocks of `block` neighbors are put in random order; the rows of each
    `window` blocks are then shuffled. At most `block * window` rows get a plain permutation.
    """
    rng = np.random.default_rng([seed, epoch])
    if len(rows) <= block * window:
        return rng.permutation(rows)
    starts = rng.permutation(np.arange(0, len(rows), block))
    order = [rows[start : start + block] for start in starts]
    return np.concatenate(
        [rng.permutation(np.concatenate(order[at : at + window])) for at in range(0, len(order), window)]
    )
