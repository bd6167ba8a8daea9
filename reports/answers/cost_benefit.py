"""Answer whether pretraining is worth its cost: score and seconds of each init."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.aggregate import overall_differences
from ..analysis.report_input import BASELINE, LeaderboardRow, ReportInput
from ..elements.format import (
    GENERATED,
    count_noun,
    format_duration,
    format_interval,
    format_labels,
    format_number,
    place_label,
    primary_title,
)
from ..elements.pictures import draw_panel, legend_swatch, looks_of, report_style
from ..elements.section import Figure, ReportAnswer

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class InitPrice:
    """Score and cost of one init on the tasks that all inits share.

    Attributes:
        score: primary metric, mean over tasks of the mean over seeds.
        seconds: of one cell, mean over the same cells.
        once: seconds of pretraining its weights here; 0 if none.
        cells: number of cells in both means.
        seen: whether its weights may have seen some of these tasks.
    """

    init: str
    score: float
    seconds: float
    once: float
    cells: int
    seen: bool


def cost_benefit_answer(results: ReportInput) -> ReportAnswer | None:
    """Answer at the largest common fraction; None if no two inits can be compared."""
    rows = _comparable_rows(results)
    if not rows:
        return None
    prices = _prices(results, rows)
    first, tasks = rows[0], {row.task for row in rows}
    made = results.generated(first.task)
    over = f"Mean {primary_title(results)} over {count_noun(len(tasks), 'task')}"
    by_init = "; ".join(map(_price_text, prices))
    warning = f" These images are {GENERATED}." if made else ""
    seen = " * These weights may have seen some of the tasks." if any(p.seen for p in prices) else ""
    each = f"n = {count_noun(prices[0].cells, 'cell')} each"  # the same for all: they share tasks and seeds
    where = f"{first.protocol}, {format_labels(first.fraction)}, {each}"
    gains = "; ".join(_gains(results, rows))
    sentence = f"{over} ({where}): {by_init}. {gains or 'These are means, not verdicts'}.{seen}{warning}"
    return ReportAnswer(
        "Is it worth its cost?", sentence, "cost-benefit", _figure(results, prices, first, made)
    )


def _gains(results: ReportInput, rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    """Yield each init's difference to scratch on these rows, with its 95 % interval.

    A pair that cannot be compared on all of the tasks is left out: it would not match the means.
    """
    tasks = {row.task for row in rows}
    for each in overall_differences(replace(results, rows=tuple(rows))):
        if BASELINE in (each.a, each.b) and set(each.tasks) == tasks:
            mean, sign = each.mean, 1 if each.b == BASELINE else -1
            ends = format_interval(*sorted((sign * mean.low, sign * mean.high)))
            known = f"95 % interval {ends}" if ends else "too few tasks for an interval"
            init, gain = each.a if sign > 0 else each.b, format_number(sign * mean.difference, "+.3f")
            once = " image origins, each counted once" if mean.units < len(tasks) else ""
            yield f"{init} differs from {BASELINE} by {gain} ({known}, n = {mean.units}{once})"


def _comparable_rows(results: ReportInput) -> list[LeaderboardRow]:
    """Return the rows of the largest setting, for tasks with equal seeds of all inits."""
    groups: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in results.rows:
        stat = row.stats.get(results.primary)
        if stat and stat.n == len(row.seeds) and not row.ambiguous and not row.leaked:
            made = results.generated(row.task)
            groups[row.protocol, row.arch, row.size, row.input_size, row.fraction, made].append(row)
    found = [shared for rows in groups.values() if (shared := _complete_blocks(rows))]
    return max(found, key=lambda of: (not results.generated(of[0].task), of[0].fraction, len(of)), default=[])


def _complete_blocks(rows: Sequence[LeaderboardRow]) -> list[LeaderboardRow]:
    inits = {row.init for row in rows}
    blocks: dict[tuple[object, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        blocks[row.block].append(row)
    whole = [
        block
        for block in blocks.values()
        if {row.init for row in block} == inits and len({row.seeds for row in block}) == 1
    ]
    return [row for block in whole for row in block] if len(inits) > 1 else []


def _prices(results: ReportInput, rows: Sequence[LeaderboardRow]) -> list[InitPrice]:
    records = {record.key: record for record in results.counted}
    prices = []
    for init in dict.fromkeys(row.init for row in rows):
        ours = [row for row in rows if row.init == init]
        members = [[cell for key in row.keys for cell in results.cells_of(records[key])] for row in ours]
        used = {record.init.identity for each in members for record in each if record.init}
        pretraining = [r for r in results.step("pretrain") if r.init and r.init.identity in used]
        prices.append(
            InitPrice(
                init=init,
                score=float(np.mean([row.stats[results.primary].mean for row in ours])),
                seconds=float(np.mean([np.mean([record.seconds for record in each]) for each in members])),
                once=sum(record.seconds for record in pretraining),
                cells=sum(map(len, members)),
                seen=any(row.contaminated for row in ours),
            )
        )
    return prices


def _price_text(price: InitPrice) -> str:
    once = f" plus {format_duration(price.once)} of pretraining, once" if price.once else ""
    name = f"{price.init}*" if price.seen else price.init
    return f"{name} {format_number(price.score)} at {format_duration(price.seconds)} per cell{once}"


def _figure(results: ReportInput, prices: Sequence[InitPrice], first: LeaderboardRow, made: bool) -> Figure:
    init_looks = looks_of([row.init for row in results.rows])
    score = primary_title(results)

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator, NullFormatter

        for price in prices:
            look = init_looks[price.init]
            axes.plot(price.seconds, price.score, look.marker, color=look.color, markersize=8)
        if max(p.seconds for p in prices) > 3 * min(p.seconds for p in prices):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("seconds of one cell, without pretraining")
        axes.set_ylabel(score)
        axes.margins(0.2)

    by_init = "; ".join(f"{p.init}: {format_number(p.score)} in {format_duration(p.seconds)}" for p in prices)
    warning = f" The images are {GENERATED}." if made else ""
    with report_style():
        alt = f"Mean {score} over seconds of one cell. {by_init}.{warning}"
        panel = draw_panel(paint, 330, 190, alt, tight=True)
        keys = tuple((legend_swatch(init_looks[p.init]), p.init) for p in prices)
    network = place_label(first.arch, first.size, first.input_size)
    return Figure("answer-cost", f"Mean {score} against seconds; {network}.{warning}", (panel,), keys)
