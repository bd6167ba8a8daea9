"""Text for verdicts: pair names, counts by verdict, ranges with their n."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from ..analysis.flags import LEAKS
from ..analysis.verdicts import UNDECIDED, Verdict
from ..statistics.verdict_terms import VERDICTS
from .format import count_noun, format_interval, format_number

FLAGS = 5
"""Flags named in a sentence; the section Verdicts counts all."""
Pair = tuple[str, str]
"""(init whose difference is stated, init that is subtracted)"""


def pair_name(pair: Pair) -> str:
    """Name a pair, e.g. "mednet against scratch"."""
    return f"{pair[0]} against {pair[1]}"


def pair_of(verdict: Verdict) -> Pair:
    """Return the two inits that are compared."""
    return verdict.a.init, verdict.b.init


def by_pair(verdicts: Iterable[Verdict]) -> dict[Pair, list[Verdict]]:
    """Group the comparisons by pair, in order of first appearance."""
    found: dict[Pair, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        found[pair_of(verdict)].append(verdict)
    return dict(found)


def without_refused(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Leave out refused pairs: inits that were never compared are not "undecided"."""
    return [verdict for verdict in verdicts if not verdict.has("not-comparable")]


def count_verdicts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Count each of `VERDICTS`, 0 included, without refused pairs."""
    found = Counter(verdict.verdict for verdict in without_refused(verdicts))
    return {name: found[name] for name in VERDICTS}


def is_undecided(verdict: Verdict) -> bool:
    """Return whether it could have been decided and was not."""
    return verdict.verdict == UNDECIDED and not verdict.barred


def tally_text(verdicts: Sequence[Verdict]) -> str:
    """Write the counts, e.g. "better 0, equivalent 0, undecided 3, worse 6 of 9; 1 refused"."""
    counts = count_verdicts(verdicts)
    compared = sum(counts.values())
    refused = f"; {len(verdicts) - compared} refused" if compared < len(verdicts) else ""
    return f"{', '.join(f'{name} {n}' for name, n in counts.items())} of {compared}{refused}"


def verdicts_between(verdicts: Iterable[Verdict], ours: str, theirs: str) -> list[Verdict]:
    """Return the comparisons of two inits, seen from `ours`."""
    return [v.seen_from(ours) for v in verdicts if {v.a.init, v.b.init} == {ours, theirs}]


def range_with_noun(numbers: Iterable[int], noun: str) -> str:
    """Write a range with its noun, e.g. "3 seeds" or "2 to 3 seeds"."""
    ends = sorted(set(numbers))
    return (f"{ends[0]:,} to " if len(ends) > 1 else "") + count_noun(ends[-1], noun)


def difference_range(verdicts: Iterable[Verdict]) -> str:
    """Write the range of differences with a verdict, e.g. "from −0.244 to −0.077", or ""."""
    known = [v.difference for v in verdicts if not np.isnan(v.difference) and not v.barred]
    if not known:
        return ""
    low, high = (format_number(value, "+.3f") for value in (min(known), max(known)))
    return f"from {low} to {high}" if low != high else low


def difference_text(verdict: Verdict) -> str:
    """Write difference and interval, e.g. "−0.103 (−0.216 to +0.009)"."""
    return f"{format_number(verdict.difference, '+.3f')} ({format_interval(*verdict.interval)})"


def flag_names(verdict: Verdict) -> tuple[str, ...]:
    """Return the names of the flags, each once."""
    return tuple(dict.fromkeys(flag.name for flag in verdict.flags))


def flagged_text(verdicts: Sequence[Verdict]) -> str:
    """Count the comparisons with a flag and name the most frequent flags, leaks first; or ""."""
    flags = Counter(name for verdict in verdicts for name in flag_names(verdict))
    if not flags:
        return ""
    order = sorted(flags, key=lambda name: (name not in LEAKS, -flags[name]))
    most = ", ".join(f"{name} {flags[name]:,}" for name in order[:FLAGS])
    rest = f" and {count_noun(len(flags) - FLAGS, 'other')}" if len(flags) > FLAGS else ""
    flagged = sum(bool(verdict.flags) for verdict in verdicts)
    has = "has" if flagged == 1 else "have"
    return f"{flagged:,} of {count_noun(len(verdicts), 'comparison')} {has} a flag: {most}{rest}."


def refusals(verdicts: Iterable[Verdict]) -> str:
    """Name the flags that exclude verdicts, e.g. "contaminated or single-seed", or ""."""
    return " or ".join(sorted({verdict.barred.name for verdict in verdicts if verdict.barred}))


def no_verdict_sentence(ours: str, theirs: str, verdicts: Sequence[Verdict]) -> str:
    """Write that no comparison of a pair can have a verdict, and why; "" if one can."""
    if not all(verdict.barred for verdict in verdicts):
        return ""
    total = count_noun(len(verdicts), "comparison")
    return f"{ours} against {theirs}: none of {total} can have a verdict ({refusals(verdicts)})."


def excluded_text(verdicts: Sequence[Verdict]) -> str:
    """Count what has no verdict, and why, e.g. "1 without a verdict: contaminated", or ""."""
    compared = [verdict for verdict in without_refused(verdicts) if verdict.barred]
    refused = len(verdicts) - len(without_refused(verdicts))
    parts = [f"{len(compared):,} without a verdict: {refusals(compared)}"] * bool(compared)
    parts += [f"{refused:,} refused: not-comparable"] * bool(refused)
    return "; ".join(parts)


def leaky_text(verdicts: Sequence[Verdict]) -> str:
    """Count the comparisons with test images, near copies or their patients in train or val, or ""."""
    leaky = sum(verdict.has(*LEAKS) for verdict in verdicts)
    of = f"{leaky:,} of {count_noun(len(verdicts), 'comparison')}"
    what = "some test images, near copies of them or their patients"
    return f" In {of}, {what} are also in train or val." if leaky else ""


def keys_of(verdict: Verdict) -> tuple[str, ...]:
    """Return the record keys of the paired seeds of both inits; of all seeds if none are paired."""
    return tuple(
        key
        for row in (verdict.a, verdict.b)
        for seed, key in zip(row.seeds, row.keys, strict=True)
        if seed in verdict.seeds or not verdict.seeds
    )
