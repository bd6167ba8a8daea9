"""The report as one self-contained HTML file."""

import base64
import gzip
import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import jinja2
from markupsafe import Markup

from ..analysis.report_input import fold_keys
from ..elements.format import as_datum, clean
from ..elements.pictures import in_tags
from ..elements.section import Datum, Figure, FigurePanel, Table, TableColumn
from .facets import FacetMarks, row_facts, single_facts
from .overview import ReportPage

SCRIPTS = ("address.js", "downloads.js", "tables.js", "filters.js", "explorer.js", "page.js")
"""Concatenated in this order, since each needs those before it."""
PACK_ABOVE = 2_000_000
"""Characters of a page whose sections are packed: a browser unpacks each when it is scrolled to."""
UNPACKED = '<p class="nothing">Packed: scroll here, also before printing, or see report.md.</p>'
SECTION_BODY = re.compile(r'(<section id="[^"]+"[^>]*>\n<h2[^\n]*</h2>\n)(.*?)(</section>)', re.DOTALL)


@dataclass(frozen=True)
class TemplateRow:
    """Table row for the template.

    Attributes:
        again: whether its first entry equals that of the row before.
        marks: marks for the filters.
        cells: columns and entries.
        records: files of its records, relative to the run directory.
    """

    again: bool
    marks: str
    cells: list[tuple[TableColumn, Datum]]
    records: list[str]


def render_html(page: ReportPage) -> str:
    """Render `page`; the template escapes everything but the drawings."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean_text,
    )
    numbers = itertools.count()
    marks = FacetMarks(page.facets, page.modalities)
    environment.filters["drawing"] = lambda panel: Markup(_drawing(panel, next(numbers)))
    environment.filters["lines"] = lambda table: _lines(table, marks, page.homes)
    environment.filters["marks"] = lambda panel: marks.of(single_facts(panel.facts))
    environment.tests["figure"] = lambda block: isinstance(block, Figure)
    script = "".join(map(_resource, SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.from_string(_resource("template.html"))
    text = template.render(
        page=page,
        style=Markup(_resource("style.css")),
        script=Markup(script),
        data=Markup(page.data),
        # With this policy a browser runs only this script and loads nothing, whatever a name contains.
        policy="default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; "
        f"img-src data:; script-src 'sha256-{digest}'",
    )
    return SECTION_BODY.sub(_pack, text) if len(text) > PACK_ABOVE else text


def _pack(section: re.Match[str]) -> str:
    """Compress the body of a section."""
    packed = base64.b64encode(gzip.compress(section[2].encode(), mtime=0)).decode()
    return f'{section[1]}<script type="text/plain" class="packed">{packed}</script>{UNPACKED}{section[3]}'


def _resource(name: str) -> str:
    return (files(__package__ or "") / name).read_text(encoding="utf-8")


def _clean_text(value: object) -> object:
    return clean(value) if type(value) is str else value


def _drawing(panel: FigurePanel, number: int) -> str:
    """Make the ids of a drawing unique in the page."""

    def own(tag: str) -> str:
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>d{number}-", tag)

    return in_tags(panel.svg, own)


def _lines(table: Table, marks: FacetMarks, homes: dict[str, str]) -> Iterator[TemplateRow]:
    before = None
    keys = [[*itertools.chain(*map(fold_keys, row))] for row in table.keys] or [[]] * len(table.rows)
    for row, row_keys in zip(table.rows, keys, strict=True):
        cells = [(column, as_datum(entry, column)) for column, entry in zip(table.columns, row, strict=True)]
        records = [f"{homes[key]}/records/{key}.json" if homes else f"records/{key}.json" for key in row_keys]
        yield TemplateRow(row[0] == before, marks.of(row_facts(table, row)), cells, records)
        before = row[0]
