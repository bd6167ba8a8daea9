"""Test whether our mean over seeds agrees with a published mean, given the seeds' spread."""

import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec
from scipy.stats import t

from .facts import PublishedMean

PARITY_FLOOR = 0.01
"""Difference that always counts as agreement, equal to the margin of equivalence: one of BreastMNIST's 156
test images is .006 of accuracy, libraries have changed, and three seeds may understate their spread."""
CAP = 0.03
"""Largest tolerance: with three seeds the t quantile is 4.3, so that the interval of an erratic training
would cover any published value."""


class ParityRow(msgspec.Struct, frozen=True, kw_only=True):
    """One published value and ours; a row of the table."""

    task: str
    arch: str
    size: int
    metric: str
    epoch: str
    """Rule that chose the epoch of the test scores; "kept" is the rule of the authors' script."""
    counts: bool
    """Whether the value decides the exit code; other rules are only shown."""
    published: float
    published_sd: float | None
    published_runs: int
    """Smallest number of runs."""
    ours: float | None
    """Mean over seeds; None where a seed has no value."""
    sd: float | None
    """Over seeds; None for a single one."""
    seeds: int
    difference: float | None
    """Ours minus published."""
    tolerance: float | None
    verdict: Literal["IN", "OUT", "FAILED"]
    reason: str = ""


KEPT_EPOCH = "kept"


def check_tolerance(
    place: tuple[str, str, int],
    published: PublishedMean,
    values: Sequence[float | None],
    epoch: str = KEPT_EPOCH,
    counts: bool = True,
) -> ParityRow:
    """Compare our values of one metric with a published mean.

    Args:
        place: task, arch and size of the stored images.
        values: ours, one per seed; None where a seed failed or the metric is undefined.
        counts: whether the row decides the exit code.
    """
    found = [value for value in values if value is not None]
    whole = len(found) == len(values) > 0
    ours = statistics.fmean(found) if whole else None
    sd = statistics.stdev(found) if whole and len(found) > 1 else None
    allowed = tolerance(sd, len(found), published) if whole else None
    difference = None if ours is None else ours - published.value
    verdict: Literal["IN", "OUT", "FAILED"] = "FAILED"
    if difference is not None and allowed is not None:
        # a value at the limit must not depend on rounding errors
        verdict = "IN" if abs(difference) <= allowed + 1e-9 else "OUT"
    return ParityRow(
        task=place[0], arch=place[1], size=place[2], metric=published.metric, epoch=epoch, counts=counts,
        published=published.value, published_sd=published.sd, published_runs=published.runs,
        ours=ours, sd=sd, seeds=len(found), difference=difference, tolerance=allowed, verdict=verdict,
        reason="" if whole else f"{len(values) - len(found)} of {len(values)} seeds have no value",
    )  # fmt: skip


def tolerance(sd: float | None, seeds: int, published: PublishedMean) -> float:
    """Return the largest allowed difference: a 95 % t interval, within `PARITY_FLOOR` and `CAP`.

    Both use the same test images, so that only the randomness of training counts.

    Args:
        sd: ours over seeds; None for a single seed, which gives `PARITY_FLOOR`.
        seeds: number S of our seeds.
        published: an unknown sd is taken as ours, and t has S - 1 degrees of freedom; with a known one t
            has Welch's degrees of freedom.
    """
    if sd is None:
        return PARITY_FLOOR
    mine, theirs = sd**2 / seeds, (sd if published.sd is None else published.sd) ** 2 / published.runs
    if mine + theirs == 0:
        return PARITY_FLOOR
    freedom = float(seeds - 1)
    if published.sd is not None:
        freedom = (mine + theirs) ** 2 / (mine**2 / (seeds - 1) + theirs**2 / (published.runs - 1))
    return min(max(PARITY_FLOOR, float(t.ppf(0.975, freedom)) * math.sqrt(mine + theirs)), CAP)
