"""Does medical pretraining help here? The answer over ImageNet and over scratch, from the verdicts."""

from collections.abc import Sequence

from ..findings.results import Results
from ..findings.verdicts import BETTER, CANNOT_TELL, EQUIVALENT, WORSE, Verdict
from ..section import Answer
from ..verdict_words import barred, between, extent, spans, tally, tally_text
from ..wording import GENERATED, count, listed
from .verdict_bars import bars

IMAGENET, SCRATCH = "imagenet", "scratch"
OTHERS = (IMAGENET, SCRATCH)
"""What medical weights are held against; every other init counts as one that somebody pretrained."""


def helps(results: Results, verdicts: Sequence[Verdict]) -> Answer:
    """Answer for every init beside ImageNet and scratch; real tasks only, where there are any."""
    question = "Does medical pretraining help here?"
    counted, warning = evidence_of(results, verdicts)
    inits = list(dict.fromkeys(row.init for row in results.rows))
    pairs = [(init, other) for init in inits if init not in OTHERS for other in OTHERS if other in inits]
    note = ""
    if not pairs:
        note = f"Not asked: this run has no medical weights, only {listed(inits) or 'no result'}. "
        pairs = [(IMAGENET, SCRATCH)] if {*OTHERS} <= {*inits} else []
    found = {pair: held for pair in pairs if (held := between(counted, *pair))}
    if not found:
        return Answer(question, f"{note or 'Cannot tell: '}no two inits can be compared here.", 10)
    told = " ".join(_told(*pair, held) for pair, held in found.items())
    everything = [verdict for held in found.values() for verdict in held]
    figure = bars(
        "answer-helps",
        f"Verdicts by pair: {n_of(everything)}.{warning}",
        {f"{ours} against {theirs}": tally(held) for (ours, theirs), held in found.items()},
    )
    return Answer(question, f"{warning} {note}{told} n = {n_of(everything)}.".strip(), 10, figure)


def evidence_of(results: Results, verdicts: Sequence[Verdict]) -> tuple[list[Verdict], str]:
    """Return the comparisons on real tasks, or all where no task is real, and what must be said of them."""
    real = [verdict for verdict in verdicts if not results.generated(verdict.a.task)]
    if real and len(real) < len(verdicts):
        return real, " Generated tasks are left out."
    return (real, "") if real else (list(verdicts), f" Every task here is {GENERATED}." if verdicts else "")


def n_of(verdicts: Sequence[Verdict]) -> str:
    """Write on what comparisons rest, e.g. "3 tasks, 3 label fractions, 3 seeds, 156 to 624 test images"."""
    protocols = {verdict.a.protocol for verdict in verdicts}
    parts = [
        count(len({verdict.a.task for verdict in verdicts}), "task"),
        *([count(len(protocols), "protocol")] if len(protocols) > 1 else []),
        count(len({verdict.a.fraction for verdict in verdicts}), "label fraction"),
        spans((len(verdict.seeds) for verdict in verdicts), "seed"),
        spans((verdict.n_test for verdict in verdicts), "test image"),
    ]
    return ", ".join(parts)


def _told(ours: str, theirs: str, held: Sequence[Verdict]) -> str:
    """Answer for one pair, e.g. "mednet over scratch: no, it is worse (better 0, ..., worse 6 of 9 ...)"."""
    counts = tally(held)
    differences = f"; difference in AUC {span}" if (span := extent(held)) else ""
    refused = sorted({name for verdict in held if (name := barred(verdict))})
    why = f"; no verdict where flagged {' or '.join(refused)}" if refused else ""
    comparisons = f"{tally_text(held)} {'comparison' if len(held) == 1 else 'comparisons'}"
    return f"{ours} over {theirs}: {_gist(counts)} ({comparisons}{differences}{why})."


def _gist(counts: dict[str, int]) -> str:
    if counts[BETTER] and counts[WORSE]:
        return "it depends"
    if counts[BETTER]:
        return "yes, in some places" if counts[CANNOT_TELL] or counts[EQUIVALENT] else "yes"
    if counts[WORSE]:
        return "no, it is worse"
    return "no difference that matters" if counts[EQUIVALENT] else "cannot tell"
