"""Answer whether medical pretraining helps, against ImageNet and scratch."""

from collections import defaultdict
from collections.abc import Sequence

from ...benchmark.schema.records import Record
from ..analysis.pretraining_size import sized_inits
from ..analysis.report_input import BASELINE, ReportInput
from ..analysis.verdicts import BETTER, EQUIVALENT, WORSE, Verdict
from ..elements.format import GENERATED, count_noun, join_words
from ..elements.section import ReportAnswer
from ..elements.verdict_bars import draw_verdict_bars
from ..elements.verdict_format import (
    count_verdicts,
    difference_range,
    excluded_text,
    is_undecided,
    leaky_text,
    no_verdict_sentence,
    range_with_noun,
    verdicts_between,
)

IMAGENET = "imagenet"
OTHERS = (IMAGENET, BASELINE)
"""Comparators of medical weights; every other pretrained init that is not derived counts as medical."""
COMPARED_WITH = {BETTER: "than", EQUIVALENT: "to", WORSE: "than"}
"""Verdict -> the preposition before the comparator."""


def main_answer(results: ReportInput, verdicts: Sequence[Verdict]) -> ReportAnswer:
    """Answer for every init except ImageNet and scratch; from real tasks only, if there are any.

    Of a family with several numbers of pretraining images, that with all of them.
    """
    question = "Does medical pretraining help here?"
    counted, warning = evidence_of(results, verdicts)
    inits = list(dict.fromkeys(row.init for row in results.rows))
    medical = medical_inits(results)
    pairs = [(init, other) for init in medical for other in OTHERS if other in inits]
    note = ""
    if not pairs:
        note = f"Not tested: this run has no medical weights, only {join_words(inits) or 'no result'}. "
        pairs = [(IMAGENET, BASELINE)] if {*OTHERS} <= {*inits} else []
    found = {pair: members for pair in pairs if (members := verdicts_between(counted, *pair))}
    if not found:
        start = f"{note}No" if note else "Undecided: no"
        return ReportAnswer(question, f"{start} two inits can be compared here.", "main")
    by_pair = " ".join(pair_sentence(*pair, members) for pair, members in found.items())
    everything = [verdict for members in found.values() for verdict in members]
    lines = {f"{ours} against {theirs}": count_verdicts(of) for (ours, theirs), of in found.items()}
    size = n_of(results, everything)
    figure = draw_verdict_bars("answer-helps", f"Verdicts by pair: {size}.{warning}", lines)
    weights = _pretraining_size(results, everything)
    sentence = f"{warning} {note}{by_pair}{leaky_text(everything)}{weights} n = {size}."
    return ReportAnswer(question, sentence.strip(), "main", figure)


def medical_inits(results: ReportInput) -> list[str]:
    """Return the inits that are neither ImageNet's, nor random, nor derived, nor of a reduced size."""
    inits = list(dict.fromkeys(row.init for row in results.rows))
    known = {*OTHERS, *results.derived_inits, *results.random_inits, *sized_inits(inits)}
    return [init for init in inits if init not in known]


def evidence_of(results: ReportInput, verdicts: Sequence[Verdict]) -> tuple[list[Verdict], str]:
    """Return the comparisons on real tasks, or all if no task is real, and a warning or ""."""
    real = [verdict for verdict in verdicts if not results.generated(verdict.a.task)]
    if real and len(real) < len(verdicts):
        return real, " Generated tasks are left out."
    return (real, "") if real else (list(verdicts), f" Every task here is {GENERATED}." if verdicts else "")


def n_of(results: ReportInput, verdicts: Sequence[Verdict]) -> str:
    """Write n without barred verdicts, e.g. "3 tasks, 3 seeds, 300 test images"."""
    judged = [verdict for verdict in verdicts if not verdict.barred]
    if not judged:
        return count_noun(0, "comparison")
    protocols = {verdict.a.protocol for verdict in judged}
    networks = {verdict.a.arch for verdict in judged}
    recipes = _count_recipes(results, judged)
    parts = [
        count_noun(len({verdict.a.task for verdict in judged}), "task"),
        *([count_noun(len(protocols), "protocol")] if len(protocols) > 1 else []),
        *([count_noun(len(networks), "network")] if len(networks) > 1 else []),
        *([count_noun(recipes, "recipe")] if recipes > 1 else []),
        count_noun(len({verdict.a.fraction for verdict in judged}), "label fraction"),
        range_with_noun((len(verdict.seeds) for verdict in judged), "seed"),
        range_with_noun((verdict.n_test for verdict in judged), "test image"),
    ]
    return ", ".join(parts)


def _count_recipes(results: ReportInput, verdicts: Sequence[Verdict]) -> int:
    """Count the recipes of the protocol with the most; each protocol hashes fields of its own."""
    protocols = {key: verdict.a.protocol for verdict in verdicts for key in verdict.a.keys}
    found: dict[str, set[str]] = defaultdict(set)
    for record in results.counted:
        if record.key in protocols:
            found[protocols[record.key]].add(record.recipe_hash)
    return max(map(len, found.values()), default=0)


def pair_sentence(ours: str, theirs: str, verdicts: Sequence[Verdict]) -> str:
    """Write the verdicts of a pair, e.g. "mednet is worse than scratch in 8 of 9 comparisons."."""
    if sentence := no_verdict_sentence(ours, theirs, verdicts):
        return sentence
    counts = count_verdicts(verdicts)
    total, undecided = sum(counts.values()), sum(map(is_undecided, verdicts))
    comparisons = "comparison" if total == 1 else "comparisons"
    names = [name for name in (BETTER, EQUIVALENT, WORSE) if counts[name]]
    details = [
        f"{undecided} undecided" if names and undecided else "",
        _differences_text(verdicts),
        excluded_text(verdicts),
    ]
    bracket = f" ({'; '.join(filter(None, details))})" if any(details) else ""
    if not names:
        return f"Undecided: {ours} against {theirs} in {undecided} of {total} {comparisons}{bracket}."
    first, *others = names
    claims = [f"{first} {COMPARED_WITH[first]} {theirs} in {counts[first]}"]
    claims += [f"{name} in {counts[name]}" for name in others]
    return f"{ours} is {join_words(claims)} of {total} {comparisons}{bracket}."


def _differences_text(verdicts: Sequence[Verdict]) -> str:
    """Write the range of differences with the number of comparisons that it is of, or ""."""
    judged = [verdict for verdict in verdicts if not verdict.barred]
    span = difference_range(judged)
    if not span:
        return ""
    some = " that may be judged" if len(judged) < len(verdicts) else ""
    if len(judged) == 1:
        return f"the difference in AUC{' of the one' * bool(some)}{some} is {span}"
    return f"the differences in AUC of all {len(judged):,}{some} are {span}"


def _pretraining_size(results: ReportInput, verdicts: Sequence[Verdict]) -> str:
    """Write how many images the weights pretrained here have seen, or ""."""
    keys = {key: verdict.a.init for verdict in verdicts for key in verdict.a.keys}
    used = {r.init.identity: keys[r.key] for r in results.counted if r.init and r.key in keys}
    pretrainings: dict[str, list[Record]] = defaultdict(list)
    for made in results.step("pretrain"):
        if made.init and made.counts and made.init.identity in used:
            pretrainings[used[made.init.identity]].append(made)
    return "".join(_pretraining_sentence(init, made) for init, made in pretrainings.items())


def _pretraining_sentence(init: str, made: Sequence[Record]) -> str:
    """Write how many pretrainings of an init there are, and on how many images."""
    images = range_with_noun((record.counts.train for record in made if record.counts), "image")
    if len(made) == 1:
        return f" {init} was pretrained once here, on {images}."
    cells = [record.cell for record in made]
    kinds = {(cell.arch, cell.size, cell.input_size, cell.task) for cell in cells}
    each = ", one for each network and kind of image" if len(kinds) == len(made) else ""
    return f" {len(made)} pretrainings of {init} here, on {images} each{each}."
