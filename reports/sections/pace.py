"""Convergence: steps and seconds to 95 % of the final validation score, per init."""

from collections.abc import Callable, Sequence

import numpy as np

from ..analysis.convergence import ConvergencePace, convergence_paces
from ..analysis.report_input import BASELINE, ReportInput
from ..answers.convergence import pace_answer
from ..elements.format import (
    compact_column,
    format_duration,
    format_labels,
    format_number,
    format_percent,
    task_entry,
    varying_columns,
)
from ..elements.section import SECTIONS, Datum, SectionContent, SectionPart, Table, TableColumn, TableRow
from ..statistics.convergence import SHARE


@SECTIONS.register("convergence")
def convergence_section(results: ReportInput) -> SectionContent | None:
    """Show the steps and seconds of every fine-tuned row; None if no record has a curve."""
    found = convergence_paces(results)
    if not found:
        return None
    near = format_percent(SHARE)
    lead = (
        f"Steps: optimizer steps until the validation score first reaches {near} of that of the selected "
        f"checkpoint, median and range over seeds. Since guessing has an AUC of 0.5 and may reach {near} of "
        f"a low AUC, From chance counts the steps to {near} of the way from chance level to that score. "
        f"Seconds and the comparison with {BASELINE} use From chance, which is undefined for a training that "
        "ends at chance or below.",
        "The resolution is the interval between validations. Convergence says how soon a training is near "
        "its own final score, not how good that score is: a poor init may converge fast to a poor score. Few "
        "validation labels make it coarse. Seconds of different devices, or of cells that ran at the same "
        "time, are not comparable.",
    )
    largest = max(pace.row.fraction for pace in found)
    parts = [[p for p in found if p.row.fraction == largest], [p for p in found if p.row.fraction < largest]]
    tables = tuple(_table(results, part, folded=at > 0) for at, part in enumerate(parts) if part)
    answer = pace_answer(results, parts[0])
    part = SectionPart(lead=lead, blocks=tables)
    return SectionContent("Convergence", (part,), (answer,) if answer else ())


def _table(results: ReportInput, found: Sequence[ConvergencePace], folded: bool) -> Table:
    extra, near = varying_columns(pace.row for pace in found), format_percent(SHARE)
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Init", facet="init"),
        TableColumn("Protocol", facet="protocol"),
        *((TableColumn("Labels", "g", facet="fraction"),) * folded),
        *(column for column, _ in extra),
        TableColumn("Steps", ",.0f", f"to {near} of the final score, median over seeds, and the range"),
        TableColumn("From chance", ",.0f", f"steps to {near} of the way from chance level, likewise"),
        TableColumn("Seconds", "g", "of training until then, likewise"),
        TableColumn("Seeds", "d"),
        TableColumn(f"From chance / {BASELINE}", ".2f", "median over the common seeds, and the range"),
        TableColumn("Paired", "d", "common seeds"),
    )
    rows: list[TableRow] = [
        (
            task_entry(results, pace.row.task),
            pace.row.init,
            pace.row.protocol,
            *((Datum(pace.row.fraction, format_percent(pace.row.fraction)),) * folded),
            *(getattr(pace.row, field) for _, field in extra),
            _median([*pace.steps.values()], lambda x: format_number(x, ",.0f")),
            _median([*pace.gained.values()], lambda x: format_number(x, ",.0f")),
            _median([*pace.seconds.values()], format_duration),
            Datum(len(pace.gained), note=f"of {pace.curved}" if len(pace.gained) < pace.curved else ""),
            _median(pace.ratio, lambda x: format_number(x, ".2f")),
            len(pace.ratio),
        )
        for pace in found
    ]
    labels = "with fewer labels" if folded else f"with {format_labels(found[0].row.fraction)}"
    caption = f"To {near} of the final validation score, {labels}"
    protocols = {pace.row.protocol for pace in found}
    facts: dict[str, str | float] = {} if folded else {"fraction": found[0].row.fraction}
    if len(protocols) == 1:  # the column is dropped
        facts["protocol"] = protocols.pop()
    keys = tuple(pace.keys for pace in found)
    return compact_column(Table(caption, columns, tuple(rows), folded, facts, keys), "Protocol")


def _median(values: Sequence[float] | np.ndarray, write: Callable[[float], str]) -> Datum:
    """Write a median with its range; the median is the sort key."""
    if not len(values):
        return Datum(None)
    middle, low, high = (float(f(values)) for f in (np.median, np.min, np.max))
    text = write(middle) if low == high else f"{write(middle)} ({write(low)}\u2013{write(high)})"
    return Datum(middle, text)
