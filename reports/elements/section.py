"""What a section of the report is: plain data that every renderer reads, and where sections are found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ...core.registry import Registry, not_callable
from ..analysis.results import Results

FACETS = ("task", "modality", "protocol", "fraction", "init")
"""What a reader can filter by. Whoever names a task need not name its modality: the page knows it."""

FacetFacts = Mapping[str, str | float | tuple[str | float, ...]]
"""Facet -> the value that something is about, or the several values; what is not named is never filtered."""


@dataclass(frozen=True)
class Datum:
    """One entry of a table that is more than a bare value.

    Attributes:
        value: what is sorted by; None is shown as a dash.
        text: what is shown; "" formats `value` as the column says.
        spread: what follows after a plus-minus sign, or "".
        note: small print that must stand beside it.
        strong: marked typographically, nothing more.
        stands_for: the values of its column's facet, where `value` is not the one, as in "a against b".
    """

    value: str | int | float | None
    text: str = ""
    spread: str = ""
    note: str = ""
    strong: bool = False
    stands_for: tuple[str | float, ...] = ()


TableEntry = str | int | float | None | Datum


@dataclass(frozen=True)
class TableColumn:
    """The heading of a column and how its numbers are written.

    Attributes:
        title: heading.
        format: a format specification for numbers, e.g. ".3f", "+.3f" or ",d"; "" marks a column of text.
        help: one phrase for whoever does not know the heading.
        facet: one of `FACETS` where the column's values are those of a facet, e.g. "task"; of a column that
            names the facet's values otherwise, e.g. 0.1 as "10 %", `Datum.value` is what counts.
    """

    title: str
    format: str = ""
    help: str = ""
    facet: str = ""


@dataclass(frozen=True)
class Table:
    """A table: every row has one entry per column; the first column names the row.

    Attributes:
        caption: what is shown, so that the table can stand alone.
        columns: headings.
        rows: entries, in the order in which they are first shown.
        folded: evidence that is opened on demand.
        facts: what all rows have in common beyond what the columns say, e.g. ``{"protocol": "linear"}``.
        keys: for each row the keys of the records behind it; () where no row has any.
    """

    caption: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[TableEntry, ...], ...]
    folded: bool = False
    facts: FacetFacts = field(default_factory=dict)
    keys: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class FigurePanel:
    """One picture, whose neutral colors are `currentColor` and `var(--paper)`, so that it has no theme.

    Attributes:
        svg: an `<svg>` element with a viewBox, without outside references.
        width: natural width in CSS pixels.
        height: natural height in CSS pixels.
        alt: what a reader who cannot see it must know.
        facts: what it is about, so that a filter on another task leaves it out.
    """

    svg: str
    width: float
    height: float
    alt: str
    facts: FacetFacts = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """Panels that share a caption and a key; they flow side by side as the page is wide.

    Attributes:
        name: file name without suffix, of letters, digits, `-` and `_`.
        caption: what is shown and how to read it.
        panels: the pictures.
        keys: (swatch, label) of the legend.
        folded: evidence that is opened on demand.
    """

    name: str
    caption: str
    panels: tuple[FigurePanel, ...]
    keys: tuple[tuple[FigurePanel, str], ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class SectionPart:
    """A stretch of a section under a heading of its own.

    Attributes:
        title: heading, or "" for the section's first stretch.
        lead: sentences before everything else.
        points: a list, one sentence each.
        blocks: tables and figures in reading order.
    """

    title: str = ""
    lead: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    blocks: tuple[Table | Figure, ...] = ()


@dataclass(frozen=True)
class ReportAnswer:
    """One sentence and one picture for a question that a reader brings; all answers stand on top of the page.

    Attributes:
        question: in the reader's words.
        sentence: the answer with its n; that one cannot tell is an answer too.
        order: place among the answers.
        figure: one small picture, with a name of its own, or None.
        see: anchor of the section with the evidence, which is the name of its registration; "" is the
            section that gives the answer.
    """

    question: str
    sentence: str
    order: int
    figure: Figure | None = None
    see: str = ""

    @property
    def halves(self) -> tuple[str, str]:
        """Return what is said first, which every renderer makes stand out, and the rest, or ""."""
        first, stop, rest = self.sentence.partition(". ")
        return first + stop.strip(), rest


@dataclass(frozen=True)
class SectionContent:
    """A section, ready to be rendered.

    Attributes:
        title: heading.
        order: place in the page; 0 to 19 belong to the verdicts.
        parts: at least one.
        answers: what its evidence answers in one sentence each, for the top of the page.
    """

    title: str
    order: int
    parts: tuple[SectionPart, ...]
    answers: tuple[ReportAnswer, ...] = ()


class ReportSection(Protocol):
    """Makes one section of the report from plain results."""

    def __call__(self, results: Results) -> SectionContent | None:
        """Return the section, or None where the results have nothing for it."""
        ...


SECTIONS: Registry[ReportSection] = Registry(
    "section", "mednet_bench.reports.sections", "mednet_bench.sections", not_callable
)
