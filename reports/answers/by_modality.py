"""For which modalities and kinds of data does transfer stop working? Pretrained inits against scratch."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from ..analysis.results import BASELINE, Results
from ..analysis.verdicts import BETTER, VERDICTS, Verdict
from ..elements.format import GENERATED, count_noun, format_percent, join_words
from ..elements.section import Datum, ReportAnswer, Table, TableColumn, TableEntry
from ..elements.verdict_bars import draw_verdict_bars
from ..elements.verdict_format import (
    count_verdicts,
    detectable_range,
    leaky_text,
    refusals,
    verdicts_between,
    without_refused,
)
from .main_answer import evidence_of

OTHER_MODALITY = "unknown"
NEVER = {
    "modality": "in {}",
    "kind of task": "in {} tasks",
    "color": "on {} images",
    "labels": "at {} of the labels",
}
"""Dimension -> how a value of it follows the word never."""
Groups = dict[str, list[Verdict]]


def by_modality_answer(results: Results, verdicts: Sequence[Verdict]) -> ReportAnswer | None:
    """Name, for every pretrained init, where it is never shown to be better than scratch."""
    found, warning = _against_scratch(results, verdicts)
    if not found:
        return None
    told = " ".join(_told(results, init, held) for init, held in found.items())
    lines = {
        f"{modality}: {init}": count_verdicts(held)
        for init, members in found.items()
        for modality, held in _grouped(results, members)["modality"].items()
    }
    figure = draw_verdict_bars(
        "answer-reach",
        f"Verdicts against {BASELINE}, by modality and init.{warning}",
        dict(sorted(lines.items())),
    )
    untold = "Where one cannot tell, transfer may still work."
    leaky = leaky_text([verdict for held in found.values() for verdict in held])
    sentence = f"{warning} {told}{leaky} {untold}".strip()
    return ReportAnswer(
        "For which modalities and kinds of data does transfer stop working?", sentence, 20, figure
    )


def reach_table(results: Results, verdicts: Sequence[Verdict]) -> Table:
    """Count the verdicts of every pretrained init against scratch by modality, kind, color and labels."""
    found, warning = _against_scratch(results, verdicts)
    rows: list[tuple[TableEntry, ...]] = []
    for init, members in found.items():
        for what, groups in _grouped(results, members).items():
            for value, held in groups.items():
                tasks = tuple(dict.fromkeys(verdict.a.task for verdict in held))
                listing = ", ".join(tasks)
                counts = count_verdicts(held)
                rows.append(
                    (
                        value, what, Datum(init, f"{init} against {BASELINE}"),
                        *(counts[name] for name in VERDICTS), detectable_range(held) or None,
                        Datum(
                            listing, listing, stands_for=tasks,
                            note=GENERATED if all(map(results.generated, tasks)) else "",
                        ),
                    )
                )  # fmt: skip
    columns = (
        TableColumn("Where"),
        TableColumn("Kind"),
        TableColumn("Pair", facet="init"),
        *(TableColumn(name.capitalize(), "d", "comparisons") for name in VERDICTS),
        TableColumn("Differences in AUC"),
        TableColumn("Tasks", facet="task"),
    )
    caption = f"Where transfer works: verdicts of the pretrained inits against {BASELINE}.{warning}"
    return Table(caption, columns, tuple(rows), folded=True)


def _against_scratch(results: Results, verdicts: Sequence[Verdict]) -> tuple[Groups, str]:
    counted, warning = evidence_of(results, verdicts)
    inits = dict.fromkeys(row.init for row in results.rows if row.init != BASELINE)
    return {init: held for init in inits if (held := verdicts_between(counted, init, BASELINE))}, warning


def _grouped(results: Results, verdicts: Sequence[Verdict]) -> dict[str, Groups]:
    """Gather comparisons by what may decide whether transfer works: dimension -> value -> comparisons."""
    tasks = results.tasks

    def fact(name: str) -> Callable[[Verdict], str]:
        return lambda verdict: getattr(tasks.get(verdict.a.task), name, OTHER_MODALITY)

    dimensions: dict[str, Callable[[Verdict], str]] = {
        "modality": fact("modality"),
        "kind of task": fact("kind"),
        "color": fact("variant"),
        "labels": lambda verdict: format_percent(verdict.a.fraction),
    }
    found: dict[str, Groups] = {}
    for what, of in dimensions.items():
        groups: Groups = defaultdict(list)
        for verdict in verdicts:
            groups[of(verdict)].append(verdict)
        found[what] = dict(groups)
    return found


def _told(results: Results, init: str, verdicts: Sequence[Verdict]) -> str:
    """Say of one init where it is never better, with what it is instead."""
    if all(verdict.barred for verdict in verdicts):
        none = f"none of {count_noun(len(verdicts), 'comparison')} can have a verdict ({refusals(verdicts)})"
        return f"Of {init} against {BASELINE} nothing is known: {none}."
    verdicts = without_refused(verdicts)
    grouped = _grouped(results, verdicts)
    better = count_verdicts(verdicts)[BETTER]
    of = f"{better or 'none'} of {count_noun(len(verdicts), 'comparison')}{_rest(verdicts)}"
    start = f"{init} is shown to be better than {BASELINE} in {of}"
    if not better:
        return f"{start}, over all modalities here: {join_words(sorted(grouped['modality']))}."
    never = [
        NEVER[what].format(value) + _rest(held)
        for what, groups in grouped.items()
        for value, held in groups.items()
        if not count_verdicts(held)[BETTER]
    ]
    where = f"never {join_words(never)}" if never else "in every modality and kind of task"
    return f"{start}; {where}."


def _rest(verdicts: Sequence[Verdict]) -> str:
    """Write the verdicts other than better in brackets, or ""."""
    counts = count_verdicts(verdicts)
    told = ", ".join(f"{name} {counts[name]}" for name in VERDICTS if name != BETTER and counts[name])
    return f" ({told})" if told else ""
