"""Mean, standard deviation and range of repeated values, alone or by group."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MetricStat:
    """Summary of repeated values; NaN where undefined.

    Attributes:
        mean: arithmetic mean of the defined values.
        sd: sample standard deviation (divided by ``n - 1``); NaN for fewer than two values.
        n: number of defined values.
        low: smallest defined value.
        high: largest defined value.
    """

    mean: float
    sd: float
    n: int
    low: float
    high: float

    @property
    def band(self) -> tuple[float, float]:
        """Band (lower, upper) for figures: mean -+ sd, or the range for fewer than three values."""
        if self.n < 3:
            return self.low, self.high
        return self.mean - self.sd, self.mean + self.sd


def describe_values(values: _Floats) -> MetricStat:
    """Summarize `values` of any shape; NaN counts as undefined."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return describe_groups(flat, np.zeros(flat.size, dtype=np.intp), 1)[0]


def describe_groups(values: _Floats, groups: NDArray[np.intp], count: int) -> list[MetricStat]:
    """Summarize every group of `values` in two passes over the whole array.

    Args:
        values: [m]; NaN counts as undefined.
        groups: [m] index of each value's group, ``0..count-1``.
        count: number of groups; a group may be empty.

    Returns:
        One `MetricStat` per group, by index.
    """
    defined = ~np.isnan(values)
    x, g = values[defined], groups[defined]
    n = np.bincount(g, minlength=count)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, g, x)
    np.maximum.at(high, g, x)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 gives the NaN of an empty group
        mean = np.bincount(g, weights=x, minlength=count) / n
        squares = np.bincount(g, weights=(x - mean[g]) ** 2, minlength=count)
        sd = np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)
    low, high = np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)
    return [MetricStat(*row) for row in zip(*(a.tolist() for a in (mean, sd, n, low, high)), strict=True)]
