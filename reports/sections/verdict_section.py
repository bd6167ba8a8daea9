"""Verdicts on pairs of inits, their evidence, flags and next steps."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ..analysis.report_input import ReportInput
from ..analysis.verdicts import EQUIVALENT, UNDECIDED, Verdict, compute_verdicts
from ..answers.by_modality import by_modality_answer, reach_table
from ..answers.main_answer import main_answer
from ..answers.next_steps import next_answer, next_steps, next_table
from ..elements.forest import draw_forests
from ..elements.format import (
    GENERATED,
    NBSP,
    count_noun,
    format_interval,
    format_labels,
    format_percent,
    join_words,
    labels_by_init,
    p_value,
    place_label,
    task_entry,
    varying_columns,
)
from ..elements.section import SECTIONS, Datum, SectionContent, SectionPart, Table, TableColumn, TableRow
from ..elements.verdict_flags import flag_summary, flag_table
from ..elements.verdict_format import by_pair, flag_names, keys_of, pair_name, pair_of, tally_text
from ..elements.verdict_style import LOOKS

MORE_IMAGES = "more images"
OPEN = 60
"""Most rows of an open table; a browser lays out a folded one only when it is opened."""
OPTIONAL_STOPPING = (
    "Fix the number of seeds beforehand, the same for all inits: adding seeds to one comparison until it has "
    "a verdict inflates the error rate."
)


@SECTIONS.register("verdicts")
def verdict_section(results: ReportInput) -> SectionContent | None:
    """Show every verdict with its evidence, by protocol, and answer three questions."""
    if not results.rows:
        return None
    verdicts = compute_verdicts(results)
    steps = next_steps(results, verdicts)
    modalities = by_modality_answer(results, verdicts)
    answers = (main_answer(results, verdicts), modalities, next_answer(steps, verdicts))
    parts = [_lead(results, verdicts), *(_protocols(results, verdicts) if verdicts else ())]
    if verdicts:
        parts.append(_doubts(results, verdicts))
    if steps:
        parts.append(SectionPart("Next steps", (OPTIONAL_STOPPING,), blocks=(next_table(steps),)))
    return SectionContent("Verdicts", tuple(parts), tuple(filter(None, answers)))


def _lead(results: ReportInput, verdicts: Sequence[Verdict]) -> SectionPart:
    if not verdicts:
        inits = join_words(list(dict.fromkeys(row.init for row in results.rows)))
        return SectionPart(lead=(f"Nothing can be compared: there are results of {inits} only.",))
    lead = ("Each row compares two inits on the same test images and the same seeds; see How to read this.",)
    return SectionPart(lead=lead, points=verdict_counts(results, verdicts))


def verdict_counts(results: ReportInput, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Count the verdicts of each pair, separately for real and generated tasks."""
    points = []
    for made in (False, True):
        chosen = [verdict for verdict in verdicts if results.generated(verdict.a.task) == made]
        warning = f" ({GENERATED})" if made else ""
        pairs = by_pair(chosen).items()
        points += [f"{pair_name(pair)}{warning}: {tally_text(of)}." for pair, of in pairs]
    return tuple(points)


def _protocols(results: ReportInput, verdicts: Sequence[Verdict]) -> list[SectionPart]:
    drawn = draw_forests(results, verdicts)
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.a.protocol].append(verdict)
    return [
        SectionPart(
            protocol,
            lead=(*_weights(members), *_estimands(members)),
            blocks=(*drawn.get(protocol, ()), *_tables(results, protocol, members)),
        )
        for protocol, members in groups.items()
    ]


def _estimands(verdicts: Sequence[Verdict]) -> list[str]:
    """Say what the intervals cover: a sentence for each share of the labels, one for shares that agree."""
    counted: dict[float, Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        if verdict.estimand:
            counted[verdict.a.fraction][verdict.estimand] += 1
    alike: dict[str, list[str]] = defaultdict(list)
    for fraction, found in sorted(counted.items()):
        named = [
            f"{text} ({n:,} of {found.total():,})" if len(found) > 1 else text for text, n in found.items()
        ]
        alike["; ".join(named)].append(format_percent(fraction))
    return [
        f"With {join_words(shares)} of the labels, intervals cover {text}." for text, shares in alike.items()
    ]


def _weights(verdicts: Sequence[Verdict]) -> list[str]:
    """List the labels of the inits that were pretrained here, with their number of images."""
    rows = (row for verdict in verdicts for row in (verdict.a, verdict.b) if row.origin == "here")
    return [f"{init}: {'; '.join(found)}." for init, found in labels_by_init(rows).items()]


def _tables(results: ReportInput, protocol: str, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return one table; a long one is split into the largest fraction and a folded rest."""
    if len(verdicts) <= OPEN:
        return [_table(results, protocol, verdicts)]
    largest = max(verdict.a.fraction for verdict in verdicts)
    first = [verdict for verdict in verdicts if verdict.a.fraction == largest]
    rest = [verdict for verdict in verdicts if verdict.a.fraction < largest]
    tables = [_table(results, f"{protocol}, {format_labels(largest)}", first)]
    if rest:
        tables.append(replace(_table(results, f"{protocol}, fewer labels", rest), folded=True))
    return tables


def _table(results: ReportInput, what: str, verdicts: Sequence[Verdict]) -> Table:
    extra = [pair for pair in varying_columns(v.a for v in verdicts) if pair[1] != "variant"]
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Pair", facet="init"),
        *(column for column, _ in extra),
        TableColumn("Labels", "g", "share of the training and validation labels", facet="fraction"),
        TableColumn("Difference in AUC", "+.3f", "first init minus second, mean over seeds, 95 % interval"),
        TableColumn("Verdict"),
        TableColumn("Detectable", ".3f", "smallest true difference shown with 80 % probability"),
        TableColumn("Seeds needed", ",.0f", "to show a difference as large as the present estimate"),
        TableColumn("P(better)", ".2f", "probability of a difference above the margin; note: within it"),
        TableColumn("p (BH)", ".3f", "p-value of no difference, corrected over tasks; note: of equivalence"),
        TableColumn("Seeds", "d", "common seeds of both inits"),
        TableColumn("Test images", ",d"),
        TableColumn("Flags", "", "reasons to doubt, explained below"),
    )
    rows = tuple(_row(results, verdict, [field for _, field in extra]) for verdict in verdicts)
    where = {place_label(v.a.arch, v.a.size, v.a.input_size) for v in verdicts}
    network = f"; {where.pop()}" if len(where) == 1 else ""
    caption = f"{what}: {count_noun(len(rows), 'comparison')}{network}"
    keys = tuple(keys_of(verdict) for verdict in verdicts)
    return Table(caption, columns, rows, facts={"protocol": verdicts[0].a.protocol}, keys=keys)


def _row(results: ReportInput, verdict: Verdict, extra: Sequence[str]) -> TableRow:
    a = verdict.a
    return (
        task_entry(results, a.task),
        pair_entry(verdict),
        *(getattr(a, field) for field in extra),
        Datum(a.fraction, format_percent(a.fraction)),
        difference_entry(verdict),
        verdict_entry(verdict),
        _detectable(verdict),
        _seeds_needed(verdict),
        _chance(verdict),
        _p(verdict),
        len(verdict.seeds),
        verdict.n_test or None,
        ", ".join(flag_names(verdict)) or None,
    )


def pair_entry(verdict: Verdict) -> Datum:
    """Name a pair, with its variants where records must not be mixed."""
    (a, b), pair = (verdict.a, verdict.b), pair_of(verdict)
    variants = f"{a.variant} against {b.variant}" if a.ambiguous or b.ambiguous else ""
    return Datum(pair_name(pair), note=variants, stands_for=pair)


def difference_entry(verdict: Verdict) -> Datum:
    """Write the difference, with its interval as a note."""
    return Datum(verdict.difference, note=format_interval(*verdict.interval).replace(" ", NBSP))


def verdict_entry(verdict: Verdict) -> Datum:
    """Write the verdict with its glyph, and the flag that excludes one as a note."""
    name, note = verdict.verdict, verdict.barred.name if verdict.barred else ""
    return Datum(name, f"{LOOKS[name].glyph} {name}", note=note, strong=name != UNDECIDED)


def _detectable(verdict: Verdict) -> Datum:
    return Datum(None, "no difference") if math.isinf(verdict.mde) else Datum(verdict.mde)


def _seeds_needed(verdict: Verdict) -> Datum:
    if math.isinf(verdict.seeds_needed):
        return Datum(None, MORE_IMAGES)
    return Datum(verdict.seeds_needed)


def _chance(verdict: Verdict) -> Datum:
    better, within, _ = verdict.chances
    return Datum(better, note="" if math.isnan(within) else f"within {within:.2f}")


def _p(verdict: Verdict) -> Datum:
    p, equal = verdict.p[1], verdict.p_equivalent[1]
    note = f"equivalence {p_value(equal)}" if verdict.verdict == EQUIVALENT else ""
    return Datum(p, p_value(p), note=note)


def _doubts(results: ReportInput, verdicts: Sequence[Verdict]) -> SectionPart:
    tables = (flag_summary(verdicts), flag_table(results, verdicts), reach_table(results, verdicts))
    flagged = sum(bool(verdict.flags) for verdict in verdicts)
    lead = f"Comparisons with a flag: {flagged:,} of {len(verdicts):,}."
    return SectionPart("Flags, and where transfer works", (lead,), blocks=tuple(t for t in tables if t.rows))
