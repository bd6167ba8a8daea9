"""Convergence of each row from its validation curves, and its ratio to scratch."""

import math
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from ...benchmark.schema.records import Record
from ..statistics.convergence import first_within, speed_ratios
from .report_input import BASELINE, LeaderboardRow, ReportInput, look_up_metric


@dataclass(frozen=True, eq=False)
class ConvergencePace:
    """Convergence speed of the trainings of one row.

    Attributes:
        steps: seed -> optimizer steps to the first validation of at least 95 % of the selected score.
        gained: seed -> steps to the first validation at 95 % of the way from chance level to the selected
            score; without seeds whose score is not above chance.
        seconds: seed -> seconds of training until `gained`.
        curved: number of seeds that have a curve.
        ratio: `gained` divided by that of the same seed from scratch [n]; empty without pairs.
        keys: record keys.
    """

    row: LeaderboardRow
    steps: dict[int, float]
    gained: dict[int, float]
    seconds: dict[int, float]
    curved: int
    ratio: np.ndarray
    keys: tuple[str, ...]


def convergence_paces(results: ReportInput) -> list[ConvergencePace]:
    """Measure every row with curves, in the order of `results.rows`."""
    records = {record.key: record for record in results.counted}
    chance = look_up_metric(results.primary, results.metric_facts).chance
    measured = {row: _row_pace(results.primary, chance, row, records) for row in results.rows}
    scratch: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in results.rows:
        if row.init == BASELINE:
            scratch[row.block].append(row)
    paces = []
    for row, own in measured.items():
        others = scratch[row.block] if row.init != BASELINE else []
        theirs = measured[others[0]].gained if len(others) == 1 else {}
        keys = row.keys + (others[0].keys if theirs else ())
        if own.curved:
            paces.append(replace(own, ratio=speed_ratios(own.gained, theirs), keys=keys))
    return paces


def _row_pace(
    primary: str, chance: float, row: LeaderboardRow, records: dict[str, Record]
) -> ConvergencePace:
    curved, steps, gained, seconds = 0, {}, {}, {}
    for seed, key in zip(row.seeds, row.keys, strict=True):
        record = records[key]
        scores = [math.nan if p.val_score is None else p.val_score for p in record.curve]
        if not scores or all(map(math.isnan, scores)):
            continue
        curved += 1
        selected = record.val_metrics.get(primary)
        final = selected if selected is not None else float(np.nanmax(scores))
        at = first_within(scores, final)
        if at is not None:
            steps[seed] = float(record.curve[at].step)
        at = first_within(scores, final, chance=chance)
        if at is not None:
            gained[seed], seconds[seed] = float(record.curve[at].step), record.curve[at].seconds
    return ConvergencePace(row, steps, gained, seconds, curved, np.empty(0), row.keys)
