"""The report as one HTML file that needs nothing but itself."""

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator
from importlib.resources import files

from .overview import Page
from .pictures import in_tags
from .section import Column, Datum, Entry, Figure, Panel, Table
from .wording import clean, shown


def html(page: Page) -> str:
    """Render `page`; everything but the drawings is escaped by the template."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_cleaned,
    )
    numbers = itertools.count()
    environment.filters["drawing"] = lambda panel: Markup(_drawing(panel, next(numbers)))
    environment.filters["shown"] = _rows
    environment.tests["figure"] = lambda block: isinstance(block, Figure)
    script = _resource("table.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.from_string(_resource("template.html"))
    return template.render(
        page=page,
        style=Markup(_resource("style.css")),
        script=Markup(script),
        # With this policy a browser runs our script only and asks nobody for anything, whatever a name says.
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'",
    )


def _resource(name: str) -> str:
    return (files(__package__ or "") / name).read_text(encoding="utf-8")


def _cleaned(value: object) -> object:
    return clean(value) if type(value) is str else value


def _drawing(panel: Panel, number: int) -> str:
    """Make the ids of a drawing its own, so that many may stand in one page."""

    def own(tag: str) -> str:
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>d{number}-", tag)

    return in_tags(panel.svg, own)


def _rows(table: Table) -> Iterator[tuple[bool, list[tuple[Column, Datum]]]]:
    """Yield each row of a table with whether it goes on naming the thing of the row before."""
    before = None
    for row in table.rows:
        yield row[0] == before, [(column, shown(entry, column)) for column, entry in _paired(table, row)]
        before = row[0]


def _paired(table: Table, row: tuple[Entry, ...]) -> Iterator[tuple[Column, Entry]]:
    return zip(table.columns, row, strict=True)
