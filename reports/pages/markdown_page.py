"""The report as Markdown for a pull request or an appendix, with its figures as files."""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from ...core.errors import one_line
from ...core.text_tables import format_table
from ..elements.format import as_datum, clean
from ..elements.section import Datum, Figure, FigurePanel, ReportAnswer, SectionContent, SectionPart, Table
from .overview import ReportPage

WIDTH = 1020
"""Width of a figure in CSS pixels."""
GAP = 14


def render_markdown(page: ReportPage) -> tuple[str, dict[str, bytes]]:
    """Render `page` as text and the figures for `figures/`: file name -> SVG."""
    drawings: dict[str, bytes] = {}
    lines = [f"# {escape_markdown(page.headline)}", ""]
    sureness, recommendation, gain, scope = map(
        escape_markdown, (page.sureness, page.recommendation, page.next_step[0], page.scope)
    )
    options = f" `{page.next_step[1]}`" if page.next_step[1] else ""
    for paragraph in filter(None, (sureness, recommendation, gain + options, scope)):
        lines += [paragraph, ""]
    counts = ", ".join(f"**{number:,}** {escape_markdown(what)}" for number, what, _ in page.tally)
    lines += [f"{counts}.", ""]
    for doubt in page.doubts:
        lines += [f"> **Note:** {escape_markdown(doubt)}", ""]
    titles = {anchor: content.title for anchor, content in page.sections}
    for answer in page.answers:
        lines += _answer(answer, titles[answer.see], drawings)
    lines += ["## How to read this", ""]
    for paragraph in page.how:
        lines += [escape_markdown(paragraph), ""]
    for _, content in page.sections:
        lines += _section(content, drawings)
    return "\n".join(lines).rstrip() + "\n", drawings


def escape_markdown(value: str) -> str:
    """Escape `value` for Markdown, on one line, also inside a table."""
    flat = one_line(value)
    flat = re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", flat)
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def _answer(answer: ReportAnswer, evidence: str, drawings: dict[str, bytes]) -> Iterator[str]:
    first, rest = map(escape_markdown, answer.halves)
    yield from (f"## {escape_markdown(answer.question)}", "", f"**{first}** {rest}".rstrip(), "")
    if answer.figure:
        yield from _figure(answer.figure, drawings)
    yield from (f"Evidence: {escape_markdown(evidence)}, below.", "")


def _section(content: SectionContent, drawings: dict[str, bytes]) -> Iterator[str]:
    yield from (f"## {escape_markdown(content.title)}", "")
    for part in content.parts:
        yield from _part(part, drawings)


def _part(part: SectionPart, drawings: dict[str, bytes]) -> Iterator[str]:
    if part.title:
        yield from (f"### {escape_markdown(part.title)}", "")
    for sentence in part.lead:
        yield from (escape_markdown(sentence), "")
    if part.points:
        yield from (*(f"- {escape_markdown(point)}" for point in part.points), "")
    for block in part.blocks:
        yield from _table(block) if isinstance(block, Table) else _figure(block, drawings)


def _figure(figure: Figure, drawings: dict[str, bytes]) -> Iterator[str]:
    drawings[f"{figure.name}.svg"] = compose_panels(figure).encode()
    alt = "; ".join(panel.alt for panel in figure.panels[:6])
    image = f"![{escape_markdown(alt)}](figures/{figure.name}.svg)"
    yield from (escape_markdown(figure.caption), "", image, "")


def _table(table: Table) -> Iterator[str]:
    body = [
        [_cell(as_datum(entry, column)) for column, entry in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    align = "".join("r" if column.format else "l" for column in table.columns)
    headings = [column.title for column in table.columns]
    yield from (_marked_table(table.caption, headings, body, align), "")


def markdown_table(
    caption: str, headings: Sequence[str], body: Iterable[Sequence[str]], align: str = ""
) -> str:
    """Write a table of texts, which are escaped; `align` has an l or r for each column."""
    escaped = [[*map(escape_markdown, row)] for row in body]
    return _marked_table(caption, headings, escaped, align or "l" * len(headings))


def _marked_table(caption: str, headings: Sequence[str], body: Sequence[Sequence[str]], align: str) -> str:
    table = format_table(body, [*map(escape_markdown, headings)], align, "pipe")
    return f"**{escape_markdown(caption)}**\n\n{table}"


def _cell(datum: Datum) -> str:
    words = escape_markdown(datum.text) + (f" ± {escape_markdown(datum.spread)}" if datum.spread else "")
    note = f" ({escape_markdown(datum.note)})" if datum.note else ""
    return (f"**{words}**" if datum.strong else words) + note


def compose_panels(figure: Figure) -> str:
    """Combine the panels of a figure in one SVG file on white, for any viewer's theme."""
    places, width, height = _flow([(panel.width, panel.height) for panel in figure.panels])
    above = 26.0 if figure.keys else 0.0
    parts = [_key(*key, x) for key, x in zip(figure.keys, _key_places(figure.keys), strict=True)]
    parts += [_place_panel(panel, x, y + above) for panel, (x, y) in zip(figure.panels, places, strict=True)]
    keys_width = (_key_places(figure.keys)[-1] + 60 + 7 * len(figure.keys[-1][1])) if figure.keys else 0
    width, height = max(width, keys_width) + 2 * GAP, height + above + 2 * GAP
    title = escape(clean(figure.caption))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-GAP} {-GAP} {width:.0f} {height:.0f}" color="#23272c" style="--paper: #fff" '
        f'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif">'
        f"<title>{title}</title>"
        f'<rect x="{-GAP}" y="{-GAP}" width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _flow(sizes: Sequence[tuple[float, float]]) -> tuple[list[tuple[float, float]], float, float]:
    """Place boxes in lines like words; return upper left corners, total width and height."""
    x = y = line = widest = 0.0
    places = []
    for width, height in sizes:
        if x and x + width > WIDTH:
            x, y, line = 0.0, y + line + GAP, 0.0
        places.append((x, y))
        x, line = x + width + GAP, max(line, height)
        widest = max(widest, x - GAP)
    return places, widest, y + line


def _place_panel(panel: FigurePanel, x: float, y: float) -> str:
    place = f'<svg x="{x:.1f}" y="{y:.1f}" width="{panel.width:.1f}" height="{panel.height:.1f}"'
    return panel.svg.replace("<svg", place, 1)


def _key_places(keys: Sequence[tuple[FigurePanel, str]]) -> list[float]:
    places, x = [], 0.0
    for _, label in keys:
        places.append(x)
        x += 60 + 7 * len(label)  # estimated width of the label
    return places


def _key(swatch: FigurePanel, label: str, x: float) -> str:
    name = f'<text x="{x + 40:.0f}" y="14" font-size="12" fill="currentColor">{escape(clean(label))}</text>'
    return _place_panel(swatch, x, 4) + name
