"""How much faster does it converge? Steps and seconds to 95 % of the final validation score, per init."""

from collections.abc import Callable, Sequence

import numpy as np

from ..analysis.convergence import Pace, paces
from ..analysis.results import BASELINE, Results
from ..answers.convergence import pace_answer
from ..elements.format import compact, duration, number, percent, task_entry, varying
from ..elements.section import SECTIONS, Column, Content, Datum, Entry, Part, Table
from ..statistics.convergence import SHARE


@SECTIONS.register("convergence")
def convergence(results: Results) -> Content | None:
    """Show the steps and seconds of every fine-tuned row; None where no record has a curve."""
    found = paces(results)
    if not found:
        return None
    near = percent(SHARE)
    lead = (
        f"Optimiser steps until the validation score first reaches {near} of that of the weights that were "
        f"kept, median and range over seeds. Guessing has an AUC of 0.5, so that {near} of a low AUC may "
        f"be reached by guessing: From chance therefore counts the steps to {near} of the way from chance "
        f"level to the kept score. Seconds and the comparison with {BASELINE} are of that; a training that "
        "ends no better than chance has none.",
        "The step is that of the first validation there, so that no number is finer than the gap between "
        "validations. It says how soon a training is near its own end, not how good that end is: a poor init "
        "may converge fast to a poor score. Few validation labels make it coarse; seconds of different "
        "devices, or of cells that ran side by side, do not compare.",
    )
    largest = max(pace.row.fraction for pace in found)
    parts = [[p for p in found if p.row.fraction == largest], [p for p in found if p.row.fraction < largest]]
    tables = tuple(_table(results, part, folded=at > 0) for at, part in enumerate(parts) if part)
    answer = pace_answer(results, parts[0])
    return Content("Convergence", 48, (Part(lead=lead, blocks=tables),), (answer,) if answer else ())


def _table(results: Results, found: Sequence[Pace], folded: bool) -> Table:
    extra = varying(pace.row for pace in found)
    columns = (
        Column("Task", facet="task"),
        Column("Init", facet="init"),
        Column("Protocol", facet="protocol"),
        *((Column("Labels", "g", facet="fraction"),) * folded),
        *(column for column, _ in extra),
        Column("Steps", ",.0f", f"to {percent(SHARE)} of the final score, median over seeds, and the range"),
        Column("From chance", ",.0f", f"steps to {percent(SHARE)} of the way from chance level, likewise"),
        Column("Seconds", "g", "of training until then, likewise"),
        Column("Seeds", "d"),
        Column(f"From chance / {BASELINE}", ".2f", "median over the seeds that both have, and the range"),
        Column("Paired", "d", "seeds that both have"),
    )
    rows: list[tuple[Entry, ...]] = [
        (
            task_entry(results, pace.row.task),
            pace.row.init,
            pace.row.protocol,
            *((Datum(pace.row.fraction, percent(pace.row.fraction)),) * folded),
            *(getattr(pace.row, field) for _, field in extra),
            _median([*pace.steps.values()], lambda x: number(x, ",.0f")),
            _median([*pace.gained.values()], lambda x: number(x, ",.0f")),
            _median([*pace.seconds.values()], duration),
            Datum(len(pace.gained), note=f"of {pace.curved}" if len(pace.gained) < pace.curved else ""),
            _median(pace.ratio, lambda x: number(x, ".2f")),
            len(pace.ratio),
        )
        for pace in found
    ]
    what = "with fewer labels" if folded else f"with {percent(found[0].row.fraction)} of the labels"
    caption = f"To {percent(SHARE)} of the final validation score, {what}"
    protocols = {pace.row.protocol for pace in found}
    facts: dict[str, str | float] = {} if folded else {"fraction": found[0].row.fraction}
    if len(protocols) == 1:  # then the column goes
        facts["protocol"] = protocols.pop()
    keys = tuple(pace.keys for pace in found)
    return compact(Table(caption, columns, tuple(rows), folded, facts, keys), "Protocol")


def _median(values: Sequence[float] | np.ndarray, write: Callable[[float], str]) -> Datum:
    """Write a median with its range; sorted by the median."""
    if not len(values):
        return Datum(None)
    middle, low, high = (float(f(values)) for f in (np.median, np.min, np.max))
    text = write(middle) if low == high else f"{write(middle)} ({write(low)}\u2013{write(high)})"
    return Datum(middle, text)
