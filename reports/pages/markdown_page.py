"""The report as Markdown for a pull request or an appendix, with its figures as files beside it."""

import re
from collections.abc import Iterator, Sequence
from html import escape

from ...core.errors import one_line
from ..elements.format import clean, shown
from ..elements.section import Answer, Content, Datum, Figure, Panel, Part, Table
from .overview import Page

WIDTH = 1020
"""CSS pixels across which the panels of one figure flow."""
GAP = 14


def markdown(page: Page) -> tuple[str, dict[str, bytes]]:
    """Render `page`.

    Returns:
        The text, and the figures: file name -> SVG; the text looks for them in `figures/`.
    """
    drawings: dict[str, bytes] = {}
    lines = [f"# {text(page.title)}", "", text(page.headline), ""]
    lines += [", ".join(f"**{number:,}** {text(what)}" for number, what, _ in page.tally) + ".", ""]
    for notice in page.notices:
        lines += [f"> **Note:** {text(notice)}", ""]
    titles = {anchor: content.title for anchor, content in page.sections}
    for answer in page.answers:
        lines += _answer(answer, titles[answer.see], drawings)
    for _, content in page.sections:
        lines += _section(content, drawings)
    return "\n".join(lines).rstrip() + "\n", drawings


def text(value: str) -> str:
    """Escape `value` so that Markdown shows it as it is, on one line, also inside a table."""
    flat = one_line(value)
    flat = re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", flat)
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def _answer(answer: Answer, evidence: str, drawings: dict[str, bytes]) -> Iterator[str]:
    first, rest = map(text, answer.halves)
    yield from (f"## {text(answer.question)}", "", f"**{first}** {rest}".rstrip(), "")
    if answer.figure:
        yield from _figure(answer.figure, drawings)
    yield from (f"Evidence: {text(evidence)}, below.", "")


def _section(content: Content, drawings: dict[str, bytes]) -> Iterator[str]:
    yield from (f"## {text(content.title)}", "")
    for part in content.parts:
        yield from _part(part, drawings)


def _part(part: Part, drawings: dict[str, bytes]) -> Iterator[str]:
    if part.title:
        yield from (f"### {text(part.title)}", "")
    for sentence in part.lead:
        yield from (text(sentence), "")
    if part.points:
        yield from (*(f"- {text(point)}" for point in part.points), "")
    for block in part.blocks:
        yield from _table(block) if isinstance(block, Table) else _figure(block, drawings)


def _figure(figure: Figure, drawings: dict[str, bytes]) -> Iterator[str]:
    drawings[f"{figure.name}.svg"] = composed(figure).encode()
    alt = "; ".join(panel.alt for panel in figure.panels[:6])
    yield from (text(figure.caption), "", f"![{text(alt)}](figures/{figure.name}.svg)", "")


def _table(table: Table) -> Iterator[str]:
    import tabulate

    rows = []
    for row in table.rows:
        cells = [shown(entry, column) for column, entry in zip(table.columns, row, strict=True)]
        rows.append([_cell(datum) for datum in cells])
    align = tuple("right" if column.format else "left" for column in table.columns)
    headers = [text(column.title) for column in table.columns]
    yield from (f"**{text(table.caption)}**", "")
    yield tabulate.tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)
    yield ""


def _cell(datum: Datum) -> str:
    words = text(datum.text) + (f" ± {text(datum.spread)}" if datum.spread else "")
    return (f"**{words}**" if datum.strong else words) + (f" ({text(datum.note)})" if datum.note else "")


def composed(figure: Figure) -> str:
    """Lay out the panels of a figure in one SVG file on white, so that any viewer's theme can show it."""
    places, width, height = _flow([(panel.width, panel.height) for panel in figure.panels])
    above = 26.0 if figure.keys else 0.0
    parts = [_key(*key, x) for key, x in zip(figure.keys, _key_places(figure.keys), strict=True)]
    parts += [_placed(panel, x, y + above) for panel, (x, y) in zip(figure.panels, places, strict=True)]
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
    """Place boxes in lines like words; returns the upper left corners, and the extent of all."""
    x = y = line = widest = 0.0
    places = []
    for width, height in sizes:
        if x and x + width > WIDTH:
            x, y, line = 0.0, y + line + GAP, 0.0
        places.append((x, y))
        x, line = x + width + GAP, max(line, height)
        widest = max(widest, x - GAP)
    return places, widest, y + line


def _placed(panel: Panel, x: float, y: float) -> str:
    place = f'<svg x="{x:.1f}" y="{y:.1f}" width="{panel.width:.1f}" height="{panel.height:.1f}"'
    return panel.svg.replace("<svg", place, 1)


def _key_places(keys: Sequence[tuple[Panel, str]]) -> list[float]:
    places, x = [], 0.0
    for _, label in keys:
        places.append(x)
        x += 60 + 7 * len(label)  # about as wide as the label will be
    return places


def _key(swatch: Panel, label: str, x: float) -> str:
    name = f'<text x="{x + 40:.0f}" y="14" font-size="12" fill="currentColor">{escape(clean(label))}</text>'
    return _placed(swatch, x, 4) + name
