"""The top of the report: headline, counts of cells, notices and answers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...core.progress import track_each
from ..analysis.flags import leaks
from ..analysis.report_input import ReportInput
from ..analysis.verdicts import compute_verdicts
from ..answers import ANSWER_ORDER
from ..answers.headline import NOTHING, doubts, headline, recommendation, sureness
from ..answers.how_to_read import how_to_read
from ..answers.next_steps import next_sentence
from ..elements.format import GENERATED, TIMES, count_noun, format_labels
from ..elements.section import SECTIONS, ReportAnswer, ReportSection, SectionContent, SectionPart
from ..sections import SECTION_ORDER
from .explorer import explorer_data
from .facets import FilterFacet, list_facets

MOST_LEAKS = 5
"""Leaks in the notices; the section Leakage lists all."""


@dataclass(frozen=True)
class ReportPage:
    """A whole report as plain data, the same for every renderer.

    Attributes:
        headline: the answer in at most 20 words.
        sureness: what the interval of the headline is over, seeds and open comparisons.
        recommendation: the init with the best balance of verdicts.
        doubts: warnings to read before any number, the worst first.
        next_step: what to run next, and its options of `mednet-bench run`.
        how: paragraphs that explain the terms of the verdicts.
        scope: what was compared.
        data: scores and verdicts for the script of the page, see `explorer_data`.
        tally: (number, what it counts, tone); tone is "good", "bad" or "open".
        answers: answers of all sections, in order; `see` is the anchor of an existing section.
        sections: (anchor, content) in page order.
        facets: filters of the page.
        modalities: task -> modality, for filtering tasks by modality.
        homes: record key -> name of its run directory in a report of several runs; else empty.
    """

    title: str
    headline: str
    sureness: str
    recommendation: str
    doubts: tuple[str, ...]
    next_step: tuple[str, str]
    how: tuple[str, ...]
    scope: str
    data: str
    tally: tuple[tuple[int, str, str], ...]
    answers: tuple[ReportAnswer, ...]
    sections: tuple[tuple[str, SectionContent], ...]
    facets: tuple[FilterFacet, ...]
    modalities: dict[str, str]
    homes: dict[str, str]


def build_page(results: ReportInput) -> ReportPage:
    """Build every registered section and sort them."""
    names = sorted(SECTIONS, key=lambda name: _place(name, SECTION_ORDER))
    found = ((name, _content(name, SECTIONS[name], results)) for name in track_each("section", names))
    sections = [(name, content) for name, content in found if content]
    answer = headline(results)
    return ReportPage(
        title="mednet-bench report",
        headline=answer.text,
        sureness=sureness(results, answer),
        recommendation=recommendation(results),
        doubts=tuple(doubts(results, notices(results))),
        next_step=next_sentence(results, compute_verdicts(results)),
        how=how_to_read(results),
        scope=describe_scope(results),
        data=explorer_data(results),
        tally=count_cells(results),
        answers=collect_answers(sections),
        sections=tuple(sections),
        facets=list_facets(results),
        modalities={task: facts.modality for task, facts in results.tasks.items()},
        homes=record_homes(results),
    )


def _place(name: str, order: Sequence[str]) -> tuple[int, str]:
    """Return a sort key: the place in a list, and after the listed names by name."""
    return (order.index(name), "") if name in order else (len(order), name)


def _content(name: str, section: ReportSection, results: ReportInput) -> SectionContent | None:
    """Build a section; a failed plug-in is replaced by a sentence."""
    if not SECTIONS.is_foreign(name):
        return section(results)
    try:
        content = section(results)
        if content is None or isinstance(content, SectionContent):
            return content
        reason = f"it gave {type(content).__name__} instead of SectionContent"
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
    return SectionContent(
        name, (SectionPart(lead=(f"The plug-in that makes this section failed ({reason}).",)),)
    )


def record_homes(results: ReportInput) -> dict[str, str]:
    """Return the run directory's name per record, without its parents, since paths are private."""
    if len(results.folders) == 1:
        return {}
    return {key: folders[0].resolve().name for key, folders in results.places.items()}


def collect_answers(sections: Sequence[tuple[str, SectionContent]]) -> tuple[ReportAnswer, ...]:
    """Collect the answers in order; each refers to an existing section."""
    there = {anchor for anchor, _ in sections}
    found = [
        replace(answer, see=answer.see if answer.see in there else anchor)
        for anchor, content in sections
        for answer in content.answers
    ]
    return tuple(sorted(found, key=lambda answer: (_place(answer.name, ANSWER_ORDER), answer.question)))


def describe_scope(results: ReportInput) -> str:
    """Write in one line what was compared."""
    rows = results.rows
    if not rows:
        return NOTHING
    inits = list(dict.fromkeys(row.init for row in rows))
    parts = (
        count_noun(len({row.task for row in rows}), "task"),
        f"{count_noun(len(inits), 'init')} ({', '.join(inits)})",
        count_noun(len({row.arch for row in rows}), "architecture"),
        count_noun(len({row.protocol for row in rows}), "protocol"),
        count_noun(len({row.fraction for row in rows}), "label fraction"),
        count_noun(len({seed for row in rows for seed in row.seeds}), "seed"),
    )
    return f"{f' {TIMES} '.join(parts)}: {count_noun(len(results.counted_cells), 'cell')}."


def count_cells(results: ReportInput) -> tuple[tuple[int, str, str], ...]:
    """Count ok, failed and missing cells; a failed one is not missing too."""
    waiting = sum(item.reason != "failed" for item in results.missing)
    return (
        (len(results.counted_cells), "ok", "good" if results.counted else "bad"),
        (len(results.failed), "failed", "bad" if results.failed else "good"),
        (waiting, "missing", "open" if waiting else "good"),
    )


def _equal_shares(results: ReportInput) -> list[str]:
    """Name the fractions of a task that have the same training images with every seed."""
    counts: dict[tuple[str, int, str], dict[float, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    for record in results.counted:
        if record.counts:  # subsets of a seed are nested: equal sizes are equal subsets
            cell = record.cell
            counts[cell.task, cell.size, record.hashes.data][cell.fraction][cell.seed] = record.counts.train
    found = []
    for (task, _, _), fractions in sorted(counts.items()):
        alike: dict[tuple[tuple[int, int], ...], list[float]] = defaultdict(list)
        for fraction, by_seed in sorted(fractions.items()):
            alike[tuple(sorted(by_seed.items()))].append(fraction)
        found += [
            f"{task}: {' and '.join(map(format_labels, of))} are the same "
            f"{count_noun(by_seed[0][1], 'training image')}, since numbers are rounded and each class keeps "
            "some: read their comparisons as one."
            for by_seed, of in alike.items()
            if len(of) > 1
        ]
    return found


def damage_notice(results: ReportInput) -> str:
    """Count the damaged records and name the cure, without a full stop; "" if all are whole."""
    strays = [f"{path.parent.name}/{path.name}" for path in results.strays]
    broken = len(results.unreadable) + len(results.damaged)
    cures = []
    if broken > len(strays):
        cures.append("run the same command again, which computes those of its plan anew")
    if strays:
        more = f" and {len(strays) - MOST_LEAKS} more" if len(strays) > MOST_LEAKS else ""
        cures.append(f"delete {', '.join(strays[:MOST_LEAKS])}{more}, which no run computes anew")
    whose = f"{count_noun(broken, 'record')} or {'their' if broken > 1 else 'its'} predictions"
    return f"{whose} are damaged: {', and '.join(cures)}" if broken else ""


def notices(results: ReportInput) -> tuple[str, ...]:
    """Return the warnings to read before any number, leaks first."""
    tasks = {row.task for row in results.rows} or {
        r.cell.task for r in results.records if r.cell.step == "score"
    }
    made = sorted(task for task in tasks if results.generated(task))
    known = leaks(results)
    found = [f"{leak}." for leak in known[:MOST_LEAKS]]
    if len(known) > MOST_LEAKS:
        found.append(f"{count_noun(len(known) - MOST_LEAKS, 'more leak')}: see Leakage.")
    if made and len(made) == len(tasks):
        found.append(f"Every task here is a phantom ({GENERATED}). The numbers only test the software.")
    elif made:
        found.append(f"{', '.join(made)}: {GENERATED}.")
    if results.failed:
        found.append(f"{count_noun(len(results.failed), 'cell')} failed; see Warnings.")
    if damage := damage_notice(results):
        found.append(f"{damage}; see Warnings.")
    found += _equal_shares(results)
    if any(row.contaminated for row in results.rows):
        found.append(
            "Some weights have seen, or are declared to have seen, data that a task comes from; see Warnings."
        )
    if any(row.ambiguous for row in results.rows):
        found.append("Some records here must not be averaged or compared with each other; see Warnings.")
    return tuple(found)
