"""Findings of Raghu et al. 2019 ("Transfusion"): reproduced, contradicted or undecided.

A finding is tested at every place, a task and a network, by a contrast paired by seed, with the errors and
the correction of the verdicts; one seed never decides.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..statistics.influence import _Floats
from ..statistics.multiplicity import adjust_by_holm
from ..statistics.paired import ALPHA, PairedDifference, paired_difference
from .feature_reuse import FinetunePlace, most_labels
from .influence_input import score_evidence
from .report_input import BASELINE, ReportInput
from .verdicts import BETTER, EQUIVALENT, WORSE, compute_verdicts

REPRODUCED, CONTRADICTED, UNCLEAR, UNTESTED = "reproduces", "contradicts", "undecided", "not tested"
OUTCOMES = (REPRODUCED, CONTRADICTED, UNCLEAR, UNTESTED)
MUCH, LITTLE = 50_000, 5_000
"""Labeled training images; the paper's large sets have more than 200,000, its small ones 5,000."""
QUICKER = 0.1
"""Saving a smaller share of the steps does not count as faster."""
HALF = 0.5
"""Share of the speed-up (of the logarithm of the steps) that counts as much of it."""
DROP = 0.05
"""Least excess over scratch of the fall of CKA from first to last stage that counts."""
LARGER = 2.0
"""Least ratio of the numbers of weights of a larger and a smaller network."""


@dataclass(frozen=True)
class TransfusionFinding:
    """Outcome of one finding in a run.

    Attributes:
        claim: the finding, as the object of "the run reproduces ...".
        outcome: one of `OUTCOMES`.
        reason: numbers and n, or what to add to the run.
    """

    claim: str
    outcome: str
    reason: str


@dataclass(frozen=True, eq=False)
class PlaceContrast:
    """A contrast at one place; above 0 supports the finding."""

    place: FinetunePlace
    measured: PairedDifference


GAP, FEW, NETWORK, SPEED, SCALE, LOWEST = (
    "a gap of about 0 with much data",
    "a larger gap with little data",
    "a larger gap in large networks",
    "faster convergence",
    "that mean and variance keep much of the speed",
    "reuse in the lowest stages",
)
FindingTest = Callable[[ReportInput, Sequence[FinetunePlace], str], TransfusionFinding]


def transfusion_findings(
    results: ReportInput, found: Sequence[FinetunePlace], source: str
) -> tuple[TransfusionFinding, ...]:
    """Test every finding for the init `source`."""
    tests: tuple[FindingTest, ...] = (_no_gap, _few_labels, _large_network, _speed, _scale, _lowest)
    return tuple(test(results, found, source) for test in tests)


def weigh_contrasts(
    claim: str, contrasts: Sequence[PlaceContrast], least: float, lacking: str, unit: str
) -> TransfusionFinding:
    """Test contrasts over their places, with Holm's correction.

    A place supports the finding where the contrast is shown to be above 0, and contradicts it where it is
    shown to be below `least`. The finding is reproduced where some places support it and none contradicts it.

    Args:
        claim: the finding.
        contrasts: one per place.
        least: smallest contrast that counts.
        lacking: what to add to the run where there is no contrast.
        unit: meaning of the contrast, for the reason.
    """
    if not contrasts:
        return TransfusionFinding(claim, UNTESTED, lacking)
    several = [each for each in contrasts if each.measured.seeds > 1]
    if not several:
        return TransfusionFinding(claim, UNCLEAR, "one seed shows no spread: run more with --seeds 0..2.")
    measured = [each.measured for each in several]
    above = adjust_by_holm([m.p_value() if m.difference > 0 else 1.0 for m in measured])
    below = adjust_by_holm([m.p_value(least) if m.difference < least else 1.0 for m in measured])
    against = [p < ALPHA for p in below]
    favor = [p < ALPHA and not no for p, no in zip(above, against, strict=True)]
    values = [m.difference for m in measured]
    seeds = sorted({m.seeds for m in measured})
    n = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    shown = f"shown in {sum(favor)}, the opposite in {sum(against)} of {len(several)} comparisons"
    spread = f"{min(values):+.2f} to {max(values):+.2f}" if len(values) > 1 else f"{values[0]:+.2f}"
    reason = f"{shown} ({unit} {spread}; n = {n} seeds each)".replace("-", "\u2212")
    return TransfusionFinding(claim, _outcome(any(favor), any(against)), reason)


def _outcome(favor: bool, against: bool) -> str:
    if favor == against:
        return UNCLEAR
    return REPRODUCED if favor else CONTRADICTED


def _no_gap(results: ReportInput, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    here = {row for p in most_labels(found) if p.labels >= MUCH for row in p.rows.values()}
    inits, verdicts = {source, BASELINE}, compute_verdicts(results)
    pairs = [v for v in verdicts if {v.a.init, v.b.init} == inits and {v.a, v.b} <= here]
    judged = [v.verdict for v in pairs if not v.barred]
    if not judged:
        most = max((place.labels for place in found), default=0)
        return TransfusionFinding(
            GAP,
            UNTESTED,
            f"it needs {source} and {BASELINE}, several seeds, and a task with {MUCH:,} labeled images (the "
            f"most here are {most:,.0f}): add such as pathmnist to --tasks.",
        )
    equal, differ = judged.count(EQUIVALENT), judged.count(BETTER) + judged.count(WORSE)
    reason = f"equivalent in {equal}, another in {differ} of {len(judged)} comparisons"
    return TransfusionFinding(GAP, _outcome(equal > 0, differ > 0), reason)


def _few_labels(results: ReportInput, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    contrasts = []
    for _, group in itertools.groupby(sorted(found, key=lambda p: repr(p.rest)), key=lambda p: p.rest):
        places = sorted(group, key=lambda place: place.fraction)
        if len(places) > 1 and places[0].labels <= LITTLE:
            contrasts += _gaps(results, places[0], places[-1], source)
    pair = f"{source} and {BASELINE}"
    lacking = f"it needs {pair} with at most {LITTLE:,} labels and more: add --fractions 0.1,1.0."
    return weigh_contrasts(FEW, contrasts, results.margin, lacking, "gap with few minus gap with all labels")


def _large_network(results: ReportInput, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    contrasts = []

    def alike(place: FinetunePlace) -> tuple[object, ...]:
        return place.block[:3] + place.block[4:]

    for _, group in itertools.groupby(sorted(found, key=lambda p: repr(alike(p))), key=alike):
        places = sorted(group, key=lambda place: place.parameters)
        small, large = places[0], places[-1]
        if small.labels <= LITTLE and 0 < LARGER * small.parameters <= large.parameters:
            contrasts += _gaps(results, large, small, source)
    lacking = (
        f"it needs {source} and {BASELINE} with two networks, one {LARGER:g} times as large, on at most "
        f"{LITTLE:,} labels: add --archs resnet18,resnet50."
    )
    unit = "gap of the large minus that of the small"
    return weigh_contrasts(NETWORK, contrasts, results.margin, lacking, unit)


def _gaps(results: ReportInput, a: FinetunePlace, b: FinetunePlace, source: str) -> Iterable[PlaceContrast]:
    """Yield the gap of `a` minus that of `b`, with the errors of seeds and test images."""
    sides = [(place.rows.get(source), place.rows.get(BASELINE)) for place in (a, b)]
    rows = [row for pair in sides for row in pair if row is not None]
    evidence = score_evidence(results)
    scores = [evidence[row] for row in rows]
    if len(scores) < 4 or len({each.images for each in scores}) > 1 or any(each.problem for each in scores):
        return
    seeds = sorted(set.intersection(*(set(each.seeds) for each in scores)))
    if seeds:
        values, influence = (_gap([each.at(seeds)[part] for each in scores]) for part in (0, 1))
        yield PlaceContrast(a, paired_difference(values, influence, scores[0].cross_validated))


def _gap(of: Sequence[_Floats]) -> _Floats:
    return (of[0] - of[1]) - (of[2] - of[3])


def _speed(results: ReportInput, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    lacking = f"it needs {source} and {BASELINE}: add them to --inits with --protocols finetune."
    contrasts, least = speedups(found, source), -math.log(1 - QUICKER)
    return weigh_contrasts(SPEED, contrasts, least, lacking, "log of the steps saved")


def speedups(found: Sequence[FinetunePlace], source: str) -> list[PlaceContrast]:
    """Return the log ratio of the steps of scratch to those of `source`, by place."""
    return [c for place in most_labels(found) if (c := _steps(place, {BASELINE: 1.0, source: -1.0}))]


def _scale(results: ReportInput, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    name = f"meanvar:{source}"
    weights = {BASELINE: 1 - HALF, source: HALF, name: -1.0}
    contrasts = [c for place in most_labels(found) if (c := _steps(place, weights))]
    lacking = f"the run lacks {name}: add --inits {source},{name},{BASELINE} with --protocols finetune."
    if contrasts and _speed(results, [c.place for c in contrasts], source).outcome != REPRODUCED:
        reason = f"{source} itself is not shown to be faster, so that there is no speed to keep."
        return TransfusionFinding(SCALE, UNCLEAR, reason)
    return weigh_contrasts(SCALE, contrasts, 0.0, lacking, "log of the steps saved beyond half")


def _steps(place: FinetunePlace, weights: dict[str, float]) -> PlaceContrast | None:
    """Return a weighted sum, over inits, of the log steps to convergence, paired by seed.

    Steps are rounded up to a validation, so that the variance is at least that of this rounding, even where
    all seeds are identical.
    """
    gained = [place.paces[init].gained if init in place.paces else {} for init in weights]
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in gained)))
    if not seeds:
        return None
    steps = np.array([[by_seed[seed] for seed in seeds] for by_seed in gained])
    gaps = np.array([[place.records[init][seed].curve[0].step for seed in seeds] for init in weights])
    shares = np.array(list(weights.values()))
    rounding = float((shares**2 @ (gaps / steps) ** 2).mean() / 12)
    return PlaceContrast(place, _average_over_seeds(shares @ np.log(steps), rounding))


def _lowest(results: ReportInput, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    """Test whether first-stage features change less than last-stage ones, beyond scratch.

    Lower stages change least from random weights too, which is no reuse of features.
    """
    contrasts = []
    for place in most_labels(found):
        ours, theirs = _cka_falls(place, source), _cka_falls(place, BASELINE)
        if seeds := sorted(set(ours) & set(theirs)):
            beyond = np.array([ours[seed] - theirs[seed] for seed in seeds])
            contrasts.append(PlaceContrast(place, _average_over_seeds(beyond, 0.0)))
    lacking = (
        f"no records compare the features of {source} and {BASELINE} before and after: run both with "
        "--protocols finetune again."
    )
    unit = f"CKA of the first stage minus that of the last, less the same of {BASELINE}"
    return weigh_contrasts(LOWEST, contrasts, DROP, lacking, unit)


def _cka_falls(place: FinetunePlace, init: str) -> dict[int, float]:
    """Return seed -> CKA of the first stage minus that of the last."""
    ends = {
        seed: (record.similarity[0].cka, record.similarity[-1].cka)
        for seed, record in place.records.get(init, {}).items()
        if record.similarity
    }
    return {s: first - last for s, (first, last) in ends.items() if first is not None and last is not None}


def _average_over_seeds(values: _Floats, least_variance: float) -> PairedDifference:
    """Return the mean over seeds [n] of values without an error from test images."""
    mean = paired_difference(values, np.zeros((len(values), 1)))
    variance = max(mean.seed_variance, least_variance / len(values)) if len(values) > 1 else math.nan
    return PairedDifference(mean.difference, mean.seeds, 0.0, mean.test_freedom, variance, 0.0)
