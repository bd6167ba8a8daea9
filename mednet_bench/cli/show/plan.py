"""A plan as plain data, and as text for a terminal."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from ...benchmark.run.planner import ResolvedPlan
from ...benchmark.schema.plan import PlannedCell
from ...core.progress import duration
from ...core.text_tables import tabulate

if TYPE_CHECKING:  # it imports torch, which the plan of a finished run does not need
    from ...benchmark.run.estimate import SecondsRange


def plan_facts(grid: ResolvedPlan, waiting: list[PlannedCell]) -> dict[str, Any]:
    """Return every cell with its key, fields and state, and every init with its label."""
    open_keys = {planned.key for planned in waiting}
    inits = sorted({(task, arch, card.name, card.label) for (task, arch, _), card in grid.cards.items()})
    return {
        "cells": [_cell_facts(planned, planned.key in open_keys) for planned in grid.plan.cells],
        "inits": [dict(zip(("task", "arch", "init", "label"), init, strict=True)) for init in inits],
    }


def _cell_facts(planned: PlannedCell, to_do: bool) -> dict[str, Any]:
    fields = dict.fromkeys(planned.cell.__struct_encode_fields__)  # also the unset ones, as None
    fields |= msgspec.to_builtins(planned.cell)
    return {"key": planned.key, "state": "to do" if to_do else "done", **fields, "needs": planned.needs}


def plan_text(facts: dict[str, Any]) -> str:
    """Return a table of the cells per (task, arch, init, protocol), and one of the inits."""
    rows: dict[tuple[str, ...], Counter[str]] = {}
    for cell in facts["cells"]:
        pixels = f"{cell['size']}->{cell['input_size']}"
        line = (cell["step"], cell["task"], pixels, cell["arch"], cell["init"], cell["protocol"] or "")
        count = rows.setdefault(line, Counter())
        count["cells"] += 1
        count["to do"] += cell["state"] == "to do"
    body = [[*line, count["cells"], count["to do"]] for line, count in rows.items()]
    headers = ["step", "task", "px", "arch", "init", "protocol", "cells", "to do"]
    inits = sorted({(each["task"], each["init"], each["label"]) for each in facts["inits"]})
    return f"{tabulate(body, headers)}\n\n{tabulate(inits, ['task', 'init', 'weights'])}"


def estimate_facts(
    grid: ResolvedPlan, waiting: list[PlannedCell], device: str | None, seconds: "SecondsRange | None"
) -> dict[str, Any]:
    """Return the number of cells, and the time left; device and time are None where nothing is left."""
    estimate = {"low_seconds": seconds.low, "high_seconds": seconds.high} if seconds else None
    return {
        "n_cells": len(grid.plan.cells),
        "n_to_do": len(waiting),
        "device": device,
        "estimate": estimate,
    }


def estimate_text(facts: dict[str, Any]) -> str:
    """Return the time left in one line."""
    if facts["estimate"] is None:
        return f"all {facts['n_cells']} cells have their records"
    low, high = (duration(facts["estimate"][name]) for name in ("low_seconds", "high_seconds"))
    return f"{facts['n_to_do']} of {facts['n_cells']} cells on {facts['device']}: between {low} and {high}"
