"""How many labels one init saves against another: where its learning curve reaches what the other has."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .influence import _Floats

INTERVAL_DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class SavedLabels:
    """With how many labels an init reaches what the reference has.

    Attributes:
        labels: of the reference.
        needed: labels with which the init reaches that score: infinite where it does not within what was
            measured, its smallest budget where it is there with that many "at most".
        low: lower end of the 95 % interval, to be read likewise.
        high: upper end, likewise.
        own: labels with which the reference itself has its score on its own curve, read likewise: fewer than
            `labels` where that curve is flat, which is no merit of the init.
    """

    labels: float
    needed: float
    low: float
    high: float
    own: float

    @property
    def share(self) -> float:
        """Labels that the init needs for each that the reference itself needs; below 1 saves labels."""
        return self.needed / self.own


def labels_needed(labels: _Floats, scores: _Floats, targets: _Floats) -> _Floats:
    """Return with how many labels a learning curve reaches each target.

    Between the budgets the curve is straight over the logarithm of the labels. More labels are not taken to
    harm: a curve that falls stays at the highest score so far. Nothing is extrapolated.

    Args:
        labels: [F] budgets, ascending.
        scores: [..., F] at these budgets.
        targets: [..., K].

    Returns:
        [..., K] labels; `labels[0]` where the smallest budget suffices, infinite where the largest does not.
    """
    risen = np.maximum.accumulate(scores, axis=-1)
    reached = risen[..., None, :] >= targets[..., None]
    after = reached.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    start, end = np.take_along_axis(risen, before, -1), np.take_along_axis(risen, after, -1)
    rise = np.where(after > before, end - start, 1.0)
    share = np.where(after > before, (targets - start) / np.where(rise > 0, rise, 1.0), 0.0)
    log = np.log(labels)
    needed = np.exp(log[before] + share * (log[after] - log[before]))
    needed = np.where(after > before, needed, labels[0])  # exactly, not by way of its logarithm
    return np.where(reached.any(axis=-1), needed, np.inf)


def labels_saved(
    labels: _Floats,
    scores: _Floats,
    influence: _Floats,
    rng: np.random.Generator,
    draws: int = INTERVAL_DRAWS,
) -> tuple[SavedLabels, ...]:
    """Compare a reference with an init, at every budget of the reference.

    The interval is that of curves drawn around the measured ones with the errors of both: other test images,
    which all points of both curves share, and other seeds, whose few degrees of freedom make the tails of a
    t distribution. In simulations with a known answer it holds that answer in about the share that
    docs/labels-saved.md states.

    Args:
        labels: [F] budgets, ascending, at least two.
        scores: [S, 2, F]: seeds, at least two; the reference, then the init; budgets.
        influence: [2, F, units] of the mean over seeds, see `influence`.
        rng: of the draws.
        draws: how many.

    Returns:
        One per budget of the reference.
    """
    seeds, _, budgets = scores.shape
    mean = scores.mean(axis=0)
    cells = influence.reshape(2 * budgets, -1)
    images = rng.multivariate_normal(np.zeros(2 * budgets), cells @ cells.T, draws, method="svd")
    apart = (scores - mean).reshape(seeds, -1) / np.sqrt(seeds * (seeds - 1))
    luck = rng.standard_normal((draws, seeds)) @ apart
    luck /= np.sqrt(rng.chisquare(seeds - 1, (draws, 1)) / (seeds - 1))
    drawn = mean + (images + luck).reshape(draws, 2, budgets)
    needed = labels_needed(labels, mean[1], mean[0])
    own = np.minimum(labels_needed(labels, mean[0], mean[0]), labels)
    around = labels_needed(labels, drawn[:, 1], drawn[:, 0])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(around, [tail, 1 - tail], axis=0, method="inverted_cdf")  # infinity sorts last
    return tuple(SavedLabels(*map(float, each)) for each in zip(labels, needed, low, high, own, strict=True))


def crossover(fractions: Sequence[float], differs: Sequence[bool]) -> float | None:
    """Return the smallest measured fraction from which on two inits no longer differ.

    Args:
        fractions: ascending.
        differs: whether a difference was shown at each.

    Returns:
        None where they still differ at the largest fraction.
    """
    last = max((place for place, here in enumerate(differs) if here), default=-1)
    return fractions[last + 1] if last + 1 < len(fractions) else None
