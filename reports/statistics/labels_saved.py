"""Labels saved: the budget at which one init reaches the score of another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .influence import _Floats

ESTIMATE_BUDGETS = 3
"""Fewest budgets for an estimate. Between two a curve may bend anywhere: on power laws with budgets of 10 %
and 100 % the straight line gave 364 labels instead of 273, so that only bounds are given."""
INTERVAL_DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class SavedLabels:
    """Labels with which an init reaches the reference's score at one budget.

    Attributes:
        labels: budget of the reference.
        needed: labels that the init needs: infinite where it does not reach the score at any measured
            budget; its smallest budget means "at most". With fewer than `ESTIMATE_BUDGETS` budgets an upper
            bound: the smallest budget that reaches the score.
        low: lower end of the 95 % interval of `needed`, with the same two limits.
        high: upper end.
        own: labels at which the reference reaches this score on its own curve: fewer than `labels` where that
            curve is flat, which is no merit of the init.
        least: lower bound where `needed` is an upper bound, infinite where it is an estimate.
    """

    labels: float
    needed: float
    low: float
    high: float
    own: float
    least: float = math.inf

    @property
    def bounded(self) -> bool:
        """Whether `needed` and `least` are bounds, not an estimate."""
        return self.least < self.needed

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


def fewest_needed(labels: _Floats, scores: _Floats, targets: _Floats) -> _Floats:
    """Return a lower bound of `labels_needed` for curves that are concave over the logarithm of the labels.

    Such a curve, for example a power law, is above the straight line between two budgets and below the
    extended lines through the two budgets before and the two after. Where these do not rise, that says
    nothing.

    Args:
        labels: as for `labels_needed`; likewise the others and the result.
    """
    risen, log = np.maximum.accumulate(scores, axis=-1), np.log(labels)
    last = len(labels) - 1
    slope = np.diff(risen, axis=-1) / np.diff(log)
    reached = risen[..., None, :] >= targets[..., None]
    after = reached.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    bounds = [log[before]]
    for anchor, steep, known in (
        (before, np.maximum(before - 1, 0), before > 0),
        (after, np.minimum(after, last - 1), after < last),
    ):
        rate = np.take_along_axis(slope, steep, -1)
        to_go = targets - np.take_along_axis(risen, anchor, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            bounds.append(np.where(known & (rate > 0), log[anchor] + to_go / rate, -np.inf))
    bound = np.exp(np.minimum(np.max(bounds, axis=0), log[-1]))
    fewest = np.minimum(bound, labels_needed(labels, scores, targets))
    return np.where(reached.any(axis=-1), np.maximum(fewest, labels[0]), np.inf)


def bracket_needed(labels: _Floats, scores: _Floats, targets: _Floats) -> tuple[_Floats, _Floats]:
    """Return the measured budgets between which a learning curve reaches each target, [..., K] each.

    As `labels_needed`, without interpolation: infinite twice where the largest budget does not reach it.
    """
    needed = labels_needed(labels, scores, targets)
    above = labels[np.minimum(labels.searchsorted(needed * (1 - 1e-9)), len(labels) - 1)]
    below = labels[np.maximum(labels.searchsorted(above) - 1, 0)]
    reached = np.isfinite(needed)
    return np.where(reached, below, np.inf), np.where(reached, above, np.inf)


def labels_saved(
    labels: _Floats,
    scores: _Floats,
    influence: _Floats,
    rng: np.random.Generator,
    draws: int = INTERVAL_DRAWS,
) -> tuple[SavedLabels, ...]:
    """Compare a reference with an init, at every budget of the reference.

    The interval comes from curves drawn around the measured ones with two errors: test images, which all
    points of both curves share, and seeds, with the t distribution of their few degrees of freedom. Its lower
    end allows for what the straight line between two budgets hides, see `fewest_needed`.
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
    below, above, least = fewest_needed(labels, drawn[:, 1], drawn[:, 0]), around, np.full(budgets, np.inf)
    if budgets < ESTIMATE_BUDGETS:
        below, above = bracket_needed(labels, drawn[:, 1], drawn[:, 0])
        least, needed = bracket_needed(labels, mean[1], mean[0])
    tail = (1 - LEVEL) / 2
    low = np.quantile(below, tail, axis=0, method="inverted_cdf")  # infinity sorts last
    high = np.quantile(above, 1 - tail, axis=0, method="inverted_cdf")
    rows = zip(labels, needed, low, high, own, least, strict=True)
    return tuple(SavedLabels(*map(float, each)) for each in rows)


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
