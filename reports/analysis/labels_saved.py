"""Labels that one init saves against another, from verdicts and learning curves."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..statistics.influence import _Floats
from ..statistics.labels_saved import SavedLabels, crossover, labels_saved
from ..statistics.paired import image_variance, overlap_variance
from .influence_input import ScoreEvidence, score_evidence
from .report_input import LeaderboardRow, ReportInput
from .verdicts import BETTER, EQUIVALENT, WORSE, Verdict, compute_verdicts

LATE = {"scratch": 2, "imagenet": 1}
"""Priority as the reference of a pair: scratch before imagenet before any other."""
FEWER, MORE = "fewer", "more"
AGREES = {FEWER: (BETTER, EQUIVALENT), MORE: (WORSE, EQUIVALENT)}
"""Claim about labels -> verdicts at the same share of the labels that agree with it."""
INTERVAL_SEED = 20211012
"""Seed of the interval's draws, fixed so that the same records give the same report."""


@dataclass(frozen=True, eq=False)
class LabelSaving:
    """Learning curves of two inits on one task.

    Attributes:
        init: row, at the largest fraction, of the init whose labels are counted.
        reference: row, at the largest fraction, of the init whose scores are to be reached.
        fractions: shares of the labels at which both were measured, ascending.
        scores: [2, fractions] mean over seeds: reference, then init.
        saved: one per fraction of the reference; empty where undecided.
        verdicts: on the init against the reference, per fraction; corrected over tasks.
        seeds: common to all points of both curves.
        crossover: smallest measured fraction from which on no difference is shown; None where one is shown
            at the largest fraction, or where undecided.
        why: why it is undecided, or "".
        keys: record keys, per fraction.
    """

    init: LeaderboardRow
    reference: LeaderboardRow
    fractions: tuple[float, ...]
    scores: np.ndarray
    saved: tuple[SavedLabels, ...]
    verdicts: tuple[str, ...]
    seeds: tuple[int, ...]
    crossover: float | None
    why: str
    keys: tuple[tuple[str, ...], ...]

    def claim(self, place: int) -> str:
        """Return `FEWER` or `MORE` labels needed at one fraction of the reference, or "".

        A claim needs the agreement of the verdict, which is corrected for the number of tasks; the interval
        is not.
        """
        saved = self.saved[place]
        shown = FEWER if saved.high < saved.own else MORE if saved.low > saved.own else ""
        return shown if shown and self.verdicts[place] in AGREES[shown] else ""


@lru_cache(maxsize=4)  # for the table, the answer and the learning curves
def label_savings(results: ReportInput) -> tuple[LabelSaving, ...]:
    """Measure every pair of inits with two or more fractions, in the order of `results.rows`."""
    evidence = score_evidence(results)
    pairs = (
        pair for pair in _group_by_pair(compute_verdicts(results)) if len({v.a.fraction for v in pair}) > 1
    )
    return tuple(_saving(pair, evidence) for pair in pairs)


def _group_by_pair(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Group the verdicts by pair of inits and task; by fraction within a group, as the rows are."""
    pairs: dict[tuple[object, ...], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        a, b = verdict.a, verdict.b
        place = a.protocol, a.task, a.size, a.input_size, a.arch
        pairs[(*place, a.init, a.variant, b.init, b.variant)].append(verdict)
    return list(pairs.values())


def _saving(pair: Sequence[Verdict], evidence: Mapping[LeaderboardRow, ScoreEvidence]) -> LabelSaving:
    """Compare two curves, without the points that have no verdict."""
    points = [v for v in pair if not v.barred]
    seeds = tuple(sorted(set.intersection(*(set(v.seeds) for v in points)))) if points else ()
    sides = [_reference_and_init(v) for v in points]
    curves = [[evidence[row] for row in side] for side in zip(*sides, strict=True)]
    labels = np.array([row.n_train for row, _ in sides])
    why = _obstacle(pair, curves, seeds, labels)
    if why:
        reference, init = _reference_and_init(pair[-1])
        return LabelSaving(init, reference, (), np.empty((2, 0)), (), (), seeds, None, why, ())
    scores = np.array([[each.at(seeds)[0] for each in curve] for curve in curves])
    shares = np.array([[each.at(seeds)[1] for each in curve] for curve in curves])
    influence = shares.mean(axis=2)
    if curves[0][0].cross_validated:
        influence *= np.sqrt(_overlap_factor(shares[0] - shares[1]))
    fractions = tuple(v.a.fraction for v in points)
    rng = np.random.default_rng(INTERVAL_SEED)
    return LabelSaving(
        init=sides[-1][1],
        reference=sides[-1][0],
        fractions=fractions,
        scores=scores.mean(axis=2),
        saved=labels_saved(labels, scores.transpose(2, 0, 1), influence, rng),
        verdicts=tuple(v.seen_from(init.init).verdict for v, (_, init) in zip(points, sides, strict=True)),
        seeds=seeds,
        crossover=crossover(fractions, [v.verdict in (BETTER, WORSE) for v in points]),
        why="",
        keys=tuple(v.a.keys + v.b.keys for v in points),
    )


def _overlap_factor(influences: _Floats) -> float:
    """Return the largest factor of the variance from test images over fractions [F, repeats, units]."""
    return max(overlap_variance(each) / (image_variance(each)[0] or 1.0) for each in influences)


def _reference_and_init(verdict: Verdict) -> tuple[LeaderboardRow, LeaderboardRow]:
    """Return (reference, init): the later in `LATE` is the reference, else the later in the run."""
    a, b = verdict.a, verdict.b
    return (b, a) if LATE.get(b.init, 0) >= LATE.get(a.init, 0) else (a, b)


def _obstacle(
    pair: Sequence[Verdict],
    curves: Sequence[Sequence[ScoreEvidence]],
    seeds: Sequence[int],
    labels: np.ndarray,
) -> str:
    if len(labels) < 2:
        reasons = [v.barred.reason for v in pair if v.barred]
        return reasons[0] if reasons else "only one fraction was measured"
    if len(seeds) < 2:
        return "the fractions have fewer than two seeds in common"
    if len({each.images for curve in curves for each in curve}) > 1:
        return "the fractions were scored on different test images"
    if not (np.diff(labels) > 0).all():  # NaN where no record counts them
        return "the records do not say how many labels each fraction has"
    return ""
