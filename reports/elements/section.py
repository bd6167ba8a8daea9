"""Sections of the report as plain data for every renderer, and their registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ...core.registry import Registry, not_callable
from ..analysis.report_input import ReportInput

FACETS = ("task", "modality", "arch", "protocol", "fraction", "init")
"""Facets to filter by; the page adds the modality of a task."""

FacetFacts = Mapping[str, str | float | tuple[str | float, ...]]
"""Facet -> value or values; an absent facet is never filtered."""


@dataclass(frozen=True)
class Datum:
    """One entry of a table that is more than a bare value.

    Attributes:
        value: sort key; None is shown as a dash.
        text: text shown; "" formats `value` with the column's format.
        spread: text after a plus-minus sign, or "".
        note: small print beside it.
        strong: bold.
        stands_for: facet values of the entry if `value` is not one, as in "a against b".
        link: address of another page, relative to this one, or "".
    """

    value: str | int | float | None
    text: str = ""
    spread: str = ""
    note: str = ""
    strong: bool = False
    stands_for: tuple[str | float, ...] = ()
    link: str = ""


TableEntry = str | int | float | None | Datum
TableRow = tuple[TableEntry, ...]


@dataclass(frozen=True)
class TableColumn:
    """Heading and number format of a column.

    Attributes:
        format: a format specification for numbers, e.g. ".3f", "+.3f" or ",d"; "" marks a column of text.
        help: one-phrase explanation of the heading.
        facet: one of `FACETS` if the column holds its values, e.g. "task"; `Datum.value` counts, e.g. 0.1,
            not its text "10 %".
    """

    title: str
    format: str = ""
    help: str = ""
    facet: str = ""


@dataclass(frozen=True)
class Table:
    """A table: every row has one entry per column; the first column names the row.

    Attributes:
        caption: content of the table, understandable alone.
        rows: entries in their first order.
        folded: opened on demand.
        facts: facet values of all rows that no column has, e.g. ``{"protocol": "linear"}``.
        keys: for each row the keys of its records; () if no row has any.
    """

    caption: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    folded: bool = False
    facts: FacetFacts = field(default_factory=dict)
    keys: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class FigurePanel:
    """One picture without theme: neutral colors are `currentColor` and `var(--paper)`.

    Attributes:
        svg: an `<svg>` element with a viewBox, without outside references.
        width: natural width in CSS pixels, like `height`.
        alt: text alternative.
        facts: facet values for the filters.
    """

    svg: str
    width: float
    height: float
    alt: str
    facts: FacetFacts = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """Panels with one caption and legend, side by side as far as the page is wide.

    Attributes:
        name: file name without suffix, of letters, digits, `-` and `_`.
        caption: content and how to read it.
        keys: (swatch, label) of the legend.
        folded: opened on demand.
    """

    name: str
    caption: str
    panels: tuple[FigurePanel, ...]
    keys: tuple[tuple[FigurePanel, str], ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class SectionPart:
    """Part of a section under a heading of its own.

    Attributes:
        title: heading, or "" for the first part.
        lead: paragraphs, before `points`, a list, and `blocks`.
    """

    title: str = ""
    lead: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    blocks: tuple[Table | Figure, ...] = ()


@dataclass(frozen=True)
class ReportAnswer:
    """Answer at the top of the page: one sentence and one figure for a reader's question.

    Attributes:
        sentence: the answer with its n; "undecided" is an answer too.
        name: decides the place among the answers, see `ANSWER_ORDER`.
        figure: one small figure with a unique name, or None.
        see: anchor of the section with the evidence, its registered name; "" is the answering section.
    """

    question: str
    sentence: str
    name: str = ""
    figure: Figure | None = None
    see: str = ""

    @property
    def halves(self) -> tuple[str, str]:
        """Return the first sentence, which renderers emphasize, and the rest, or ""."""
        first, stop, rest = self.sentence.partition(". ")
        return first + stop.strip(), rest


@dataclass(frozen=True)
class SectionContent:
    """A section, ready to be rendered.

    Attributes:
        parts: at least one.
        answers: answers for the top of the page.
    """

    title: str
    parts: tuple[SectionPart, ...]
    answers: tuple[ReportAnswer, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple):  # a plug-in of version 0.1 gave its place here
            raise TypeError(f"parts must be a tuple, not {self.parts!r}: drop a number that gives the place")


class ReportSection(Protocol):
    """Function from results to one section of the report."""

    def __call__(self, results: ReportInput) -> SectionContent | None:
        """Return the section, or None if the results have nothing for it."""
        ...


SECTIONS: Registry[ReportSection] = Registry(
    "section", "mednet_bench.reports.sections", "mednet_bench.sections", not_callable
)
