"""Saturating power law of a score over a number of images: fit, prediction, and when there is none.

The form ``score = a - b * n ** -c`` is that of Hestness et al. 2017 (arXiv 1712.00409) with a limit, as in
Rosenfeld et al. 2020 (ICLR, arXiv 1909.12673).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .influence import _Floats
from .paired import ALPHA, t_quantile

PARAMETERS = 3
FEWEST_SIZES = 5
"""Fewest different sizes for a fit: two more than parameters."""
EXPONENTS = np.geomspace(0.02, 5, 500)
"""Exponents c that are tried. Below, the law is a logarithm; above, a step."""
HORIZON = 10.0
"""Multiple of the largest size at which a prediction must still say something."""
SEARCHED = 1000.0
"""Largest multiple of the largest size at which a score is searched."""
NORMAL = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True)
class SizeNeeded:
    """Number of images at which a curve reaches a score.

    Attributes:
        estimate: infinite where the fitted curve does not reach it within `SEARCHED`; the smallest measured
            size means "at most".
        low: lower end of the 95 % interval, with the same two limits.
        high: upper end.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """Least-squares fit of ``score = a - b * n ** -c`` with errors of one unknown size.

    Every interval is that of the profile likelihood: all exponents, with the best a and b for each, whose sum
    of squares is not larger than the smallest by more than Student's quantile for `freedom` allows. So the
    uncertainty of the exponent is part of every prediction.

    Attributes:
        sizes: [K], ascending; at least one size may occur twice.
        scores: [K]; higher is better.
    """

    sizes: _Floats
    scores: _Floats

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the residuals."""
        return len(self.sizes) - PARAMETERS

    @cached_property
    def _powers(self) -> _Floats:
        """Return ``(n / n_0) ** -c`` [exponents, K] of the smallest size n_0."""
        return (self.sizes / self.sizes[0]) ** -EXPONENTS[:, None]

    @cached_property
    def _spread(self) -> _Floats:
        """Return the sum of squares of the powers around their mean, [exponents]."""
        return ((self._powers - self._powers.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)

    @cached_property
    def _slopes(self) -> _Floats:
        """Return the best ``-b * n_0 ** -c`` of each exponent, [exponents]."""
        away = self._powers - self._powers.mean(axis=1, keepdims=True)
        return away @ (self.scores - self.scores.mean()) / self._spread

    @cached_property
    def squares(self) -> _Floats:
        """Sum of squared residuals of each exponent, [exponents]."""
        away = self._powers - self._powers.mean(axis=1, keepdims=True)
        rest = self.scores - self.scores.mean() - self._slopes[:, None] * away
        return (rest**2).sum(axis=1)

    @cached_property
    def _best(self) -> int:
        return int(self.squares.argmin())

    @cached_property
    def _allowed(self) -> float:
        """Largest sum of squares within the interval."""
        least = float(self.squares[self._best])
        return least * (1 + t_quantile(ALPHA, self.freedom) ** 2 / self.freedom)

    @cached_property
    def _kept(self) -> NDArray[np.int64]:
        """Exponents within the interval, and the next on either side: the truth may be between two."""
        inside = np.flatnonzero(self.squares <= self._allowed)
        return np.arange(max(inside[0] - 1, 0), min(inside[-1] + 2, len(EXPONENTS)))

    @property
    def exponent(self) -> float:
        """Best exponent c."""
        return float(EXPONENTS[self._best])

    @property
    def exponent_interval(self) -> tuple[float, float]:
        """95 % interval of the exponent; an end of `EXPONENTS` means that it is open there."""
        return float(EXPONENTS[self._kept[0]]), float(EXPONENTS[self._kept[-1]])

    @property
    def limit(self) -> float:
        """Score a that the best curve approaches."""
        return float(self.at(np.array([np.inf]))[0])

    @property
    def residual_sd(self) -> float:
        """Standard deviation of a score around the curve."""
        return math.sqrt(float(self.squares[self._best]) / self.freedom)

    def at(self, sizes: _Floats) -> _Floats:
        """Return the best curve at sizes [m]."""
        return self._means(sizes, np.array([self._best]))[0]

    def _means(self, sizes: _Floats, exponents: NDArray[np.int64]) -> _Floats:
        """Return the curves of some exponents, [exponents, m]."""
        away = self._away(sizes, exponents)
        return self.scores.mean() + self._slopes[exponents, None] * away

    def _away(self, sizes: _Floats, exponents: NDArray[np.int64]) -> _Floats:
        powers = (sizes / self.sizes[0]) ** -EXPONENTS[exponents, None]
        return powers - self._powers[exponents].mean(axis=1, keepdims=True)

    def interval(self, sizes: _Floats, further: bool = False, shift: float = 0.0) -> tuple[_Floats, _Floats]:
        """Return the 95 % interval of the curve at sizes [m].

        Args:
            sizes: numbers of images.
            further: of the score of a further pretraining, with its own error: the prediction interval.
            shift: variance of an error that all scores share, such as the choice of test images.
        """
        kept = self._kept
        leverage = (
            float(further) + 1 / len(self.sizes) + self._away(sizes, kept) ** 2 / self._spread[kept, None]
        )
        left = np.maximum(self._allowed - self.squares[kept, None], 0.0)
        reach = np.sqrt(left * leverage + NORMAL**2 * shift)
        means = self._means(sizes, kept)
        return (means - reach).min(axis=0), (means + reach).max(axis=0)

    def reaches(self, score: float, shift: float = 0.0) -> SizeNeeded:
        """Return the number of images at which the curve reaches a score.

        The interval holds every size at which neither "still below" nor "already above" is shown.

        Args:
            score: to reach.
            shift: variance of the error of the difference that all sizes share.
        """
        first, last = self.sizes[0], self.sizes[-1]
        sizes = np.geomspace(first, last * SEARCHED, 400)
        low, high = self.interval(sizes, shift=shift)

        def begins(reached: NDArray[np.bool_]) -> float:
            return float(sizes[reached.argmax()]) if reached.any() else math.inf

        return SizeNeeded(begins(self.at(sizes) >= score), begins(high >= score), begins(low >= score))


def extrapolation_problem(sizes: _Floats, scores: _Floats) -> str:
    """Return why scores [K], higher is better, over sizes [K] cannot be extrapolated; "" if they can."""
    count = len(np.unique(sizes))
    if count < FEWEST_SIZES:
        return f"a curve with a limit needs {FEWEST_SIZES} numbers of images, not {count}"
    if not _rise_is_shown(sizes, scores):
        return "no rise with the number of images is shown"
    law = PowerLaw(sizes, scores)
    low, high = law.interval(sizes[-1:] * HORIZON, further=True)
    rise = float(np.ptp(law.at(sizes[[0, -1]])))
    if high[0] - low[0] > rise:
        return f"with {HORIZON:g} times the images the prediction is as uncertain as the whole measured rise"
    return ""


def _rise_is_shown(sizes: _Floats, scores: _Floats) -> bool:
    """Whether a straight line over the logarithm of the sizes rises, at the level of a 95 % interval."""
    logs = np.log(sizes) - np.log(sizes).mean()
    spread = float(logs @ logs)
    slope = float(logs @ scores) / spread
    rest = scores - scores.mean() - slope * logs
    freedom = len(sizes) - 2
    error = math.sqrt(float(rest @ rest) / freedom / spread)
    return slope > t_quantile(ALPHA, freedom) * error + 1e-12
