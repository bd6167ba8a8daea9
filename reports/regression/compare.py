"""Markdown of `compare`: the changes between two runs, and what may explain them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...core.errors import unknown_name_error
from ..analysis.load_report_input import load_report_input
from ..analysis.report_input import LeaderboardRow, look_up_metric
from ..elements.format import DASH, count_noun, format_number, format_percent, place_label
from ..pages.markdown_page import escape_markdown
from ..pages.overview import damage_notice
from .changes import RowChange, RunChanges, pair_rows

SHOWN_DIGITS = 12
"""Displayed digits of a hash or commit."""


def comparison_markdown(a: Path, b: Path, name: str = "") -> str:
    """Return what changed from run `a` to run `b`, as Markdown.

    Args:
        a: run directory of the first run.
        b: of the second; every difference is B - A.
        name: metric; "" is the primary metric of A.

    Raises:
        UserError: a folder holds no readable record, or neither run knows the metric.
    """
    ours, theirs = load_report_input([a]), load_report_input([b])
    name = name or ours.primary
    if name not in (known := {*ours.metrics, *theirs.metrics}):
        raise unknown_name_error("metric", name, known)
    found = pair_rows(ours, theirs, name)
    shown = look_up_metric(name, {**ours.metric_facts, **theirs.metric_facts})
    damages = (("A", damage_notice(ours)), ("B", damage_notice(theirs)))
    parts = [
        f"# {escape_markdown(f'Test {shown.title_with_direction}: B minus A')}",
        f"- A: {escape_markdown(str(a))}\n- B: {escape_markdown(str(b))}",
        *(escape_markdown(f"{run}: {damage}.") for run, damage in damages if damage),
        escape_markdown(_summary(found)),
        *([_table(found.both, name)] if found.both else ()),
        *_explanations(found.both),
        *_list_unmatched("A", found.only_a),
        *_list_unmatched("B", found.only_b),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(found: RunChanges) -> str:
    stats = [change.stat for change in found.both if change.stat]
    rows = f"{count_noun(len(found.both), 'row')} in both runs, {len(stats)} of them with seeds to pair."
    if not stats:
        return rows
    same = sum(stat.low == stat.high == 0 for stat in stats)
    most = max((stat.mean for stat in stats), key=abs)
    return (
        f"{rows} In {same} every paired seed scores exactly the same; the largest mean difference is "
        f"{format_number(most, '+.4f')}."
    )


def _table(both: Sequence[RowChange], name: str) -> str:
    import tabulate

    networks = {place_label(c.a.arch, c.a.size, c.a.input_size) for c in both}
    heads = ["Task", "Init", "Protocol", "Labels", "A", "B", "B minus A", "sd", "n", "Unpaired", "Not alike"]
    body = [[escape_markdown(cell) for cell in _line(change, name, len(networks) > 1)] for change in both]
    align = ("left",) * 4 + ("right",) * 6 + ("left",)
    table = tabulate.tabulate(body, heads, tablefmt="pipe", disable_numparse=True, colalign=align)
    return table if len(networks) > 1 else f"{escape_markdown(networks.pop())}\n\n{table}"


def _line(change: RowChange, name: str, network: bool) -> list[str]:
    row, stat = change.a, change.stat
    means = [_mean(side, name) for side in (change.a, change.b)]
    paired = [DASH, DASH, DASH]
    if stat:
        paired = [format_number(stat.mean, "+.4f"), format_number(stat.sd, ".4f"), str(stat.n)]
    where = f"{row.protocol}, {place_label(row.arch, row.size, row.input_size)}" if network else row.protocol
    why = "; ".join(filter(None, (change.obstacle, ", ".join(change.differs))))
    unpaired = str(change.unpaired)
    return [row.task, row.init, where, format_percent(row.fraction), *means, *paired, unpaired, why]


def _mean(row: LeaderboardRow, name: str) -> str:
    stat = row.stats.get(name)
    return f"{format_number(stat.mean, '.4f')} ({stat.n})" if stat and stat.n else DASH


def _explanations(both: Sequence[RowChange]) -> list[str]:
    """Return a list of the differences, each once with both sides and the number of rows."""
    found = Counter((what, *sides) for change in both for what, sides in change.differs.items())
    if not found:
        same = "Data, recipe, weights, packages, device and commit are the same in all of them."
        return [same] if both else []
    lines = [
        f"- {escape_markdown(what)}: {escape_markdown(_short(a))} in A, {escape_markdown(_short(b))} in B "
        f"({count_noun(rows, 'row')})"
        for (what, a, b), rows in found.items()
    ]
    return ["\n".join(["What is not alike:", "", *lines])]


def _short(value: str) -> str:
    """Shorten each hash in a comma-separated list to its first digits."""
    parts = []
    for part in value.split(", "):
        kind, colon, digits = part.rpartition(":")
        parts.append(f"{kind}{colon}{digits[:SHOWN_DIGITS]}" if len(digits) >= 32 else part)
    return ", ".join(parts) or "none"


def _list_unmatched(run: str, rows: Sequence[LeaderboardRow]) -> list[str]:
    if not rows:
        return []
    names = (
        f"{row.task}, {row.init}, {row.protocol}, {format_percent(row.fraction)} of the labels, "
        f"{place_label(row.arch, row.size, row.input_size)}"
        for row in rows
    )
    lines = [f"- {escape_markdown(name)}" for name in names]
    return ["\n".join([f"Only in {run}, {count_noun(len(rows), 'row')}:", "", *lines])]
