"""Which findings of Raghu et al. 2019 ("Transfusion") a run reproduces, contradicts, or cannot judge.

A finding is asked of every place of a run: a task and a network. In each a contrast is measured seed by seed,
with the errors and the correction that the verdicts have; one seed never decides.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..statistics.influence import _Floats
from ..statistics.paired import ALPHA, PairedDifference, paired_difference
from .feature_reuse import FinetunePlace, most_labels
from .influence_input import score_evidence
from .results import BASELINE, Results
from .verdicts import BETTER, EQUIVALENT, WORSE, compute_verdicts, adjust_by_holm

REPRODUCED, CONTRADICTED, UNCLEAR, UNTESTED = "reproduces", "contradicts", "undecided", "not tested"
OUTCOMES = (REPRODUCED, CONTRADICTED, UNCLEAR, UNTESTED)
MUCH, LITTLE = 50_000, 5_000
"""Labeled training images. The paper's large sets have more than 200,000, its small ones 5,000."""
QUICKER = 0.1
"""A start that saves a smaller share of the steps is no faster in any way that matters."""
HALF = 0.5
"""Share of the speed-up, of the logarithm of the steps, that counts as much of it."""
DROP = 0.05
"""A fall of CKA from the first stage to the last that exceeds that of scratch by less is none."""
LARGER = 2.0
"""Times as many weights make a larger network."""


@dataclass(frozen=True)
class TransfusionFinding:
    """What a run says to one finding.

    Attributes:
        claim: the finding, so that "the run reproduces ..." can stand before it.
        outcome: one of `OUTCOMES`.
        reason: with its numbers and n, or what to add to the run.
    """

    claim: str
    outcome: str
    reason: str


@dataclass(frozen=True, eq=False)
class PlaceContrast:
    """What is known of one contrast in one place; above 0 speaks for the finding."""

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
Ask = Callable[[Results, Sequence[FinetunePlace], str], TransfusionFinding]


def transfusion_findings(
    results: Results, found: Sequence[FinetunePlace], source: str
) -> tuple[TransfusionFinding, ...]:
    """Judge every finding for one source of weights."""
    asked: tuple[Ask, ...] = (_no_gap, _few_labels, _large_network, _speed, _scale, _lowest)
    return tuple(ask(results, found, source) for ask in asked)


def weigh_contrasts(
    claim: str, contrasts: Sequence[PlaceContrast], least: float, lacking: str, unit: str
) -> TransfusionFinding:
    """Judge contrasts over their places, corrected for how many they are.

    A place speaks for the finding where the contrast is shown to be above 0, and against it where it is shown
    to be below `least`. The finding is reproduced where some places speak for it and none against.

    Args:
        claim: the finding.
        contrasts: one per place.
        least: what matters; a smaller contrast counts as none.
        lacking: what to add where there is no contrast.
        unit: what the contrast counts.
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


def _no_gap(results: Results, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    here = {row for p in most_labels(found) if p.labels >= MUCH for row in p.rows.values()}
    pairs = [
        v
        for v in compute_verdicts(results)
        if {v.a.init, v.b.init} == {source, BASELINE} and {v.a, v.b} <= here
    ]
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


def _few_labels(results: Results, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    contrasts = []
    for _, group in itertools.groupby(sorted(found, key=lambda p: repr(p.rest)), key=lambda p: p.rest):
        held = sorted(group, key=lambda place: place.fraction)
        if len(held) > 1 and held[0].labels <= LITTLE:
            contrasts += _gaps(results, held[0], held[-1], source)
    lacking = (
        f"it needs {source} and {BASELINE} with at most {LITTLE:,} labels and more: add --fractions 0.1,1.0."
    )
    return weigh_contrasts(FEW, contrasts, results.margin, lacking, "gap with few minus gap with all labels")


def _large_network(results: Results, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    contrasts = []

    def alike(place: FinetunePlace) -> tuple[object, ...]:
        return place.block[:3] + place.block[4:]

    for _, group in itertools.groupby(sorted(found, key=lambda p: repr(alike(p))), key=alike):
        held = sorted(group, key=lambda place: place.parameters)
        few = held[0].labels <= LITTLE and held[0].parameters
        if few and held[-1].parameters >= LARGER * held[0].parameters:
            contrasts += _gaps(results, held[-1], held[0], source)
    lacking = (
        f"it needs {source} and {BASELINE} with two networks, one {LARGER:g} times as large, on at most "
        f"{LITTLE:,} labels: add --archs resnet18,resnet50."
    )
    return weigh_contrasts(
        NETWORK, contrasts, results.margin, lacking, "gap of the large minus that of the small"
    )


def _gaps(results: Results, a: FinetunePlace, b: FinetunePlace, source: str) -> Iterable[PlaceContrast]:
    """Yield the difference of the gaps of two places, with the errors of seeds and test images."""
    sides = [(place.rows.get(source), place.rows.get(BASELINE)) for place in (a, b)]
    rows = [row for pair in sides for row in pair if row is not None]
    known = score_evidence(results)
    if len(rows) < 4 or len({known[row].images for row in rows}) > 1 or any(known[r].problem for r in rows):
        return
    seeds = sorted(set.intersection(*(set(known[row].seeds) for row in rows)))
    if seeds:
        values, influence = (_gap([known[row].at(seeds)[part] for row in rows]) for part in (0, 1))
        yield PlaceContrast(a, paired_difference(values, influence))


def _gap(of: Sequence[_Floats]) -> _Floats:
    return (of[0] - of[1]) - (of[2] - of[3])


def _speed(results: Results, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    lacking = f"it needs {source} and {BASELINE}: add them to --inits with --protocols finetune."
    return weigh_contrasts(
        SPEED, speedups(found, source), -math.log(1 - QUICKER), lacking, "log of the steps saved"
    )


def speedups(found: Sequence[FinetunePlace], source: str) -> list[PlaceContrast]:
    """Return by how much `source` is faster than scratch: the logarithm of the ratio of the steps."""
    return [c for place in most_labels(found) if (c := _steps(place, {BASELINE: 1.0, source: -1.0}))]


def _scale(results: Results, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    name = f"meanvar:{source}"
    weights = {BASELINE: 1 - HALF, source: HALF, name: -1.0}
    contrasts = [c for place in most_labels(found) if (c := _steps(place, weights))]
    lacking = f"the run lacks {name}: add --inits {source},{name},{BASELINE} with --protocols finetune."
    if contrasts and _speed(results, [c.place for c in contrasts], source).outcome != REPRODUCED:
        return TransfusionFinding(
            SCALE, UNCLEAR, f"{source} itself is not shown to be faster, so that there is no speed to keep."
        )
    return weigh_contrasts(SCALE, contrasts, 0.0, lacking, "log of the steps saved beyond half")


def _steps(place: FinetunePlace, weights: dict[str, float]) -> PlaceContrast | None:
    """Return a weighted sum of the logarithms of steps to convergence, seed by seed.

    Steps are known to the gap between two validations only, so that identical seeds are not taken for no
    spread: the variance is at least that of the rounding.
    """
    held = [place.paces[init].gained if init in place.paces else {} for init in weights]
    seeds = sorted(set.intersection(*(set(each) for each in held)))
    if not seeds:
        return None
    steps = np.array([[each[seed] for seed in seeds] for each in held])
    gaps = np.array([[place.records[init][seed].curve[0].step for seed in seeds] for init in weights])
    shares = np.array(list(weights.values()))
    rounding = float((shares**2 @ (gaps / steps) ** 2).mean() / 12)
    return PlaceContrast(place, _over_seeds(shares @ np.log(steps), rounding))


def _lowest(results: Results, found: Sequence[FinetunePlace], source: str) -> TransfusionFinding:
    """Ask whether features stay in the first stage more than in the last, beyond what those of scratch do.

    Lower stages change least from random weights too, and that is no reuse of anything.
    """
    contrasts = []
    for place in most_labels(found):
        ours, theirs = _falls(place, source), _falls(place, BASELINE)
        if seeds := sorted(set(ours) & set(theirs)):
            beyond = np.array([ours[seed] - theirs[seed] for seed in seeds])
            contrasts.append(PlaceContrast(place, _over_seeds(beyond, 0.0)))
    lacking = (
        f"no records compare the features of {source} and {BASELINE} before and after: run both with "
        "--protocols finetune again."
    )
    unit = f"CKA of the first stage minus that of the last, less the same of {BASELINE}"
    return weigh_contrasts(LOWEST, contrasts, DROP, lacking, unit)


def _falls(place: FinetunePlace, init: str) -> dict[int, float]:
    """Return by seed how much CKA falls from the first stage to the last."""
    ends = {
        seed: (record.similarity[0].cka, record.similarity[-1].cka)
        for seed, record in place.records.get(init, {}).items()
        if record.similarity
    }
    return {s: first - last for s, (first, last) in ends.items() if first is not None and last is not None}


def _over_seeds(values: _Floats, least_variance: float) -> PairedDifference:
    """Measure a mean over seeds [n] that has no error from test images."""
    found = paired_difference(values, np.zeros((len(values), 1)))
    variance = max(found.seed_variance, least_variance / len(values)) if len(values) > 1 else math.nan
    return PairedDifference(found.difference, found.seeds, 0.0, found.test_freedom, variance, 0.0)
