"""Verdicts by patient beside those by image; absent if no patient has several test images."""

from ..analysis.influence_input import score_evidence
from ..analysis.patients import PatientResults, patient_results
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..analysis.verdicts import Verdict, compute_verdicts
from ..elements.format import (
    GENERATED,
    NBSP,
    compact_column,
    count_noun,
    format_interval,
    format_percent,
    join_words,
    task_entry,
    varying_columns,
)
from ..elements.section import (
    SECTIONS,
    Datum,
    SectionContent,
    SectionPart,
    Table,
    TableColumn,
)
from ..elements.verdict_format import flag_names, keys_of, pair_name, pair_of
from ..elements.verdict_style import LOOKS

MOST_ROWS = 300
"""More rows make a page slow; verdicts_by_patient.csv has all."""


@SECTIONS.register("by-patient")
def patient_section(results: ReportInput) -> SectionContent | None:
    """Compare inits with one score per patient, beside the verdict by image; None without patients."""
    found = patient_results(results)
    if found is None:
        return None
    verdicts = compute_verdicts(found.results)
    by_image = {_place(verdict): verdict for verdict in compute_verdicts(results)}
    part = SectionPart(lead=_lead(results, found), blocks=(_table(found, verdicts, by_image),))
    return SectionContent("By patient", (part,)) if verdicts else None


def _lead(results: ReportInput, found: PatientResults) -> tuple[str, ...]:
    tasks = dict.fromkeys(row.task for row in found.results.rows)
    largest = [name for name in tasks if (facts := results.tasks.get(name)) and facts.patient_score == "max"]
    how = f"the mean, of {join_words([_named(results, name) for name in largest])} the maximum"
    how = how if largest else "the mean"
    left = {row.task: count for row, count in found.left_out.items() if count}
    lost = [
        f"{_named(results, task)}: {count_noun(count, 'patient')} with images of several classes left out."
        for task, count in left.items()
    ]
    return (
        "The scores of a patient's images make one, and the AUC, the verdict and its error count patients. "
        "Patients are the groups of the data: where no patient is known the study, the file or the lesion. "
        "A patient whose images differ in their label has the highest (positive if any image is); of "
        f"classes without an order none is the highest. The score of a patient is {how}.",
        *lost,
    )


def _named(results: ReportInput, task: str) -> str:
    return f"{task} ({GENERATED})" if results.generated(task) else task


def _place(verdict: Verdict) -> tuple[object, ...]:
    return (*verdict.a.block, verdict.a.init, verdict.b.init, verdict.a.variant, verdict.b.variant)


def _table(
    found: PatientResults, verdicts: tuple[Verdict, ...], by_image: dict[tuple[object, ...], Verdict]
) -> Table:
    extra = [pair for pair in varying_columns(v.a for v in verdicts) if pair[1] != "variant"]
    evidence = score_evidence(found.results)
    columns = (
        TableColumn("Task", facet="task"), TableColumn("Pair", facet="init"), TableColumn("Protocol"),
        *(column for column, _ in extra), TableColumn("Labels", "g", facet="fraction"),
        TableColumn("AUC", ".3f", "by patient, first init, mean over seeds"),
        TableColumn("AUC of the second", ".3f", "by patient"),
        TableColumn("Difference", "+.3f", f"by patient, with its 95{NBSP}% interval"),
        TableColumn("Verdict by patient"), TableColumn("Verdict by image"),
        TableColumn("Patients", ",d"), TableColumn("Images", ",d"), TableColumn("Flags"),
    )  # fmt: skip
    rows = tuple(
        (
            task_entry(found.results, v.a.task),
            Datum(pair_name(pair_of(v)), pair_name(pair_of(v)), stands_for=pair_of(v)), v.a.protocol,
            *(getattr(v.a, field) for _, field in extra), Datum(v.a.fraction, format_percent(v.a.fraction)),
            _auc(v.a), _auc(v.b), Datum(v.difference, note=format_interval(*v.interval).replace(" ", NBSP)),
            _call(v), _call(by_image.get(_place(v))), evidence[v.a].n_test or None,
            by_image[_place(v)].n_test or None if _place(v) in by_image else None,
            ", ".join(flag_names(v)) or None,
        )
        for v in verdicts[:MOST_ROWS]
    )  # fmt: skip
    cut = f", the first {MOST_ROWS}; verdicts_by_patient.csv has all" if len(verdicts) > MOST_ROWS else ""
    caption = f"Verdicts by patient: {count_noun(len(verdicts), 'comparison')}{cut}"
    keys = tuple(keys_of(verdict) for verdict in verdicts[:MOST_ROWS])
    return compact_column(Table(caption, columns, rows, keys=keys), "Protocol")


def _auc(row: LeaderboardRow) -> float | None:
    stat = row.stats.get("auc")
    return stat.mean if stat and stat.n else None


def _call(verdict: Verdict | None) -> Datum:
    if verdict is None:
        return Datum(None)
    barred = verdict.barred.name if verdict.barred else ""
    return Datum(verdict.verdict, f"{LOOKS[verdict.verdict].glyph} {verdict.verdict}", note=barred)
