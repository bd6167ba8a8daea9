"""A plan as plain data, and as text for a terminal."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from ...benchmark import run
from ...core.text_tables import tabulate
from ...reports.statistics.planned_power import ASSUMPTIONS

if TYPE_CHECKING:
    from ...experiment import PlannedRun


DAY = 24 * 3600
"""Seconds; a longer run gets a proposal."""
CHEAPER = "--budget quick"
POWER_NOTE = f"Differences of AUC that 80 % of such runs find, for one task by itself, if {ASSUMPTIONS}."

FOLDS_NOTE = "\nWith --folds every image is a test image once in each repeat, and a repeat counts as a seed."


def plan_facts(planned: "PlannedRun") -> dict[str, Any]:
    """Return every cell with its key, fields and state, every init with its label, and the trainings."""
    cards = planned.resolved.cards
    inits = sorted({(task, arch, card.name, card.label) for (task, arch, _), card in cards.items()})
    return {
        "cells": planned.cell_facts(),
        "inits": [dict(zip(("task", "arch", "init", "label"), init, strict=True)) for init in inits],
        "trainings": planned.training_facts(),
        "power": planned.power_facts(),
    }


def plan_text(facts: dict[str, Any]) -> str:
    """Return tables of the cells per (task, arch, init, protocol), of the inits and of the trainings."""
    rows: dict[tuple[str, ...], Counter[str]] = {}
    for cell in facts["cells"]:
        pixels = f"{cell['size']}->{cell['input_size']}"
        protocol = cell["protocol_label"]
        protocol += f", {cell['longer']:g} x the passes" if cell["longer"] else ""
        line = (cell["step"], cell["task"], pixels, cell["arch"], cell["init"], protocol)
        count = rows.setdefault(line, Counter())
        count["cells"] += 1
        count["to do"] += cell["state"] == "to do"
    body = [[*line, count["cells"], count["to do"]] for line, count in rows.items()]
    headers = ["step", "task", "px", "arch", "init", "protocol", "cells", "to do"]
    inits = sorted({(each["task"], each["init"], each["label"]) for each in facts["inits"]})
    tables = [tabulate(body, headers), tabulate(inits, ["task", "init", "weights"])]
    if facts["trainings"]:
        tables.append(tabulate(*_training_rows(facts["trainings"])))
    folds = FOLDS_NOTE * any(each["folds"] for each in facts["power"])
    tables.append(tabulate(*_power_rows(facts["power"])) + f"\n{POWER_NOTE}{folds}")
    return "\n\n".join(tables)


def _power_rows(power: list[dict[str, Any]]) -> tuple[list[list[Any]], list[str]]:
    rows = [
        [
            each["task"], each["n_test"], each["n_seeds"],
            "unknown" if each["detectable"] is None else f"{each['detectable']:.3f}",
        ]
        for each in power
    ]  # fmt: skip
    return rows, ["task", "test images", "seeds", "detectable difference"]


def _training_rows(trainings: list[dict[str, Any]]) -> tuple[list[list[Any]], list[str]]:
    """Return rows and headers of the passes that a training makes over its labels, before early stopping."""
    rows = [
        [
            each["task"], _labels_text(each), each["n_train"], each["steps"], each["validations"],
            f"{each['passes']:.3g}", "not all labels are seen" if each["passes"] < 1 else "",
        ]
        for each in trainings
    ]  # fmt: skip
    return rows, ["task", "labels", "train labels", "steps", "validations", "passes", ""]


def _labels_text(training: dict[str, Any]) -> str:
    return f"{training['shots']} per class" if training["shots"] else f"{training['fraction']:.4g}"


def estimate_facts(planned: "PlannedRun") -> dict[str, Any]:
    """Return the number of cells, and what is left; device and estimate are None where nothing is left."""
    estimate = planned.estimate()
    is_long = estimate is not None and estimate.seconds.high > DAY
    return {
        "n_cells": len(planned.cells),
        "n_to_do": len(planned.waiting),
        "device": planned.device,
        "estimate": _estimate_numbers(estimate) if estimate else None,
        "proposal": CHEAPER if is_long and planned.resolved.request.budget != "quick" else None,
        "kept_models_gb": planned.kept_models_gb(),
    }


def _estimate_numbers(estimate: "run.estimate.PlanEstimate") -> dict[str, Any]:
    seconds = msgspec.structs.asdict(estimate.seconds)
    numbers = msgspec.structs.asdict(estimate)
    del numbers["seconds"]
    return {**{f"{name}_seconds": value for name, value in seconds.items()}, **numbers}


def estimate_text(facts: dict[str, Any]) -> str:
    """Return what is left: time, cells, images, disk and memory, a line each."""
    if facts["estimate"] is None:
        return f"all {facts['n_cells']} cells have their records"
    numbers = dict(facts["estimate"])
    seconds = (numbers.pop(f"{name}_seconds") for name in ("low", "expected", "high"))
    estimate = run.estimate.PlanEstimate(seconds=run.estimate.SecondsRange(*seconds), **numbers)
    cells = f"{facts['n_to_do']} of {facts['n_cells']} cells on {facts['device']}"
    lines = run.estimate.describe_estimate(estimate, cells)
    more = f"{facts['proposal']} gives a first answer sooner, with fewer seeds, fractions and passes"
    kept = facts["kept_models_gb"]
    lines += [f"about {kept:.2g} GB for the kept networks"] if kept else []
    return "\n".join([*lines, more] if facts["proposal"] else lines)
