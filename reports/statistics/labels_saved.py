"""Labels saved: the budget at which one init reaches the score of another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .influence import _Floats

INTERVAL_DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class SavedLabels:
    """Labels with which an init reaches the reference's score at one budget.

    Attributes:
        labels: budget of the reference.
        needed: labels that the init needs: infinite where it does not reach the score at any measured
            budget; its smallest budget means "at most".
        low: lower end of the 95 % interval of `needed`, with the same two limits.
        high: upper end.
        own: labels at which the reference reaches this score on its own curve: fewer than `labels` where that
            curve is flat, which is no merit of the init.
    """

    labels: float
    needed: float
    low: float
    high: float
    own: float

    @property
    def share(self) -> float:
        """Labels that the init needs per label that the reference needs; below 1 saves labels."""
        return self.needed / self.own


def labels_needed(labels: _Floats, scores: _Floats, targets: _Floats) -> _Floats:
    """Return the number of labels at which a learning curve reaches each target.

    The curve is interpolated linearly over the logarithm of the labels, never extrapolated. A curve that
    falls stays at its highest score so far: more labels are assumed not to harm.

    Args:
        labels: [F] budgets, ascending.
        scores: [..., F] at these budgets.
        targets: [..., K] scores to reach.

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
    needed = np.where(after > before, needed, labels[0])  # exact: exp(log(x)) rounds
    return np.where(reached.any(axis=-1), needed, np.inf)


def labels_saved(
    labels: _Floats,
    scores: _Floats,
    influence: _Floats,
    rng: np.random.Generator,
    draws: int = INTERVAL_DRAWS,
) -> tuple[SavedLabels, ...]:
    """Compare a reference with an init, at every budget of the reference.

    The interval comes from curves drawn around the measured ones with two errors: test images, which all
    points of both curves share, and seeds, with the t distribution of their few degrees of freedom.
    docs/labels-saved.md states its coverage in simulations.

    Args:
        labels: [F] budgets, ascending, at least two.
        scores: [S, 2, F]: at least two seeds; reference, then init; budgets.
        influence: [2, F, units], mean over seeds.
        rng: random numbers.
        draws: number of curves to draw.

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
    """Return the smallest measured fraction above which two inits no longer differ.

    Args:
        fractions: ascending.
        differs: whether a difference was shown at each fraction.

    Returns:
        None where they still differ at the largest fraction.
    """
    last = max((place for place, here in enumerate(differs) if here), default=-1)
    return fractions[last + 1] if last + 1 < len(fractions) else None
