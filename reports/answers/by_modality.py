"""Answer where transfer stops working, by modality and kind of data."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from ..analysis.report_input import BASELINE, ReportInput
from ..analysis.verdicts import BETTER, Verdict
from ..elements.format import GENERATED, count_noun, format_percent, join_words
from ..elements.section import Datum, ReportAnswer, Table, TableColumn, TableRow
from ..elements.verdict_bars import draw_verdict_bars
from ..elements.verdict_format import (
    count_verdicts,
    difference_range,
    excluded_text,
    is_undecided,
    leaky_text,
    no_verdict_sentence,
    verdicts_between,
    without_refused,
)
from ..statistics.verdict_terms import VERDICTS
from .main_answer import evidence_of

OTHER_MODALITY = "unknown"
NEVER = {
    "modality": "in {}",
    "kind of task": "in {} tasks",
    "color": "on {} images",
    "labels": "at {} of the labels",
}
"""Dimension -> phrase for one of its values after "not shown"."""
Groups = dict[str, list[Verdict]]


def by_modality_answer(results: ReportInput, verdicts: Sequence[Verdict]) -> ReportAnswer | None:
    """Name where no pretrained init is shown to be better than scratch."""
    found, warning = _against_scratch(results, verdicts)
    if not found:
        return None
    by_init = " ".join(_init_sentence(results, init, members) for init, members in found.items())
    lines = {
        f"{modality}: {init}": count_verdicts(group)
        for init, members in found.items()
        for modality, group in _by_dimension(results, members)["modality"].items()
    }
    figure = draw_verdict_bars(
        "answer-reach",
        f"Verdicts against {BASELINE}, by modality and init.{warning}",
        dict(sorted(lines.items())),
    )
    leaky = leaky_text([verdict for members in found.values() for verdict in members])
    undecided = any(is_undecided(verdict) for members in found.values() for verdict in members)
    hope = " Transfer may still work where the verdict is undecided." if undecided else ""
    sentence = f"{warning} {by_init}{leaky}{hope}".strip()
    question = "For which modalities and kinds of data does transfer stop working?"
    return ReportAnswer(question, sentence, "by-modality", figure)


def reach_table(results: ReportInput, verdicts: Sequence[Verdict]) -> Table:
    """Count the verdicts against scratch by modality, kind, color and labels."""
    found, warning = _against_scratch(results, verdicts)
    rows: list[TableRow] = []
    for init, members in found.items():
        for dimension, groups in _by_dimension(results, members).items():
            for value, group in groups.items():
                tasks = tuple(dict.fromkeys(verdict.a.task for verdict in group))
                listing = ", ".join(tasks)
                counts = count_verdicts(group)
                rows.append(
                    (
                        value, dimension, Datum(init, f"{init} against {BASELINE}"),
                        *(counts[name] for name in VERDICTS), difference_range(group) or None,
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


def _against_scratch(results: ReportInput, verdicts: Sequence[Verdict]) -> tuple[Groups, str]:
    counted, warning = evidence_of(results, verdicts)
    inits = dict.fromkeys(row.init for row in results.rows if row.init != BASELINE)
    found = {init: verdicts_between(counted, init, BASELINE) for init in inits}
    return {init: members for init, members in found.items() if members}, warning


def _by_dimension(results: ReportInput, verdicts: Sequence[Verdict]) -> dict[str, Groups]:
    """Group comparisons by modality, kind, color and labels: dimension -> value -> comparisons."""
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


def _init_sentence(results: ReportInput, init: str, verdicts: Sequence[Verdict]) -> str:
    """Write how often one init is shown to be better than scratch, and where it never is."""
    if sentence := no_verdict_sentence(init, BASELINE, verdicts):
        return sentence
    verdicts = without_refused(verdicts)
    dimensions = _by_dimension(results, verdicts)
    better = count_verdicts(verdicts)[BETTER]
    of = f"{better} of {count_noun(len(verdicts), 'comparison')}{_other_verdicts(verdicts)}"
    claim = f"{init} is shown to be better than {BASELINE}"
    if not better:
        modalities = join_words(sorted(dimensions["modality"]))
        return f"{claim} in {of}, over all modalities here: {modalities}."
    not_shown = [
        NEVER[dimension].format(value) + _other_verdicts(group)
        for dimension, groups in dimensions.items()
        for value, group in groups.items()
        if not count_verdicts(group)[BETTER]
    ]
    everywhere = "at least once in every modality and kind of task"
    where = f"not shown {join_words(not_shown)}" if not_shown else everywhere
    return f"{claim} in {of}; {where}."


def _other_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Count the verdicts other than better in brackets, or ""."""
    counts = count_verdicts(verdict for verdict in verdicts if not verdict.barred)
    others = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if name != BETTER and counts[name])
    details = "; ".join(filter(None, (others, excluded_text(verdicts))))
    return f" ({details})" if details else ""
