"""Terms of every verdict: its four values, the flags that give reasons for doubt, and their limits."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .paired import ALPHA, STRICT_ALPHA

BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
VERDICTS = (BETTER, EQUIVALENT, UNDECIDED, WORSE)
HEADROOM = 0.995
"""Two scores that both reach this cannot differ."""
CHANCE_AUC = 0.5
FEW_TEST = 10
"""Fewer test images of a class than this are few."""
FEW_GROUPS = 10
"""Fewer groups of test images, or of those of a class, than this are few."""
LEAST_GROUPS = 3
"""Fewer groups of one side of a class in a test set give no verdict: of 2 beside 20 of the other side, 6 % (5
seeds) and 10 % (10 seeds) of the verdicts between equal networks were false; of 3 at most 4 %."""
NEVER_EQUIVALENT = ("few-test", "few-groups", "no-disagreement")
"""Flags that exclude equivalence: an error from few images or patients is not reliable."""


@dataclass(frozen=True)
class DoubtFlag:
    """One reason to doubt.

    Attributes:
        name: short and stable, for tables and files.
        reason: a clause with the numbers.
    """

    name: str
    reason: str


def equivalence_level(flags: Iterable[str]) -> float:
    """Return the level of the tests of equivalence, given the names of all flags; 0 where they cannot tell.

    Near the ceiling few images decide, and there seeds that spread unevenly make the tests unreliable.
    """
    raised = set(flags)
    if not raised.isdisjoint(NEVER_EQUIVALENT) or {"near-ceiling", "uneven-seeds"} <= raised:
        return 0.0
    return STRICT_ALPHA if "near-ceiling" in raised else ALPHA


def few_groups_reason(groups: int, of_a_side: int) -> str:
    """Return why there are few groups in all, or on the rarer side of a class; "" if not, or without any."""
    if 0 < groups < FEW_GROUPS:
        return f"the test images are of only {groups} groups"
    if 0 < of_a_side < FEW_GROUPS:
        return f"the test images of one side of a class are of only {of_a_side} groups"
    return ""


def too_few_images_reason(n: int, rarer: int) -> str:
    """Return why no test could decide on `n` images, `rarer` of the rarer side of a class; "" if one can."""
    if 2 / math.comb(n, min(rarer, 4)) < ALPHA:  # 4 and 4 suffice; comb is slow for more
        return ""
    few = f"{n} test images, {rarer} of the rarer side of a class, are too few"
    return f"{few}: not even a perfect order of them has an exact p-value below {ALPHA:g}"
