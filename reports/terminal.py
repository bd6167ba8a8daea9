"""The leaderboard for a terminal: the primary metric, a line per task and fraction, a column per init."""

import shutil
import textwrap
from collections import defaultdict
from collections.abc import Sequence

from .overview import notices
from .results import Results, Row
from .wording import GENERATED, NBSP, clean, metric, number, percent, place


def leaderboard_text(results: Results, width: int | None = None) -> str:
    """Return the leaderboard as text.

    Args:
        results: the run.
        width: columns of the terminal; asked of the terminal where not given. Where the inits do not fit
            side by side, each stands on a line of its own.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    tables: dict[tuple[str, str, int, int], list[Row]] = defaultdict(list)
    for row in results.rows:
        tables[row.protocol, row.arch, row.size, row.input_size].append(row)
    parts = [textwrap.fill(notice, width) for notice in notices(results)]
    for (protocol, arch, size, input_size), rows in tables.items():
        what = f"{protocol}: {place(arch, size, input_size)}; test {metric(results.primary).title}, mean ± sd (seeds)"
        parts.append(f"{textwrap.fill(_one_line(what), width)}\n\n{_fitting(results, rows, width)}")
    if not results.rows:
        parts.append("No cell has finished: there is nothing to compare yet.")
    return "\n\n".join(parts).replace(NBSP, " ") + "\n"


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())


def _fitting(results: Results, rows: Sequence[Row], width: int) -> str:
    beside = _beside(results, rows)
    fits = max(map(len, beside.splitlines())) <= width
    return beside if fits else _below(results, rows)


def _lines(results: Results, rows: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    lines: dict[tuple[str, float], list[Row]] = defaultdict(list)
    for row in rows:
        lines[row.task, row.fraction].append(row)
    return lines


def _labels(row: Row) -> str:
    counted = f" ({row.n_train:,.0f})" if row.n_train > 0 else ""
    return percent(row.fraction) + counted


def _score(results: Results, row: Row) -> str:
    stat = row.stats.get(results.primary)
    if stat is None or not stat.n:
        return "undefined"
    sd = f" ± {number(stat.sd)}" if stat.n > 1 else ""
    return f"{number(stat.mean)}{sd} ({stat.n})" + (f" [{row.variant}]" if row.ambiguous else "")


def _name(results: Results, task: str, before: str | None) -> str:
    """Name a task where it first stands, with the warning that must stand beside a generated one."""
    if task == before:
        return ""
    name = _one_line(task)
    return "\n".join([name, *textwrap.wrap(GENERATED, 24)]) if results.generated(task) else name


def _beside(results: Results, rows: Sequence[Row]) -> str:
    inits = list(dict.fromkeys(row.init for row in rows))
    body, before = [], None
    for (task, _), members in _lines(results, rows).items():
        scores = ("\n".join(_score(results, row) for row in members if row.init == init) for init in inits)
        body.append([_name(results, task, before), _labels(members[0]), *scores])
        before = task
    return _tabulated(body, ["task", "labels", *map(_one_line, inits)])


def _below(results: Results, rows: Sequence[Row]) -> str:
    body, before = [], None
    for row in rows:
        name = _name(results, row.task, before)
        body.append([name, _labels(row), _one_line(row.init), _score(results, row)])
        before = row.task
    return _tabulated(body, ["task", "labels", "init", "score"])


def _tabulated(body: list[list[str]], headers: list[str]) -> str:
    import tabulate

    return tabulate.tabulate(body, headers, tablefmt="simple", disable_numparse=True)
