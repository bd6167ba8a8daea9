"""From verdicts to the labels that one init saves against another, curve by curve."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..statistics.labels_saved import SavedLabels, crossover, labels_saved
from .influence_input import ScoreEvidence, score_evidence
from .results import LeaderboardRow, Results
from .verdicts import BETTER, EQUIVALENT, WORSE, Verdict, compute_verdicts

LATE = {"scratch": 2, "imagenet": 1}
"""What others are measured against; scratch before imagenet before anything else."""
FEWER, MORE = "fewer", "more"
AGREES = {FEWER: (BETTER, EQUIVALENT), MORE: (WORSE, EQUIVALENT)}
"""Claim about labels -> the verdicts at the same share of the labels that it does not contradict."""
INTERVAL_SEED = 20211012
"""Of the interval's draws, the same for every pair, so that the same records give the same report."""


@dataclass(frozen=True, eq=False)
class LabelSaving:
    """The learning curves of two inits on one task, laid side by side.

    Attributes:
        init: row at the largest fraction of the init that is asked how many labels it needs.
        reference: row at the largest fraction of the init whose scores are to be reached.
        fractions: of the labels, ascending, where both were measured.
        scores: [2, fractions] mean over the seeds: the reference, then the init.
        saved: one for every fraction of the reference; empty where it cannot be told.
        verdicts: on the init against the reference, at every fraction; corrected over tasks.
        seeds: that all points of both curves share.
        crossover: smallest measured fraction from which on no difference of the two is shown any more; None
            where one is shown at the largest fraction, or where nothing could be told.
        why: why it cannot be told, or "".
        keys: of the records behind, for every fraction.
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
        """Return whether `FEWER` or `MORE` labels are needed at one fraction of the reference, or "".

        The interval is not corrected for the number of tasks, the verdict is: without its consent nothing is
        claimed.
        """
        saved = self.saved[place]
        seen = FEWER if saved.high < saved.own else MORE if saved.low > saved.own else ""
        return seen if seen and self.verdicts[place] in AGREES[seen] else ""


@lru_cache(maxsize=4)  # the table, the answer and the arrows in the learning curves ask
def label_savings(results: Results) -> tuple[LabelSaving, ...]:
    """Measure every pair of inits that was run at two fractions or more, in the order of `results.rows`."""
    known = score_evidence(results)
    pairs = (pair for pair in _pairs(compute_verdicts(results)) if len({v.a.fraction for v in pair}) > 1)
    return tuple(_saving(pair, known) for pair in pairs)


def _pairs(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Gather the verdicts of each pair on each task; they come by fraction, as the rows do."""
    pairs: dict[tuple[object, ...], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        a, b = verdict.a, verdict.b
        place = a.protocol, a.task, a.size, a.input_size, a.arch
        pairs[(*place, a.init, a.variant, b.init, b.variant)].append(verdict)
    return list(pairs.values())


def _saving(pair: Sequence[Verdict], known: Mapping[LeaderboardRow, ScoreEvidence]) -> LabelSaving:
    """Compare two curves; a point without a verdict is left out."""
    points = [v for v in pair if not v.barred]
    seeds = tuple(sorted(set.intersection(*(set(v.seeds) for v in points)))) if points else ()
    sides = [_ordered(v) for v in points]
    curves = [[known[row] for row in side] for side in zip(*sides, strict=True)]
    labels = np.array([row.n_train for row, _ in sides])
    why = _obstacle(pair, curves, seeds, labels)
    if why:
        reference, init = _ordered(pair[-1])
        return LabelSaving(init, reference, (), np.empty((2, 0)), (), (), seeds, None, why, ())
    scores = np.array([[each.at(seeds)[0] for each in curve] for curve in curves])
    influence = np.array([[each.at(seeds)[1].mean(axis=0) for each in curve] for curve in curves])
    fractions = tuple(v.a.fraction for v in points)
    return LabelSaving(
        init=sides[-1][1],
        reference=sides[-1][0],
        fractions=fractions,
        scores=scores.mean(axis=2),
        saved=labels_saved(
            labels, scores.transpose(2, 0, 1), influence, np.random.default_rng(INTERVAL_SEED)
        ),
        verdicts=tuple(v.seen_from(init.init).verdict for v, (_, init) in zip(points, sides, strict=True)),
        seeds=seeds,
        crossover=crossover(fractions, [v.verdict in (BETTER, WORSE) for v in points]),
        why="",
        keys=tuple(v.a.keys + v.b.keys for v in points),
    )


def _ordered(verdict: Verdict) -> tuple[LeaderboardRow, LeaderboardRow]:
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
