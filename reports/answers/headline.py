"""The answer of a report in at most 20 words, for the page, the terminal and the Markdown."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..analysis.flags import leaks
from ..analysis.report_input import BASELINE, ReportInput
from ..analysis.verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE, Verdict, compute_verdicts
from ..elements.format import count_noun, format_interval, format_number, format_percent, join_words
from ..elements.verdict_format import (
    Pair,
    count_verdicts,
    pair_of,
    range_with_noun,
    refusals,
    verdicts_between,
)
from ..statistics.metric_influence import JUDGED_METRICS
from ..statistics.over_tasks import MEAN_UNITS, MeanOverTasks, mean_over
from .main_answer import IMAGENET, evidence_of, medical_inits

MOST_WORDS = 20
NOTHING = "No cell has finished: there is nothing to compare yet."


@dataclass(frozen=True, eq=False)
class PairHeadline:
    """What the verdicts on two inits say.

    Attributes:
        pair: (init whose difference is stated, init that is subtracted).
        text: at most 20 words; every claim carries its number of comparisons.
        all_verdicts: comparisons of the pair, seen from the first.
        mean: difference over independent tasks; None where nothing may be judged.
    """

    pair: Pair
    text: str
    all_verdicts: tuple[Verdict, ...] = ()
    mean: MeanOverTasks | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Comparisons that the headline counts: without those that a flag excludes."""
        return tuple(verdict for verdict in self.all_verdicts if not verdict.barred)


def headline(results: ReportInput) -> PairHeadline:
    """Return the headline of the pair that the report is about."""
    if not results.rows:
        failed = len(results.failed)
        text = f"No answer: {count_noun(failed, 'cell')} failed and none has finished." if failed else NOTHING
        return PairHeadline(("", ""), text)
    found = pair_headlines(results)
    if not found:
        inits = join_words(list(dict.fromkeys(row.init for row in results.rows)))
        return PairHeadline(("", ""), f"Nothing to compare: there are results of {inits} only.")
    return found[0]


@lru_cache(maxsize=4)
def pair_headlines(results: ReportInput, task: str = "") -> tuple[PairHeadline, ...]:
    """Return the headline of every compared pair; first medical weights against ImageNet, then scratch.

    Of one task only if it is named.
    """
    verdicts = compute_verdicts(results)
    of_task = [verdict for verdict in verdicts if verdict.a.task == task]
    counted = of_task if task else evidence_of(results, verdicts)[0]
    compared = {frozenset(pair_of(verdict)) for verdict in counted}
    pairs = [pair for pair in _pairs(results) if frozenset(pair) in compared]
    return tuple(_pair_headline(results, pair, verdicts_between(counted, *pair)) for pair in pairs)


def seen_from_the_other(results: ReportInput, found: PairHeadline) -> PairHeadline:
    """Return the headline of the same comparisons with the second init first."""
    pair = found.pair[1], found.pair[0]
    return _pair_headline(results, pair, [verdict.seen_from(pair[0]) for verdict in found.all_verdicts])


def _pairs(results: ReportInput) -> list[Pair]:
    """Order all pairs of inits by how much the question of the report is about them."""
    inits = list(dict.fromkeys(row.init for row in results.rows))
    medical = medical_inits(results)
    order = [*medical, *(init for init in (IMAGENET, BASELINE) if init in inits)]
    order += [init for init in inits if init not in order]
    rank = {IMAGENET: 0, BASELINE: 1}
    pairs = [(a, b) for place, a in enumerate(order) for b in order[place + 1 :]]
    return sorted(pairs, key=lambda pair: (pair[0] not in medical, rank.get(pair[1], 2)))


def _pair_headline(results: ReportInput, pair: Pair, verdicts: Sequence[Verdict]) -> PairHeadline:
    judged = tuple(verdict for verdict in verdicts if not verdict.barred)
    prefix = _prefix(results, verdicts)
    if not judged:
        flags = refusals(verdicts)
        return PairHeadline(
            pair, f"{prefix}No verdict: {pair[0]} against {pair[1]} is {flags} everywhere.", (*verdicts,)
        )
    mean = _mean(results, judged)
    claim = _claim(pair, judged)
    if prefix and claim.split(": ")[0].endswith("ndecided"):
        prefix, claim = "Generated images, ", claim[0].lower() + claim[1:]
    texts = (f"{prefix}{claim}{size}." for size in _sizes(judged, mean))
    text = next((text for text in texts if len(text.split()) <= MOST_WORDS), f"{prefix}{claim}.")
    return PairHeadline(pair, text, (*verdicts,), mean)


def _prefix(results: ReportInput, verdicts: Sequence[Verdict]) -> str:
    if all(results.generated(verdict.a.task) for verdict in verdicts):
        return "Generated images: "
    return ""


def _claim(pair: Pair, judged: Sequence[Verdict]) -> str:
    """Write the verdicts with their counts, e.g. "mednet is worse than imagenet in 8 of 9 comparisons"."""
    counts = count_verdicts(judged)
    of = f"of {count_noun(len(judged), 'comparison')}"
    decided = [name for name in (BETTER, EQUIVALENT, WORSE) if counts[name]]
    if not decided:
        return f"Undecided: {pair[0]} against {pair[1]}, 0 {of} decided"
    mostly = "Mostly undecided: " if 2 * sum(counts[name] for name in decided) < len(judged) else ""
    preposition = "to" if decided == [EQUIVALENT] else "than"
    if len(decided) == 1:
        return f"{mostly}{pair[0]} is {decided[0]} {preposition} {pair[1]} in {counts[decided[0]]} {of}"
    parts = ", ".join(f"{name} in {counts[name]}" for name in decided)
    return f"{mostly}{pair[0]} against {pair[1]}: {parts} {of}"


def _sizes(judged: Sequence[Verdict], mean: MeanOverTasks) -> Iterator[str]:
    """Yield the size of the difference, from the longest wording to the shortest."""
    title = JUDGED_METRICS[judged[0].metric].title
    shown = f"{format_number(mean.difference, '+.3f')} {title}"
    ends = format_interval(mean.low, mean.high)
    if len(judged) == 1:
        (only,) = judged
        ends = format_interval(*only.interval)
        where = f"{only.a.task}, {format_percent(only.a.fraction)}"
        yield from (f": {shown} ({ends}) on {where}", f": {shown} ({ends})", f": {shown}")
        return
    tasks = {verdict.a.task for verdict in judged}
    unit = "task" if mean.units == len(tasks) else "origin"
    where = f"on {tasks.pop()}" if len(tasks) == 1 else f"over {count_noun(mean.units, unit)}"
    over = f"{shown} on average {where}"
    if ends:
        yield from (f": {over} ({ends})", f"; mean {shown} ({ends})")
    yield from (f": {over}", f"; mean {shown}")


def _mean(results: ReportInput, judged: Sequence[Verdict]) -> MeanOverTasks:
    """Average the differences of each independent task, then over tasks."""
    units: dict[str, list[float]] = defaultdict(list)
    for verdict in judged:
        if not math.isnan(verdict.difference):
            units[results.unit_of(verdict.a.task)].append(verdict.difference)
    return mean_over(np.array([np.mean(of) for of in units.values()] or [math.nan]))


def sureness(results: ReportInput, found: PairHeadline) -> str:
    """Write in one line how sure the headline is: what the mean is over, seeds, open comparisons."""
    if not found.verdicts or found.mean is None:
        return ""
    judged, medical = found.verdicts, medical_inits(results)
    total = count_noun(len(judged), "comparison")
    undecided = sum(verdict.verdict == UNDECIDED for verdict in judged)
    fixed = sum(verdict.has("fixed-models") for verdict in judged)
    excluded = len(found.all_verdicts) - len(judged)
    parts = [
        _pooled(found.mean, judged) if len(judged) > 1 else "",
        range_with_noun((len(verdict.seeds) for verdict in judged), "seed"),
        f"{undecided} of {total} undecided" if undecided else "none undecided",
        f"in {fixed} all seeds give one result" if fixed else "",
        f"{excluded} without a verdict" if excluded else "",
        "" if medical else "no medical weights in this run",
        f"{len(medical)} medical inits" if len(medical) > 1 else "",
    ]
    return f"{'; '.join(filter(None, parts))}."


def _pooled(mean: MeanOverTasks, judged: Sequence[Verdict]) -> str:
    """Name what the mean is over; tasks of one origin count once."""
    tasks = len({verdict.a.task for verdict in judged})
    counts = (
        (len({verdict.a.protocol for verdict in judged}), "protocol"),
        (len({verdict.a.fraction for verdict in judged}), "label budget"),
        (len({verdict.a.arch for verdict in judged}), "network"),
    )
    pooled = join_words([count_noun(n, noun) for n, noun in counts if n > 1])
    origins = f" of {count_noun(mean.units, 'origin')}" if mean.units != tasks else ""
    over = f"{count_noun(tasks, 'task')}{origins}{f', pooled over {pooled}' if pooled else ''}"
    return over if mean.units >= MEAN_UNITS else f"{over}: too few for an interval of the mean"


def recommendation(results: ReportInput) -> str:
    """Name the init with the best balance of verdicts, and its comparisons with the second."""
    counted, _ = evidence_of(results, compute_verdicts(results))
    judged = [verdict for verdict in counted if not verdict.barred]
    seen = [side for verdict in judged for side in (verdict, verdict.seen_from(verdict.b.init))]
    by_init: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in seen:
        by_init[verdict.a.init].append(verdict)
    counts = {init: count_verdicts(of) for init, of in by_init.items()}
    balance = {init: of[BETTER] - of[WORSE] for init, of in counts.items()}
    best, *others = sorted(balance, key=lambda init: -balance[init]) or [""]
    if not others:
        return ""
    if balance[best] <= 0:
        return "No init is shown to be ahead of another."
    where = "on generated images" if results.generated(judged[0].a.task) else "here"
    wins = f"{best} is best supported {where}: {_won_lost(by_init[best])} comparisons"
    direct = [verdict for verdict in by_init[best] if verdict.b.init == others[0]]
    return f"{wins}; {_won_lost(direct)} against {others[0]}." if len(others) > 1 and direct else f"{wins}."


def _won_lost(verdicts: Sequence[Verdict]) -> str:
    counts = count_verdicts(verdicts)
    return f"better in {counts[BETTER]}, worse in {counts[WORSE]} of {len(verdicts)}"


def doubts(results: ReportInput, notices: Sequence[str]) -> list[str]:
    """Order the doubts: what touches the whole headline first, then leaks of few images, then flags."""
    verdicts = compute_verdicts(results)
    leaked = {row.task for row in results.rows if row.leaked}
    minor = {f"{leak}." for leak in leaks(results) if leak.partition(":")[0] not in leaked}
    found = [notice for notice in notices if notice not in minor]
    found += [*_single_pretrainings(headline(results)), *(notice for notice in notices if notice in minor)]
    flagged = sum(bool(verdict.flags) for verdict in verdicts)
    flags = f"{flagged:,} of {count_noun(len(verdicts), 'comparison')} carry a flag, a reason to doubt."
    return [*found, *([flags] if flagged else [])]


def _single_pretrainings(found: PairHeadline) -> list[str]:
    """Say if most comparisons of the headline rest on one pretraining."""
    alone = [verdict for verdict in found.verdicts if verdict.has("one-pretraining")]
    if 2 * len(alone) <= len(found.verdicts):
        return []
    init = next((side.init for side in (alone[0].a, alone[0].b) if side.origin), found.pair[0])
    which = f"On each task {init} comes from one pretraining"
    return [f"{which}: another may differ by more than the interval says."]
