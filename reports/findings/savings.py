"""From verdicts to the labels that one init saves against another, curve by curve."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from ..statistics.labels_saved import Saved, crossover, labels_saved
from .evidence import Evidence, evidence
from .results import Results, Row
from .verdicts import BETTER, EXCLUDING, WORSE, Verdict, judge

LATE = {"scratch": 2, "imagenet": 1}
"""What others are measured against; scratch before imagenet before anything else."""
SEED = 20211012
"""Of the interval's draws, the same for every pair, so that the same records give the same report."""


@dataclass(frozen=True, eq=False)
class Saving:
    """The learning curves of two inits on one task, laid side by side.

    Attributes:
        init: row at the largest fraction of the init that is asked how many labels it needs.
        reference: row at the largest fraction of the init whose scores are to be reached.
        fractions: of the labels, ascending, where both were measured.
        scores: [2, fractions] mean over the seeds: the reference, then the init.
        saved: one for every fraction of the reference; empty where it cannot be told.
        seeds: that all points of both curves share.
        crossover: smallest measured fraction from which on no difference of the two is shown any more; None
            where one is shown at the largest fraction, or where nothing could be told.
        why: why it cannot be told, or "".
        keys: of the records behind, for every fraction.
    """

    init: Row
    reference: Row
    fractions: tuple[float, ...]
    scores: np.ndarray
    saved: tuple[Saved, ...]
    seeds: tuple[int, ...]
    crossover: float | None
    why: str
    keys: tuple[tuple[str, ...], ...]


@lru_cache(maxsize=4)  # the table, the answer and the arrows in the learning curves ask
def savings(results: Results) -> tuple[Saving, ...]:
    """Measure every pair of inits that was run at two fractions or more, in the order of `results.rows`."""
    records = {record.key: record for record in results.counted}
    found: list[Saving] = []
    for pairs in _places(judge(results)):
        read = cache(lambda row: evidence(results, row, records))  # forgotten with the task: it is large
        found += (_saving(pair, read) for pair in pairs if len({v.a.fraction for v in pair}) > 1)
    return tuple(found)


def _places(verdicts: Sequence[Verdict]) -> list[list[list[Verdict]]]:
    """Gather the verdicts of a task, and among them those of each pair, by fraction."""
    places: dict[tuple[object, ...], dict[tuple[str, ...], list[Verdict]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for verdict in sorted(verdicts, key=lambda verdict: verdict.a.fraction):
        a, b = verdict.a, verdict.b
        place = a.protocol, a.task, a.size, a.input_size, a.arch
        places[place][a.init, a.variant, b.init, b.variant].append(verdict)
    order = dict.fromkeys((v.a.protocol, v.a.task, v.a.size, v.a.input_size, v.a.arch) for v in verdicts)
    return [list(places[place].values()) for place in order]


def _saving(pair: Sequence[Verdict], read: Callable[[Row], Evidence]) -> Saving:
    """Compare two curves; a point without a verdict is left out."""
    points = [v for v in pair if not any(flag.name in EXCLUDING for flag in v.flags)]
    seeds = tuple(sorted(set.intersection(*(set(v.seeds) for v in points)))) if points else ()
    sides = [_ordered(v) for v in points]
    curves = [[read(row) for row in side] for side in zip(*sides, strict=True)]
    labels = np.array([row.n_train for row, _ in sides])
    why = _obstacle(pair, curves, seeds, labels)
    if why:
        reference, init = _ordered(pair[-1])
        return Saving(init, reference, (), np.empty((2, 0)), (), seeds, None, why, ())
    scores = np.array([[each.values[np.isin(each.seeds, seeds)] for each in curve] for curve in curves])
    influence = np.array(
        [[each.influence[np.isin(each.seeds, seeds)].mean(axis=0) for each in curve] for curve in curves]
    )
    fractions = tuple(v.a.fraction for v in points)
    return Saving(
        init=sides[-1][1],
        reference=sides[-1][0],
        fractions=fractions,
        scores=scores.mean(axis=2),
        saved=labels_saved(labels, scores.transpose(2, 0, 1), influence, np.random.default_rng(SEED)),
        seeds=seeds,
        crossover=crossover(fractions, [v.verdict in (BETTER, WORSE) for v in points]),
        why="",
        keys=tuple(v.a.keys + v.b.keys for v in points),
    )


def _ordered(verdict: Verdict) -> tuple[Row, Row]:
    """Return (reference, init): the later in `LATE` is the reference, else the later in the run."""
    a, b = verdict.a, verdict.b
    return (b, a) if LATE.get(b.init, 0) >= LATE.get(a.init, 0) else (a, b)


def _obstacle(
    pair: Sequence[Verdict], curves: Sequence[Sequence[Evidence]], seeds: Sequence[int], labels: np.ndarray
) -> str:
    if len(labels) < 2:
        reasons = [flag.reason for v in pair for flag in v.flags if flag.name in EXCLUDING]
        return reasons[0] if reasons else "only one fraction was measured"
    if len(seeds) < 2:
        return "the fractions have fewer than two seeds in common"
    if len({each.images for curve in curves for each in curve}) > 1:
        return "the fractions were scored on different test images"
    if not (np.diff(labels) > 0).all():  # NaN where no record counts them
        return "the records do not say how many labels each fraction has"
    return ""
