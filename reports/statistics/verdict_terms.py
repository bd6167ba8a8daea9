"""Terms of every verdict: its four values, the flags that give reasons for doubt, and their limits."""

import math
from dataclasses import dataclass

from .paired import ALPHA

BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
VERDICTS = (BETTER, EQUIVALENT, UNDECIDED, WORSE)
HEADROOM = 0.995
"""Two scores that both reach this cannot differ."""
CHANCE_AUC = 0.5
FEW_TEST = 10
"""Fewer test images of a class than this are few."""
FEW_GROUPS = 10
"""Fewer groups of test images than this are few."""
NEVER_EQUIVALENT = ("near-ceiling", "few-test", "few-groups", "no-disagreement")
"""Flags that exclude equivalence: an error from few images or patients is not reliable, and two perfect
scores have none at all."""


@dataclass(frozen=True)
class DoubtFlag:
    """One reason to doubt.

    Attributes:
        name: short and stable, for tables and files.
        reason: a clause with the numbers.
    """

    name: str
    reason: str


def too_few_images_reason(n: int, rarer: int) -> str:
    """Return why no test could decide on `n` images, `rarer` of the rarer side of a class; "" if one can."""
    if 2 / math.comb(n, min(rarer, 4)) < ALPHA:  # 4 and 4 suffice; comb is slow for more
        return ""
    few = f"{n} test images, {rarer} of the rarer side of a class, are too few"
    return f"{few}: not even a perfect order of them has an exact p-value below {ALPHA:g}"
