"""Can I trust these numbers? What was not computed, and how many averages and verdicts a doubt touches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..findings.results import Results, Row, visible
from ..findings.verdicts import judge
from ..pictures import INK, draw, style
from ..section import Answer, Figure
from ..verdict_words import flag_names, spans
from ..wording import count, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLAGS = 5
"""Flags of comparisons that the answer names; the section Verdicts counts all."""


def trust(results: Results) -> Answer:
    """Answer from the tally of the cells and from the doubts of each average."""
    touched = {name: sum(map(check, results.rows)) for name, check in _checks(results).items()}
    touched = {name: rows for name, rows in touched.items() if rows}
    figure = _figure(touched, len(results.rows)) if touched else None
    return Answer("Can I trust these numbers?", _sentence(results, touched), 90, figure)


def _checks(results: Results) -> dict[str, Callable[[Row], bool]]:
    """Name each doubt so that it ends the words "averages with"."""
    records = {record.key: record for record in results.counted}
    lost = {visible(item.cell) for item in results.missing}

    def edge(row: Row) -> bool:
        return any(choice.at_edge for key in row.keys for choice in records[key].choices)

    def undefined(row: Row) -> bool:
        stat = row.stats.get(results.primary)
        return stat is None or stat.n < len(row.seeds)

    def versions(row: Row) -> bool:
        return len({tuple(sorted(records[key].provenance.versions.items())) for key in row.keys}) > 1

    return {
        "generated images": lambda row: results.generated(row.task),
        "weights that may have seen the task": lambda row: row.contaminated,
        "records that must not be mixed": lambda row: row.ambiguous,
        "failed or missing seeds": lambda row: visible(row) in lost,
        "undefined scores": undefined,
        "a single seed": lambda row: len(row.seeds) == 1,
        "seeds computed with different package versions": versions,
        "a choice on the edge of its grid": edge,
    }


def _sentence(results: Results, touched: dict[str, int]) -> str:
    if not results.rows:
        return "No: no cell has finished."
    waiting = sum(item.reason != "failed" for item in results.missing)
    lost = [f"{len(results.failed):,} failed"] * bool(results.failed)
    lost += [f"{waiting:,} are missing"] * bool(waiting)
    cells = (
        f"{count(len(results.counted), 'cell')} finished, {listed(lost) or 'none failed and none is missing'}"
    )
    seeds = spans((len(row.seeds) for row in results.rows), "seed")
    averages = count(len(results.rows), "average")
    if not touched:
        return f"{cells}; no doubt touches the {averages}, each over {seeds}.{_rest(results)}"
    doubts = listed([f"{rows:,} with {name}" for name, rows in touched.items()])
    return f"{cells}. Of {averages}, each over {seeds}, there are {doubts}.{_rest(results)}"


def _rest(results: Results) -> str:
    return _flagged(results) + _audited(results)


def _audited(results: Results) -> str:
    """Say for how many pretrained inits and tasks somebody looked for the test images in what was seen."""
    weights = {record.key: record.hashes.weights for record in results.counted}
    pairs: dict[tuple[str, str], bool] = {}
    for row in results.rows:
        if not weights[row.keys[0]].startswith("random:"):
            searched = row.audit is not None and row.audit.measured is not None
            pairs[row.init, row.task] = pairs.get((row.init, row.task), True) and searched
    if not pairs:
        return ""
    looked = sum(pairs.values())
    of = f"{looked:,} of {count(len(pairs), 'pair')} of pretrained init and task"
    rest = "" if looked == len(pairs) else "; of the others it is known only as far as weights declare it"
    return f" Contamination was searched for in {of}{rest}."


def _flagged(results: Results) -> str:
    """Count the comparisons that carry a flag, and the flags that touch most of them."""
    verdicts = judge(results)
    if not verdicts:
        return ""
    flags = Counter(name for verdict in verdicts for name in flag_names(verdict))
    flagged = sum(bool(verdict.flags) for verdict in verdicts)
    most = ", ".join(f"{name} {n:,}" for name, n in flags.most_common(FLAGS))
    rest = f" and {count(len(flags) - FLAGS, 'other')}" if len(flags) > FLAGS else ""
    of = count(len(verdicts), "comparison")
    return f" {flagged:,} of {of} carry a flag: {most}{rest}." if flagged else f" No flag on {of}."


def _figure(touched: dict[str, int], rows: int) -> Figure:
    names = list(touched)[::-1]

    def paint(axes: Axes) -> None:
        axes.barh(names, [rows] * len(names), color=INK, alpha=0.1, height=0.55)
        axes.barh(names, [touched[name] for name in names], color=INK, alpha=0.6, height=0.55)
        for place, name in enumerate(names):
            axes.annotate(
                f"{touched[name]:,} of {rows:,}",
                (rows, place),
                (6, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.tick_params(axis="both", length=0, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)

    told = ", ".join(f"{number:,} with {name}" for name, number in touched.items())
    with style():
        alt = f"Bars: of {count(rows, 'average')}, {told}."
        panel = draw(paint, 220, 74 + 20 * len(names), alt, tight=True)
    return Figure("answer-trust", "How many averages each doubt touches.", (panel,))
