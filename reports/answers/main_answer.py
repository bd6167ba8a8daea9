"""Does medical pretraining help here? The answer over ImageNet and over scratch, from the verdicts."""

from collections import defaultdict
from collections.abc import Sequence

from ..analysis.results import BASELINE, Results
from ..analysis.verdicts import BETTER, EQUIVALENT, UNDECIDED, WORSE, Verdict
from ..elements.format import GENERATED, count_noun, join_words
from ..elements.section import ReportAnswer
from ..elements.verdict_bars import draw_verdict_bars
from ..elements.verdict_format import (
    count_verdicts,
    detectable_range,
    leaky_text,
    range_with_noun,
    refusals,
    tally_text,
    verdicts_between,
    without_refused,
)

IMAGENET = "imagenet"
OTHERS = (IMAGENET, BASELINE)
"""What medical weights are held against; every other init counts as one that somebody pretrained."""
FLAT = {BETTER: "yes", WORSE: "no, it is worse", EQUIVALENT: "no difference that matters"}
VERDICT_WORDS = {BETTER: "better", WORSE: "worse", EQUIVALENT: "no difference that matters"}


def main_answer(results: Results, verdicts: Sequence[Verdict]) -> ReportAnswer:
    """Answer for every init beside ImageNet and scratch; real tasks only, where there are any."""
    question = "Does medical pretraining help here?"
    counted, warning = evidence_of(results, verdicts)
    inits = list(dict.fromkeys(row.init for row in results.rows))
    medical = [init for init in inits if init not in {*OTHERS, *results.derived_inits}]
    pairs = [(init, other) for init in medical for other in OTHERS if other in inits]
    note = ""
    if not pairs:
        note = f"Not asked: this run has no medical weights, only {join_words(inits) or 'no result'}. "
        pairs = [(IMAGENET, BASELINE)] if {*OTHERS} <= {*inits} else []
    found = {pair: held for pair in pairs if (held := verdicts_between(counted, *pair))}
    if not found:
        return ReportAnswer(question, f"{note or 'Cannot tell: '}no two inits can be compared here.", 10)
    told = " ".join(_told(*pair, held) for pair, held in found.items())
    everything = [verdict for held in found.values() for verdict in held]
    lines = {f"{ours} against {theirs}": count_verdicts(held) for (ours, theirs), held in found.items()}
    figure = draw_verdict_bars("answer-helps", f"Verdicts by pair: {n_of(everything)}.{warning}", lines)
    sentence = (
        f"{warning} {note}{told}{leaky_text(everything)}{_made(results, everything)} n = {n_of(everything)}."
    )
    return ReportAnswer(question, sentence.strip(), 10, figure)


def evidence_of(results: Results, verdicts: Sequence[Verdict]) -> tuple[list[Verdict], str]:
    """Return the comparisons on real tasks, or all where no task is real, and what must be said of them."""
    real = [verdict for verdict in verdicts if not results.generated(verdict.a.task)]
    if real and len(real) < len(verdicts):
        return real, " Generated tasks are left out."
    return (real, "") if real else (list(verdicts), f" Every task here is {GENERATED}." if verdicts else "")


def n_of(verdicts: Sequence[Verdict]) -> str:
    """Write on what comparisons rest, e.g. "3 tasks, 3 label fractions, 3 seeds, 156 to 624 test images".

    Those that may have no verdict are not counted: nothing rests on them.
    """
    judged = [verdict for verdict in verdicts if not verdict.barred]
    if not judged:
        return count_noun(0, "comparison")
    protocols = {verdict.a.protocol for verdict in judged}
    parts = [
        count_noun(len({verdict.a.task for verdict in judged}), "task"),
        *([count_noun(len(protocols), "protocol")] if len(protocols) > 1 else []),
        count_noun(len({verdict.a.fraction for verdict in judged}), "label fraction"),
        range_with_noun((len(verdict.seeds) for verdict in judged), "seed"),
        range_with_noun((verdict.n_test for verdict in judged), "test image"),
    ]
    return ", ".join(parts)


def _told(ours: str, theirs: str, held: Sequence[Verdict]) -> str:
    """Answer for one pair, e.g. "mednet over scratch: no, it is worse (better 0, ..., worse 6 of 9 ...)"."""
    counts = count_verdicts(held)
    differences = f"; difference in AUC {span}" if (span := detectable_range(held)) else ""
    why = f"; no verdict where flagged {refused}" if (refused := refusals(held)) else ""
    compared = without_refused(held)
    comparisons = f"{tally_text(compared)} {'comparison' if len(compared) == 1 else 'comparisons'}"
    return f"{ours} over {theirs}: {_gist(counts)} ({comparisons}{differences}{why})."


def _gist(counts: dict[str, int]) -> str:
    """Say it flatly only where all comparisons agree; else name what holds in some places and what not."""
    found = [name for name in (BETTER, WORSE, EQUIVALENT) if counts[name]]
    if not found:
        return "cannot tell"
    if len(found) == 1 and not counts[UNDECIDED]:
        return FLAT[found[0]]
    places = ["in some places", *["in others"] * (len(found) - 1)]
    told = [f"{where} {VERDICT_WORDS[name]}" for where, name in zip(places, found, strict=True)]
    return ", ".join([*told, *["else one cannot tell"] * bool(counts[UNDECIDED])])


def _made(results: Results, verdicts: Sequence[Verdict]) -> str:
    """Say how small the medical weights are that were made here, or ""."""
    keys = {key: verdict.a.init for verdict in verdicts for key in verdict.a.keys}
    used = {r.init.identity: keys[r.key] for r in results.counted if r.init and r.key in keys}
    images: dict[str, list[int]] = defaultdict(list)
    for made in results.step("pretrain"):
        if made.init and made.counts and made.init.identity in used:
            images[used[made.init.identity]].append(made.counts.train)
    return "".join(
        f" Here {init} means weights pretrained once, on {range_with_noun(of, 'image')}."
        for init, of in images.items()
    )
