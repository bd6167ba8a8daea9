"""Sets of labels and groups without images, light enough to import in another process."""

import numpy as np
from numpy.typing import NDArray

from mednet_bench.tasks.task import Split


def labeled(labels: list[int] | NDArray[np.int64], groups: NDArray[np.int64] | None = None) -> Split:
    """Make a split whose images are empty."""
    values = np.asarray(labels, np.int64)
    return Split(np.zeros((len(values), 1, 1), np.uint8), values, groups)


def imbalanced(n: int, seed: int = 0) -> NDArray[np.int64]:
    """Labels of five classes, the rarest with about 3 %."""
    return np.random.default_rng(seed).choice(5, size=n, p=[0.5, 0.25, 0.15, 0.07, 0.03])


def families(n: int, seed: int) -> NDArray[np.int64]:
    """Groups of one to six images each, under arbitrary numbers."""
    sizes = np.random.default_rng(seed).integers(1, 7, n)
    return 1000 + 7 * np.repeat(np.arange(n), sizes)[:n]


def findings(n: int, seed: int = 0) -> NDArray[np.int64]:
    """Multilabel: a common, a middling and a rare finding; most images have none."""
    return (np.random.default_rng(seed).random((n, 3)) < [0.3, 0.1, 0.02]).astype(np.int64)


SETS = {
    "single label": (labeled(imbalanced(700)), labeled(imbalanced(150, seed=1))),
    "groups": (labeled(imbalanced(700), families(700, 2)), labeled(imbalanced(150, 1), families(150, 3))),
    "multilabel": (labeled(findings(700)), labeled(findings(150, 1))),
    "multilabel groups": (
        labeled(findings(700), families(700, 2)),
        labeled(findings(150, 1), families(150, 3)),
    ),
}

FRACTIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
