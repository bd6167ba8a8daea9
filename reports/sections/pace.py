"""How much faster does it converge? Steps and seconds to 95 % of the final validation score, per init."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...benchmark.records import Record
from ..findings.results import Results, Row
from ..pictures import INK, draw, looks, shorten, style, swatch
from ..section import SECTIONS, Answer, Column, Content, Datum, Entry, Figure, Part, Table
from ..statistics.convergence import SHARE, first_within, ratios
from ..wording import (
    GENERATED,
    NBSP,
    TIMES,
    compact,
    count,
    duration,
    number,
    percent,
    place,
    task_entry,
    varying,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASELINE = "scratch"
TASKS = 24
"""Lines of the small picture; the table holds all."""


@dataclass(frozen=True, eq=False)
class Pace:
    """How fast the trainings of one row came close to their end.

    Attributes:
        row: the seeds of one cell.
        steps: seed -> optimiser steps to the first validation of at least 95 % of the kept score.
        seconds: seed -> seconds of training until then.
        curved: seeds that have a curve.
        ratio: steps against those of the same seed from scratch [n]; empty where nothing can be paired.
        keys: of the records behind.
    """

    row: Row
    steps: dict[int, float]
    seconds: dict[int, float]
    curved: int
    ratio: np.ndarray
    keys: tuple[str, ...]


@SECTIONS.register("convergence")
def convergence(results: Results) -> Content | None:
    """Show the steps and seconds of every fine-tuned row; None where no record has a curve."""
    found = paces(results)
    if not found:
        return None
    lead = (
        f"Optimiser steps and seconds until the validation score first reaches {percent(SHARE)} of that of "
        "the weights that were kept, median and range over seeds; the step is that of the first validation "
        "there, so that no number is finer than the gap between validations. It says how soon a training is "
        "near its own end, not how good that end is: a poor init may converge fast to a poor score. Few "
        "validation labels make it coarse; seconds of different devices, or of cells that ran side by side, "
        "do not compare.",
    )
    largest = max(pace.row.fraction for pace in found)
    parts = [[p for p in found if p.row.fraction == largest], [p for p in found if p.row.fraction < largest]]
    tables = tuple(_table(results, part, folded=at > 0) for at, part in enumerate(parts) if part)
    answer = _answer(results, parts[0])
    return Content("Convergence", 48, (Part(lead=lead, blocks=tables),), (answer,) if answer else ())


def paces(results: Results) -> list[Pace]:
    """Measure every row with curves, in the order of `results.rows`."""
    records = {record.key: record for record in results.counted}
    measured = {row: _measured(results.primary, row, records) for row in results.rows}
    scratch: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in results.rows:
        if row.init == BASELINE:
            scratch[row.block].append(row)
    found = []
    for row, (steps, seconds, curved) in measured.items():
        others = scratch[row.block] if row.init != BASELINE else []
        theirs = measured[others[0]][0] if len(others) == 1 else {}
        keys = row.keys + (others[0].keys if theirs else ())
        if curved:
            found.append(Pace(row, steps, seconds, curved, ratios(steps, theirs), keys))
    return found


def _measured(
    primary: str, row: Row, records: dict[str, Record]
) -> tuple[dict[int, float], dict[int, float], int]:
    steps, seconds, curved = {}, {}, 0
    for seed, key in zip(row.seeds, row.keys, strict=True):
        record = records[key]
        scores = [math.nan if p.val_score is None else p.val_score for p in record.curve]
        if not scores or all(map(math.isnan, scores)):
            continue
        curved += 1
        kept = record.val_metrics.get(primary)
        at = first_within(scores, kept if kept is not None else float(np.nanmax(scores)))
        if at is not None:
            steps[seed], seconds[seed] = float(record.curve[at].step), record.curve[at].seconds
    return steps, seconds, curved


def _table(results: Results, found: Sequence[Pace], folded: bool) -> Table:
    extra = varying(pace.row for pace in found)
    columns = (
        Column("Task", facet="task"),
        Column("Init", facet="init"),
        Column("Protocol", facet="protocol"),
        *((Column("Labels", "g", facet="fraction"),) * folded),
        *(column for column, _ in extra),
        Column("Steps", ",.0f", "median over seeds, and the range"),
        Column("Seconds", "g", "of training until then, median over seeds, and the range"),
        Column("Seeds", "d"),
        Column(f"Steps / {BASELINE}", ".2f", "median over the seeds that both have, and the range"),
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
            _median([*pace.seconds.values()], duration),
            Datum(len(pace.steps), note=f"of {pace.curved}" if len(pace.steps) < pace.curved else ""),
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


def _answer(results: Results, found: Sequence[Pace]) -> Answer | None:
    """Answer with the steps of each init against scratch, over the tasks of one setting."""
    settings: dict[tuple[object, ...], list[Pace]] = defaultdict(list)
    for pace in found:
        row = pace.row
        if len(pace.ratio):
            real = not results.generated(row.task)
            settings[real, row.protocol, row.arch, row.size, row.input_size].append(pace)
    question = "How much faster does it converge?"
    if not settings:
        sentence = f"Nobody can say: no training of another init shares its seed with one from {BASELINE}."
        return Answer(question, sentence, 40)
    chosen = max(settings.items(), key=lambda item: (item[0][0], len(item[1])))[1]  # real images first
    first = chosen[0].row
    inits = dict.fromkeys(pace.row.init for pace in chosen)
    told = "; ".join(_told([pace for pace in chosen if pace.row.init == init]) for init in inits)
    made = results.generated(first.task)
    sentence = (
        f"Steps to {percent(SHARE)} of its final validation score, as a share of those from {BASELINE} with "
        f"the same seed ({first.protocol}, {percent(first.fraction)} of the labels): {told}."
        + (f" These images are {GENERATED}." if made else "")
    )
    return Answer(question, sentence, 40, _figure(results, chosen, made))


def _told(paces: Sequence[Pace]) -> str:
    """Say the median over tasks of the tasks' medians, with its range and n."""
    medians = [float(np.median(pace.ratio)) for pace in paces]
    n = sum(len(pace.ratio) for pace in paces)
    low, high = number(min(medians), ".2f"), number(max(medians), ".2f")
    over = f"{count(len(medians), 'task')}, n = {count(n, 'pair')} of seeds"
    spread = f"{low} to {high} over " if len(medians) > 1 else ""
    return f"{paces[0].row.init} {number(float(np.median(medians)), '.2f')}{NBSP}{TIMES} ({spread}{over})"


def _figure(results: Results, chosen: Sequence[Pace], made: bool) -> Figure:
    init_looks = looks([row.init for row in results.rows])
    inits = list(dict.fromkeys(pace.row.init for pace in chosen))
    tasks = list(dict.fromkeys(pace.row.task for pace in chosen))[:TASKS]

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator

        axes.axvline(1, color=INK, linewidth=0.9, alpha=0.7)
        for pace in chosen:
            if pace.row.task in tasks:
                look, step = init_looks[pace.row.init], inits.index(pace.row.init) - (len(inits) - 1) / 2
                y = tasks.index(pace.row.task) + 0.26 * step
                axes.plot([pace.ratio.min(), pace.ratio.max()], [y, y], color=look.color, alpha=0.6)
                axes.plot(np.median(pace.ratio), y, look.marker, color=look.color, markersize=6)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.set_yticks(range(len(tasks)), [shorten(task, 26) for task in tasks])
        axes.set_ylim(len(tasks) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"steps, of those from {BASELINE}")

    warning = f" The images are {GENERATED}." if made else ""
    row = chosen[0].row
    caption = (
        f"Steps to {percent(SHARE)} of the final validation score against {BASELINE}, median and range over "
        f"seeds; left of the line is faster. {row.protocol}, {place(row.arch, row.size, row.input_size)}."
    )
    told = "; ".join(
        f"{p.row.task} with {p.row.init}: {number(float(np.median(p.ratio)), '.2f')}" for p in chosen
    )
    with style():
        height = 62 + len(tasks) * max(24, 14 * len(inits))
        panel = draw(paint, 330, height, f"Steps against {BASELINE}. {told}.{warning}", tight=True)
        keys = tuple((swatch(init_looks[init]), init) for init in inits)
    return Figure("answer-convergence", caption + warning, (panel,), keys)
