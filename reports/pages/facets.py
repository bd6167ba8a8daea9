"""Facets to filter the page by, and the marks of its rows and pictures for the filters."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..analysis.report_input import ReportInput
from ..elements.format import format_percent, named_task
from ..elements.section import FACETS, Datum, FacetFacts, Table, TableRow

FACET_TITLES = {
    "task": "Task",
    "modality": "Modality",
    "arch": "Architecture",
    "protocol": "Protocol",
    "fraction": "Labels",
    "init": "Init",
}
Fact = tuple[str, str | float]
"""(facet, value)"""


@dataclass(frozen=True)
class FilterFacet:
    """One facet with its choices.

    Attributes:
        name: one of `FACETS`, used in links.
        choices: (value in links, value shown), unique.
    """

    name: str
    title: str
    choices: tuple[tuple[str, str], ...]


def list_facets(results: ReportInput) -> tuple[FilterFacet, ...]:
    """List the facets with more than one value in the cells of a run."""
    cells = [
        *results.rows,
        *(item.cell for item in results.missing),
        *(record.cell for record in results.failed if record.cell.step == "score"),
    ]
    tasks = dict.fromkeys(cell.task for cell in cells)
    modalities = dict.fromkeys(results.tasks[task].modality for task in tasks if task in results.tasks)
    shown: dict[str, Iterable[tuple[str | float, str]]] = {
        "task": ((task, named_task(results, task)) for task in tasks),
        "modality": ((name, name) for name in modalities),
        "fraction": ((share, format_percent(share)) for share in sorted({cell.fraction for cell in cells})),
    }
    for name in ("arch", "protocol", "init"):
        shown[name] = ((value, value) for value in dict.fromkeys(getattr(cell, name) for cell in cells))
    choices = {name: tuple((facet_value(v), label) for v, label in shown[name]) for name in FACETS}
    return tuple(FilterFacet(name, FACET_TITLES[name], of) for name, of in choices.items() if len(of) > 1)


def facet_value(value: str | float) -> str:
    """Write a facet's value for links: 0.1 as "0.1" and 1.0 as "1"."""
    return value if isinstance(value, str) else f"{value:g}"


class FacetMarks:
    """Marks such as "task-0 modality-1" for the page's script, from facts.

    Only values that the page offers as filters get a mark; a row without marks stays in every view.

    Args:
        offered: facets of the page.
        modalities: task -> modality.
    """

    def __init__(self, offered: Iterable[FilterFacet], modalities: dict[str, str]) -> None:
        self._modalities = modalities
        self._marks = {
            (facet.name, value): f"{facet.name}-{place}"
            for facet in offered
            for place, (value, _) in enumerate(facet.choices)
        }

    def of(self, facts: Iterable[Fact]) -> str:
        """Return the marks of `facts`, separated by spaces; "" if no filter applies."""
        found: dict[str, None] = {}
        for name, value in facts:
            known = [(name, value)]
            if name == "task" and value in self._modalities:
                known.append(("modality", self._modalities[str(value)]))
            for facet, fact in known:
                mark = self._marks.get((facet, facet_value(fact)))
                if mark:
                    found[mark] = None
        return " ".join(found)


def single_facts(facts: FacetFacts) -> Iterator[Fact]:
    """Yield each (facet, value)."""
    for name, value in facts.items():
        for one in value if isinstance(value, tuple) else (value,):
            yield name, one


def row_facts(table: Table, row: TableRow) -> Iterator[Fact]:
    """Yield the facts of a row: those of its table and those of its entries."""
    yield from single_facts(table.facts)
    for column, entry in zip(table.columns, row, strict=True):
        if not column.facet:
            continue
        values = (entry,)
        if isinstance(entry, Datum):
            values = entry.stands_for or (entry.value,)
        for value in values:
            if isinstance(value, (str, int, float)):
                yield column.facet, value
