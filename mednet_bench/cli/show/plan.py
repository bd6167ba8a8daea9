"""A plan as plain data, and as text for a terminal."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from ...core.progress import duration
from ...core.text_tables import tabulate

if TYPE_CHECKING:
    from ...experiment import PlannedRun


def plan_facts(planned: "PlannedRun") -> dict[str, Any]:
    """Return every cell with its key, fields and state, and every init with its label."""
    cards = planned.resolved.cards
    inits = sorted({(task, arch, card.name, card.label) for (task, arch, _), card in cards.items()})
    return {
        "cells": planned.cell_facts(),
        "inits": [dict(zip(("task", "arch", "init", "label"), init, strict=True)) for init in inits],
    }


def plan_text(facts: dict[str, Any]) -> str:
    """Return a table of the cells per (task, arch, init, protocol), and one of the inits."""
    rows: dict[tuple[str, ...], Counter[str]] = {}
    for cell in facts["cells"]:
        pixels = f"{cell['size']}->{cell['input_size']}"
        line = (cell["step"], cell["task"], pixels, cell["arch"], cell["init"], cell["protocol_label"])
        count = rows.setdefault(line, Counter())
        count["cells"] += 1
        count["to do"] += cell["state"] == "to do"
    body = [[*line, count["cells"], count["to do"]] for line, count in rows.items()]
    headers = ["step", "task", "px", "arch", "init", "protocol", "cells", "to do"]
    inits = sorted({(each["task"], each["init"], each["label"]) for each in facts["inits"]})
    return f"{tabulate(body, headers)}\n\n{tabulate(inits, ['task', 'init', 'weights'])}"


def estimate_facts(planned: "PlannedRun") -> dict[str, Any]:
    """Return the number of cells, and the time left; device and time are None where nothing is left."""
    seconds = planned.estimate()
    return {
        "n_cells": len(planned.cells),
        "n_to_do": len(planned.waiting),
        "device": planned.device,
        "estimate": {"low_seconds": seconds.low, "high_seconds": seconds.high} if seconds else None,
    }


def estimate_text(facts: dict[str, Any]) -> str:
    """Return the time left in one line."""
    if facts["estimate"] is None:
        return f"all {facts['n_cells']} cells have their records"
    low, high = (duration(facts["estimate"][name]) for name in ("low_seconds", "high_seconds"))
    return f"{facts['n_to_do']} of {facts['n_cells']} cells on {facts['device']}: between {low} and {high}"
