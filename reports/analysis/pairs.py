"""Differences of every init to a baseline init, paired by seed within a block."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from ..statistics.stats import MetricStat, describe_values
from .report_input import LeaderboardRow, ReportInput


@dataclass(frozen=True, eq=False)
class PairedRows:
    """Difference of a row to the baseline, over common seeds.

    Attributes:
        stat: statistics of ``row - baseline``, one difference per common seed.
        unpaired: number of seeds that only one of the two has, or where the metric is undefined for one.
        keys: record keys of both rows.
    """

    row: LeaderboardRow
    stat: MetricStat
    unpaired: int
    keys: tuple[str, ...]


def differences_to(results: ReportInput, baseline: str, metric: str) -> list[PairedRows]:
    """Pair every row with the row of init `baseline` in its block, by seed.

    Returns:
        In the order of `results.rows`, without the baseline's own rows, rows without a common seed, and rows
        whose block has several baselines (of different weights, so that the pairing is ambiguous).
    """
    blocks: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in results.rows:
        if row.init == baseline:
            blocks[row.block].append(row)
    scores = results.scores_of(metric)
    found = []
    for row in results.rows:
        others = blocks[row.block]
        if row.init == baseline or len(others) != 1:
            continue
        ours, theirs = row.by_seed(scores), others[0].by_seed(scores)
        common = sorted(ours.keys() & theirs.keys())
        if common:
            stat = describe_values(np.array([ours[seed] - theirs[seed] for seed in common]))
            unpaired = len({*row.seeds, *others[0].seeds}) - len(common)
            found.append(PairedRows(row, stat, unpaired, row.keys + others[0].keys))
    return found
