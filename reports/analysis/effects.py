"""Effects of one fact of pretraining over tasks: pairs of inits that differ in nothing else stated."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import msgspec

from ...benchmark.schema.records import InitFacts, Record
from ..statistics.over_tasks import UNTESTED, MeanTests, decide_means
from ..statistics.paired import DIFFERENT, WITHIN
from ..statistics.verdict_terms import BETTER, EQUIVALENT, UNDECIDED, WORSE
from .aggregate import (
    ComparableSetting,
    OverallDifference,
    SettingScores,
    difference_over_tasks,
    gather_scores,
)
from .pretraining_facts import FACTS, FactDifference, NamedFacts, find_single_difference
from .report_input import ReportInput
from .verdicts import Verdict, compute_verdicts

BY_TASK = ("adapted", "overlap", "possible")
"""Facts of an init that depend on the task, not on its weights."""
SEEN = ("contaminated", "mostly-in-train")
"""Flags of tasks that no average over tasks contains."""
VerdictsByPair = Mapping[tuple[ComparableSetting, frozenset[str]], Sequence[Verdict]]


@dataclass(frozen=True, eq=False)
class FactEffect:
    """Effect of the one fact in which two inits differ, over the tasks of one setting.

    Attributes:
        over: difference of the primary metric, `difference.a` minus `difference.b`.
        tests: corrected over all effects of a report; generated tasks apart.
        verdict: on `difference.a`, one of `VERDICTS`.
        flags: flag of the verdicts on the single tasks -> number of tasks; most frequent first.
        left_out: task -> flag for which the pair is not judged on it, such as contaminated.
    """

    difference: FactDifference
    over: OverallDifference
    tests: MeanTests = UNTESTED
    verdict: str = UNDECIDED
    flags: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def setting(self) -> ComparableSetting:
        """Protocol, network, image sizes and share of the labels."""
        return self.over.setting


@lru_cache(maxsize=4)  # for the section and the file
def fact_effects(results: ReportInput) -> tuple[FactEffect, ...]:
    """Find every effect that the inits of a report allow, by fact and then in the order of the rows.

    The mean over tasks and its interval are those of any two inits (`overall_differences`). The verdict is
    Student's t over independent tasks, as the interval, with p-values corrected by Benjamini and Hochberg
    over all effects of the report.
    """
    records = {record.key: record for record in results.counted}
    found = [effect for scores in gather_scores(results) for effect in _setting_effects(records, scores)]
    verdicts = _verdicts_by_pair(results) if found else {}
    decided = [_add_flags(effect, verdicts) for effect in _decide_effects(results, found)]
    return tuple(sorted(decided, key=lambda effect: FACTS.index(effect.difference.fact)))


def _setting_effects(records: Mapping[str, Record], scores: SettingScores) -> Iterator[FactEffect]:
    facts = _facts_by_init(records, scores)
    for one, other in itertools.combinations(facts, 2):
        difference = find_single_difference(facts[one], facts[other])
        if difference and (over := difference_over_tasks(scores, difference.a, difference.b)):
            yield FactEffect(difference, over)


def _facts_by_init(records: Mapping[str, Record], scores: SettingScores) -> dict[str, NamedFacts]:
    """Return the facts of the inits whose weights are the same on all tasks of a setting."""
    found: dict[str, list[InitFacts]] = defaultdict(list)
    for (_, init), keys in scores.keys.items():
        facts = records[keys[-1]].init
        known = facts and msgspec.structs.replace(facts, **dict.fromkeys(BY_TASK, ()))
        if known and known not in found[init]:
            found[init].append(known)
    arch = scores.setting.arch
    return {init: NamedFacts(init, arch, of[0]) for init, of in found.items() if len(of) == 1}


def _decide_effects(results: ReportInput, found: Sequence[FactEffect]) -> Iterator[FactEffect]:
    """Decide all effects together, those on generated images as a family of their own."""
    for generated in (False, True):
        family = [effect for effect in found if effect.setting.generated == generated]
        tested = decide_means([effect.over.mean for effect in family], results.margin)
        for effect, tests in zip(family, tested, strict=True):
            gain = results.sign * effect.over.mean.difference
            yield replace(effect, tests=tests, verdict=_verdict(tests, gain) if results.sign else UNDECIDED)


def _verdict(tests: MeanTests, gain: float) -> str:
    """Return the verdict for a mean gain, above 0 where the first init is better."""
    differs = BETTER if gain > 0 else WORSE
    return {WITHIN: EQUIVALENT, DIFFERENT: differs}.get(tests.result, UNDECIDED)


def _verdicts_by_pair(results: ReportInput) -> VerdictsByPair:
    found: dict[tuple[ComparableSetting, frozenset[str]], list[Verdict]] = defaultdict(list)
    for verdict in compute_verdicts(results):
        a = verdict.a
        where = ComparableSetting(
            a.protocol, a.arch, a.size, a.input_size, a.fraction, results.generated(a.task)
        )
        found[where, frozenset((a.init, verdict.b.init))].append(verdict)
    return found


def _add_flags(effect: FactEffect, verdicts: VerdictsByPair) -> FactEffect:
    pair = frozenset((effect.difference.a, effect.difference.b))
    flags: Counter[str] = Counter()
    left_out: dict[str, str] = {}
    for verdict in verdicts.get((effect.setting, pair), ()):
        if verdict.a.task in effect.over.tasks:
            flags.update(list(dict.fromkeys(flag.name for flag in verdict.flags)))
        elif verdict.barred:
            seen = next((flag for flag in verdict.flags if flag.name in SEEN), verdict.barred)
            left_out[verdict.a.task] = seen.name
    return replace(effect, flags=dict(flags.most_common()), left_out=left_out)


def is_tested(effect: FactEffect) -> bool:
    """Whether there are enough tasks for a test."""
    return not math.isnan(effect.tests.p[0])
