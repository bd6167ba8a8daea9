"""A plan as text for a terminal."""

from collections import Counter

from ...benchmark.run.planner import ResolvedPlan
from ...benchmark.schema.plan import PlannedCell
from ...core.text_tables import tabulate


def plan_text(grid: ResolvedPlan, waiting: list[PlannedCell]) -> str:
    """Return a table of the cells per (task, arch, init, protocol), and one of the inits."""
    open_keys = {planned.key for planned in waiting}
    rows: dict[tuple[str, ...], Counter[str]] = {}
    for planned in grid.plan.cells:
        cell = planned.cell
        place = (cell.step, cell.task, f"{cell.size}->{cell.input_size}", cell.arch, cell.init)
        line = (*place, cell.protocol_label)
        count = rows.setdefault(line, Counter())
        count["cells"] += 1
        count["to do"] += planned.key in open_keys
    body = [[*line, count["cells"], count["to do"]] for line, count in rows.items()]
    headers = ["step", "task", "px", "arch", "init", "protocol", "cells", "to do"]
    inits = sorted({(task, card.name, card.label) for (task, _, _), card in grid.cards.items()})
    return f"{tabulate(body, headers)}\n\n{tabulate(inits, ['task', 'init', 'weights'])}"
