"""Whether our mean over seeds agrees with a published mean, given how much seeds differ."""

import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

from .facts import PublishedMean

PARITY_FLOOR = 0.01
"""Difference that always counts as agreement: the harness's own margin of equivalence. One of BreastMNIST's
156 test images is .006 of accuracy, libraries have changed since, and three seeds that happen to agree
understate their spread."""

CAP = 0.03
"""More than this never does, whatever the seeds say: with three seeds the t quantile is 4.3, and a tolerance
that grows with our own scatter would forgive a training that is merely erratic."""


class ParityRow(msgspec.Struct, frozen=True, kw_only=True):
    """One published value beside ours; a row of the table."""

    task: str
    arch: str
    size: int
    metric: str
    epoch: str
    """Whose test scores these are: "kept" is the epoch that the script keeps, else a rule beside it."""
    counts: bool
    """Whether the value decides the exit code; the other rule is shown beside it."""
    published: float
    published_sd: float | None
    published_runs: int
    """At least."""
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
    """Judge one metric.

    Args:
        place: task, arch and side of the stored images.
        published: what it is compared with.
        values: ours, one per seed; None where a seed failed or the metric is undefined.
        epoch: whose test scores they are.
        counts: whether they decide the exit code.
    """
    found = [value for value in values if value is not None]
    whole = len(found) == len(values) > 0
    ours = statistics.fmean(found) if whole else None
    sd = statistics.stdev(found) if whole and len(found) > 1 else None
    allowed = tolerance(sd, len(found), published) if whole else None
    difference = None if ours is None else ours - published.value
    verdict: Literal["IN", "OUT", "FAILED"] = "FAILED"
    if difference is not None and allowed is not None:
        # what is on the limit in the table's digits shall not depend on the last bit
        verdict = "IN" if abs(difference) <= allowed + 1e-9 else "OUT"
    return ParityRow(
        task=place[0],
        arch=place[1],
        size=place[2],
        metric=published.metric,
        epoch=epoch,
        counts=counts,
        published=published.value,
        published_sd=published.sd,
        published_runs=published.runs,
        ours=ours,
        sd=sd,
        seeds=len(found),
        difference=difference,
        tolerance=allowed,
        verdict=verdict,
        reason="" if whole else f"{len(values) - len(found)} of {len(values)} seeds have no value",
    )


def tolerance(sd: float | None, seeds: int, published: PublishedMean) -> float:
    """Return how far two means may lie apart: a 95 % t interval, within `PARITY_FLOOR` and `CAP`.

    The same test images are used, so that only the randomness of training counts.

    Args:
        sd: ours over seeds; None for a single seed, to which only `PARITY_FLOOR` is allowed.
        seeds: their number, S.
        published: R runs; where their sd is not known it is taken as ours, and t has S - 1 degrees of
            freedom; where it is known both enter, with Welch's degrees of freedom.
    """
    from scipy.stats import t

    if sd is None:
        return PARITY_FLOOR
    mine, theirs = sd**2 / seeds, (sd if published.sd is None else published.sd) ** 2 / published.runs
    if mine + theirs == 0:
        return PARITY_FLOOR
    freedom = float(seeds - 1)
    if published.sd is not None:
        freedom = (mine + theirs) ** 2 / (mine**2 / (seeds - 1) + theirs**2 / (published.runs - 1))
    return min(max(PARITY_FLOOR, float(t.ppf(0.975, freedom)) * math.sqrt(mine + theirs)), CAP)
