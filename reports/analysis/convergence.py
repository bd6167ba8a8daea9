"""From the curves of the trainings to how soon each came close to its end, and against scratch."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from ...benchmark.schema.records import Record
from ..statistics.convergence import first_within, speed_ratios
from .results import BASELINE, LeaderboardRow, Results

CHANCE = {"auc": 0.5}
"""Metric -> what guessing gives; 0 for every other."""


@dataclass(frozen=True, eq=False)
class ConvergencePace:
    """How fast the trainings of one row came close to their end.

    Attributes:
        row: the seeds of one cell.
        steps: seed -> optimizer steps to the first validation of at least 95 % of the kept score.
        gained: seed -> steps to the first validation at 95 % of the way from chance level to the kept score;
            nothing where that score is not above chance.
        seconds: seed -> seconds of training until `gained`.
        curved: seeds that have a curve.
        ratio: `gained` against that of the same seed from scratch [n]; empty where nothing can be paired.
        keys: of the records behind.
    """

    row: LeaderboardRow
    steps: dict[int, float]
    gained: dict[int, float]
    seconds: dict[int, float]
    curved: int
    ratio: np.ndarray
    keys: tuple[str, ...]


def convergence_paces(results: Results) -> list[ConvergencePace]:
    """Measure every row with curves, in the order of `results.rows`."""
    records = {record.key: record for record in results.counted}
    measured = {row: _measured(results.primary, row, records) for row in results.rows}
    scratch: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in results.rows:
        if row.init == BASELINE:
            scratch[row.block].append(row)
    found = []
    for row, own in measured.items():
        others = scratch[row.block] if row.init != BASELINE else []
        theirs = measured[others[0]].gained if len(others) == 1 else {}
        keys = row.keys + (others[0].keys if theirs else ())
        if own.curved:
            ratio = speed_ratios(own.gained, theirs)
            found.append(ConvergencePace(row, own.steps, own.gained, own.seconds, own.curved, ratio, keys))
    return found


@dataclass
class _Measured:
    steps: dict[int, float]
    gained: dict[int, float]
    seconds: dict[int, float]
    curved: int = 0


def _measured(primary: str, row: LeaderboardRow, records: dict[str, Record]) -> _Measured:
    found = _Measured({}, {}, {})
    for seed, key in zip(row.seeds, row.keys, strict=True):
        record = records[key]
        scores = [math.nan if p.val_score is None else p.val_score for p in record.curve]
        if not scores or all(map(math.isnan, scores)):
            continue
        found.curved += 1
        kept = record.val_metrics.get(primary)
        final = kept if kept is not None else float(np.nanmax(scores))
        at = first_within(scores, final)
        if at is not None:
            found.steps[seed] = float(record.curve[at].step)
        at = first_within(scores, final, chance=CHANCE.get(primary, 0.0))
        if at is not None:
            found.gained[seed], found.seconds[seed] = float(record.curve[at].step), record.curve[at].seconds
    return found
