"""Verdicts by patient beside those by image; absent if no patient has several test images."""

from ..analysis.influence_input import score_evidence
from ..analysis.patients import PatientResults, patient_results
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..analysis.verdicts import Verdict, compute_verdicts
from ..elements.format import (
    NBSP,
    compact_column,
    count_noun,
    format_percent,
    join_words,
    named_task,
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
from ..elements.verdict_format import flag_names, keys_of
from .verdict_section import difference_entry, pair_entry, verdict_entry

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
    how = f"the mean, of {join_words([named_task(results, name) for name in largest])} the maximum"
    how = how if largest else "the mean"
    left = {row.task: n for row, n in found.left_out.items() if n}
    lost = [
        f"{named_task(results, task)}: {count_noun(n, 'patient')} with images of several classes left out."
        for task, n in left.items()
    ]
    return (
        "The scores of a patient's images make one, and the AUC, the verdict and its error count patients. "
        "Patients are the groups of the data: where no patient is known the study, the file or the lesion. "
        "A patient whose images differ in their label has the highest (positive if any image is); of "
        f"classes without an order none is the highest. The score of a patient is {how}.",
        *lost,
    )


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
            pair_entry(v), v.a.protocol,
            *(getattr(v.a, field) for _, field in extra), Datum(v.a.fraction, format_percent(v.a.fraction)),
            _auc(v.a), _auc(v.b), difference_entry(v),
            verdict_entry(v), verdict_entry(other) if other else None, evidence[v.a].n_test or None,
            other.n_test or None if other else None,
            ", ".join(flag_names(v)) or None,
        )
        for v in verdicts[:MOST_ROWS]
        for other in (by_image.get(_place(v)),)
    )  # fmt: skip
    cut = f", the first {MOST_ROWS}; verdicts_by_patient.csv has all" if len(verdicts) > MOST_ROWS else ""
    caption = f"Verdicts by patient: {count_noun(len(verdicts), 'comparison')}{cut}"
    keys = tuple(keys_of(verdict) for verdict in verdicts[:MOST_ROWS])
    return compact_column(Table(caption, columns, rows, keys=keys), "Protocol")


def _auc(row: LeaderboardRow) -> float | None:
    stat = row.stats.get("auc")
    return stat.mean if stat and stat.n else None
