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
from ..elements.verdict_format import Pair, count_verdicts, pair_of, refusals, verdicts_between
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
        verdicts: comparisons counted in it, without those that a flag excludes.
        mean: difference over independent tasks; None where nothing may be judged.
    """

    pair: Pair
    text: str
    verdicts: tuple[Verdict, ...] = ()
    mean: MeanOverTasks | None = None


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
    counted, _ = evidence_of(results, compute_verdicts(results))
    if task:
        counted = [verdict for verdict in compute_verdicts(results) if verdict.a.task == task]
    compared = {frozenset(pair_of(verdict)) for verdict in counted}
    pairs = [pair for pair in _pairs(results) if frozenset(pair) in compared]
    return tuple(_pair_headline(results, pair, verdicts_between(counted, *pair)) for pair in pairs)


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
        return PairHeadline(pair, f"{prefix}No verdict: {pair[0]} against {pair[1]} is {flags} everywhere.")
    mean = _mean(results, judged)
    claim = _claim(pair, judged)
    if prefix and claim.startswith("Undecided: "):
        prefix, claim = "Generated images, undecided: ", claim.removeprefix("Undecided: ")
    texts = (f"{prefix}{claim}{size}." for size in _sizes(judged, mean))
    text = next((text for text in texts if len(text.split()) <= MOST_WORDS), f"{prefix}{claim}.")
    return PairHeadline(pair, text, judged, mean)


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
    preposition = "to" if decided == [EQUIVALENT] else "than"
    if len(decided) == 1:
        return f"{pair[0]} is {decided[0]} {preposition} {pair[1]} in {counts[decided[0]]} {of}"
    parts = ", ".join(f"{name} in {counts[name]}" for name in decided)
    return f"{pair[0]} against {pair[1]}: {parts} {of}"


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
    where = f"on {tasks.pop()}" if len(tasks) == 1 else f"over {count_noun(mean.units, 'task')}"
    over = f"{shown} on average {where}"
    if ends:
        yield from (f": {over} ({ends})", f"; mean {shown} ({ends})")
    yield from (f": {over}", f"; mean {shown}")


def _mean(results: ReportInput, judged: Sequence[Verdict]) -> MeanOverTasks:
    """Average the differences of each independent task, then over tasks."""
    units: dict[str, list[float]] = defaultdict(list)
    for verdict in judged:
        facts = results.tasks.get(verdict.a.task)
        unit = facts.source_group if facts and facts.source_group else verdict.a.task
        if not math.isnan(verdict.difference):
            units[unit].append(verdict.difference)
    return mean_over(np.array([np.mean(of) for of in units.values()] or [math.nan]))


def sureness(results: ReportInput, found: PairHeadline) -> str:
    """Write in one line how sure the headline is: what the interval is over, seeds, open comparisons."""
    if not found.verdicts or found.mean is None:
        return ""
    judged, units = found.verdicts, found.mean.units
    seeds = sorted({len(verdict.seeds) for verdict in judged})
    over = f"95 % interval over {units} independent tasks" if units >= MEAN_UNITS else ""
    if len(judged) > 1 and not over:
        over = f"{count_noun(units, 'independent task')}: too few for an interval of the mean"
    several = f"{seeds[0]} to " if len(seeds) > 1 else ""
    undecided = sum(verdict.verdict == UNDECIDED for verdict in judged)
    parts = [
        over,
        f"{several}{count_noun(seeds[-1], 'seed')}",
        f"{undecided} of {count_noun(len(judged), 'comparison')} undecided"
        if undecided
        else "none undecided",
        "no medical weights in this run" if not medical_inits(results) else "",
    ]
    return f"{'; '.join(filter(None, parts))}."


def recommendation(results: ReportInput) -> str:
    """Name the init with the best balance of verdicts, with the counts; or say that none is ahead."""
    counted, _ = evidence_of(results, compute_verdicts(results))
    won: dict[str, int] = defaultdict(int)
    lost: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for verdict in counted:
        if verdict.barred:
            continue
        for side, good in ((verdict.a.init, BETTER), (verdict.b.init, WORSE)):
            total[side] += 1
            won[side] += verdict.verdict == good
            lost[side] += verdict.verdict in (BETTER, WORSE) and verdict.verdict != good
    if not total:
        return ""
    best = max(total, key=lambda init: won[init] - lost[init])
    if won[best] <= lost[best]:
        return "No init is shown to be ahead: choose by cost."
    where = "on generated images" if results.generated(counted[0].a.task) else "here"
    others = f"{count_noun(total[best], 'comparison')} with the other inits"
    return f"{best} is best supported {where}: better in {won[best]}, worse in {lost[best]} of {others}."


def doubts(results: ReportInput, notices: Sequence[str]) -> list[str]:
    """Order the doubts: leaks and other notices first, then how many comparisons carry a flag."""
    verdicts = compute_verdicts(results)
    flagged = sum(bool(verdict.flags) for verdict in verdicts)
    known = {f"{leak}." for leak in leaks(results)}
    first = sorted(notices, key=lambda notice: notice not in known)
    flags = f"{flagged:,} of {count_noun(len(verdicts), 'comparison')} carry a flag, a reason to doubt."
    return [*first, *([flags] if flagged else [])]
